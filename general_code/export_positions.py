"""Where an active region is, for the export: from rows of JSOC's table, or from the daily region summaries.

The export service knows no region numbers: the caller gives a place and a time, and the service follows the Sun's
rotation from there. As the export page does, the row nearest to the central meridian is taken.
"""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

from general_code.cutout_requests import Passage, Position
from general_code.noaa_reports import read_region_summary, report_date
from general_code.stage_files import given

UNKNOWN_LONGITUDE = 999.0  # [deg] from here on: the table's mark for "not known"
FIRST_OF_OLD_NUMBERS = 7000  # the page adds 10,000 to numbers below this


def table_number(region: str) -> int:
    """Return the number under which JSOC's table has a region.

    Parameters
    ----------
    region : str
        NOAA number, four or five digits.

    Returns
    -------
    int
        Five digits for the regions of the SDO era: 11158 for 1158.
    """
    number = int(region)
    return number + 10000 if number < FIRST_OF_OLD_NUMBERS else number


def nearest_to_meridian(rows: Iterable[Position]) -> Position | None:
    """Return the row with the smallest distance from the central meridian; of equals the first.

    Parameters
    ----------
    rows : iterable of Position
        Of one region. Rows whose numbers do not parse, or whose longitude is 999 or more, are passed over.

    Returns
    -------
    Position or None
        None when no row is left.

    References
    ----------
    The form for im_patch on JSOC's export page, http://jsoc.stanford.edu/ajax/exportdata.html
    """
    usable = [row for row in rows if _is_number(row.y) and _is_number(row.x) and abs(float(row.x)) < UNKNOWN_LONGITUDE]
    return min(usable, key=lambda row: abs(float(row.x)), default=None)


def _is_number(text: str) -> bool:
    """Tell whether a value of the table is a number; it may be MISSING or Invalid KeyLink."""
    return re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)\s*", text) is not None


class SummaryPositions:
    """Positions of regions from a folder of daily region summaries.

    Parameters
    ----------
    srs_dir : Path
        Folder of `YYYYMMDDSRS.txt`, or of yearly folders of them; the empty path or a missing folder holds none.
    """

    def __init__(self, srs_dir: Path) -> None:
        self._paths: dict[date, Path] = {}
        if given(srs_dir) and srs_dir.is_dir():
            for path in sorted(srs_dir.rglob("*SRS.txt")):
                try:
                    self._paths.setdefault(report_date(path.name), path)
                except ValueError:
                    continue  # not a summary

    def days(self) -> list[date]:
        """Return the days that have a summary.

        Returns
        -------
        list of datetime.date
            In order.
        """
        return sorted(self._paths)

    def rows(self, day: date) -> list[tuple[str, Position]]:
        """Return the rows of section I of a day's summary.

        Parameters
        ----------
        day : datetime.date
            Of the summary's name.

        Returns
        -------
        list of (str, Position)
            Region and position at 24:00 of the day before; empty when there is no summary or it cannot be read.
        """
        try:
            summary = read_region_summary(self._paths[day])
        except (KeyError, OSError, ValueError):
            return []
        # locations are valid at 24:00 of the day before, which the table writes so
        t_ref = f"{day - timedelta(days=1):%Y.%m.%d}_23:59:59Z"
        return [(row.region, Position(t_ref, f"{row.longitude:g}", f"{row.latitude:g}")) for row in summary.rows]

    def position(self, passage: Passage) -> Position | None:
        """Return a region's position nearest to the central meridian.

        Parameters
        ----------
        passage : Passage
            Only summaries from its first day to the day after its last are looked at.

        Returns
        -------
        Position or None
            None when no summary has the region.
        """
        days = [passage.first_day + timedelta(days=day) for day in range(passage.days + 1)]
        return nearest_to_meridian(position for day in days for region, position in self.rows(day)
                                   if region == passage.region)
