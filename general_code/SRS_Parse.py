"""Stage 1: the list of active regions from NOAA's daily Solar Region Summaries.

Reads
    srs_dir      `YYYYMMDDSRS.txt`, 1996 to today, in yearly folders or in one: section I (regions with sunspots)

Writes
    ar_list      one region a line, no header: `NNNN,YYYYMMDD,X`
                 NOAA number (four digits), first day in section I, number of days from first to last appearance,
                 both included; in order of first appearance, then as the summary lists them
    ar_list.json, ar_list.excluded.csv, ar_list.log
                 settings and counts; files, days and rows that could not be used, with line and reason; what was said

A region that is missing for a day in between keeps its full length. A number that returns after more than 60 days
belongs to another region: its first passage is kept, and the return is listed.

Usage
    python general_code/SRS_Parse.py
    python general_code/SRS_Parse.py --srs-dir data/SRS --first-date 20140101 --last-date 20141231

References
    NOAA/SWPC, Solar Region Summary; archive: ftp://ftp.swpc.noaa.gov/pub/warehouse
"""

import sys
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

import pandas as pd

from general_code.noaa_archive import SummaryArchive, missing_days, read_summary_archive
from general_code.stage_files import UserError, atomic_write, require_folder
from general_code.stage_run import stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    srs_dir: Path = Path("data/SRS")  # folder of yearly folders of region summaries, or of the summaries themselves
    ar_list: Path = Path("data/ARList.txt")  # the list to write
    first_date: str = "20100501"  # first summary used, YYYYMMDD; "": the first there is
    last_date: str = ""  # last summary used, YYYYMMDD; "": the last there is
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Write the list of active regions."""
    first, last = parse_date(user.first_date, "first_date"), parse_date(user.last_date, "last_date")
    if first and last and first > last:
        raise UserError(f"first_date {user.first_date} is after last_date {user.last_date}; swap them")
    require_folder(user.srs_dir, "srs_dir")
    with stage_run(user, output=user.ar_list, inputs=[user.srs_dir]) as run:
        run.say(f"Reading the region summaries in {user.srs_dir}")
        archive = read_summary_archive(user.srs_dir, first, last)
        if archive.table.empty:
            raise UserError(nothing_found(user, archive))
        for problem in archive.problems + missing_days(archive.days, first or archive.days[0],
                                                       last or archive.days[-1], "SRS"):
            run.exclude(*problem)
        regions = region_list(archive.table)
        write_region_list(user.ar_list, regions)
        counts = {"summaries": len(archive.days), "regions": len(regions), "region_days": len(archive.table),
                  "days_without_row_within_passages": int(regions["days"].sum()) - len(archive.table)}
        for name, number in counts.items():
            run.count(name, number)
        run.say(f"{counts['summaries']:,} summaries from {archive.days[0]} to {archive.days[-1]}, "
                f"{counts['region_days']:,} rows; within passages {counts['days_without_row_within_passages']:,} days "
                "have none")
        run.say(f"Wrote {user.ar_list}: {len(regions):,} regions, {int(regions['days'].sum()):,} days of images")


def parse_date(text: str, setting: str) -> date | None:
    """Return the date in a setting, None when it is empty.

    Parameters
    ----------
    text : str
        YYYYMMDD or "".
    setting : str
        Its name, for the message.

    Returns
    -------
    datetime.date or None
        See above.

    Raises
    ------
    UserError
        When the text is no date.
    """
    if not text:
        return None
    try:
        if len(text) != 8:
            raise ValueError
        return datetime.strptime(text, "%Y%m%d").date()
    except ValueError:
        raise UserError(f"{setting}: expected a date like 20100501, or nothing, got '{text}'") from None


def region_list(table: pd.DataFrame) -> pd.DataFrame:
    """Return first day and length of each region's passage.

    Parameters
    ----------
    table : pandas.DataFrame
        `region` and `date` (datetime64), in order of date, then as listed.

    Returns
    -------
    pandas.DataFrame
        `region` (str), `first` (datetime64) and `days` (int, first to last appearance, both included), in order of
        first appearance.
    """
    passages = table.groupby("region", sort=False)["date"].agg(first="min", last="max").reset_index()
    passages["days"] = (passages["last"] - passages["first"]).dt.days + 1
    return passages[["region", "first", "days"]]


def write_region_list(path: Path, regions: pd.DataFrame) -> None:
    """Write `NNNN,YYYYMMDD,X` lines.

    Parameters
    ----------
    path : Path
        The list to be.
    regions : pandas.DataFrame
        As `region_list` returns it.
    """
    with atomic_write(path) as file:
        for row in regions.itertuples():
            file.write(f"{row.region},{row.first:%Y%m%d},{row.days}\n")


def nothing_found(user: UserDefinitions, archive: SummaryArchive) -> str:
    """Return the message for a folder without a usable row.

    Parameters
    ----------
    user : UserDefinitions
        Settings.
    archive : SummaryArchive
        What was read.

    Returns
    -------
    str
        One line.
    """
    first_problem = f"; {archive.problems[0].input}: {archive.problems[0].detail}" if archive.problems else ""
    return (f"srs_dir: no region in section I of {len(archive.days):,} summaries (YYYYMMDDSRS.txt) in {user.srs_dir} "
            f"from {user.first_date or 'the first'} to {user.last_date or 'the last'}, {len(archive.problems):,} "
            f"problems{first_problem}; set srs_dir, first_date or last_date")


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
