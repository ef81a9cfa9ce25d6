"""Where an active region is, for the export: from rows of JSOC's table, or from the daily region summaries.

The export service knows no region numbers: the caller gives a place and a time, and the service follows the Sun's
rotation from there. As the export page does, the row nearest to the central meridian is taken.
"""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

from general_code.cutout_requests import Passage, Position
from general_code.noaa_archive import read_summary_archive
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
    """Positions of regions from a folder of daily region summaries, which is read when the first is asked for.

    Parameters
    ----------
    srs_dir : Path
        Folder of `YYYYMMDDSRS.txt`, or of yearly folders of them; the empty path or a missing folder holds none.
    """

    def __init__(self, srs_dir: Path) -> None:
        self.srs_dir = srs_dir

    @cached_property
    def table(self) -> dict[str, list[tuple[date, Position]]]:
        """Days of the summaries' names and positions at their 00:00, in order of time, of every region."""
        table: dict[str, list[tuple[date, Position]]] = {}
        if given(self.srs_dir) and self.srs_dir.is_dir():
            for row in read_summary_archive(self.srs_dir).table.itertuples():
                day = row.date.date()
                # 24:00 of the day before, which JSOC's table writes so
                t_ref = f"{day - timedelta(days=1):%Y.%m.%d}_23:59:59Z"
                position = Position(t_ref, f"{row.longitude:g}", f"{row.latitude:g}")
                table.setdefault(row.region, []).append((day, position))
        return table

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
        last_day = passage.first_day + timedelta(days=passage.days)
        return nearest_to_meridian(position for day, position in self.table.get(passage.region, ())
                                   if passage.first_day <= day <= last_day)
