"""Stage 1: the list of active regions from NOAA's daily Solar Region Summaries.

Reads
    srs_dir      `YYYYMMDDSRS.txt`, 1996 to today: section I (regions with sunspots); in folders of any depth, as
                 `.txt.gz`, or packed by year as NOAA has them (`YYYY_SRS.tar.gz`)

Writes
    ar_list      one region a line, no header: `NNNN,YYYYMMDD,X`
                 NOAA number (four digits), first day in section I, number of days from first to last appearance,
                 both included; in order of first appearance, then as the summary lists them
    beside it    `.json` (settings and counts), `.excluded.csv` (files, days and rows that could not be used, with line
                 and reason), `.log`

A region that is missing for a day in between keeps its full length. A number that returns after more than 60 days
belongs to another region: its first passage is kept, and the return is listed.

Usage
    python general_code/SRS_Parse.py
    python general_code/SRS_Parse.py --srs-dir data/SRS --first-date 20140101 --last-date 20141231

References
    NOAA/SWPC, Solar Region Summary; archive: ftp://ftp.swpc.noaa.gov/pub/warehouse
"""

import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from general_code.noaa.archive import SummaryArchive, read_summary_archive
from general_code.noaa.reports import OptionalDay, parse_day
from general_code.stage.files import UserError, require_folder, write_csv
from general_code.stage.run import Settings, StageRun, command_line, stage_main, stage_run


## User Definitions
class UserDefinitions(Settings):
    srs_dir: Path = "data/SRS"  # folder of region summaries: texts, yearly folders or yearly .tar.gz
    ar_list: Path = "data/ARList.txt"  # the list to write
    first_date: OptionalDay = "20100501"  # first summary used, YYYYMMDD; "": the first there is
    last_date: OptionalDay = ""  # last summary used, YYYYMMDD; "": the last there is
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Write the list of active regions."""
    first, last = parse_day(user.first_date), parse_day(user.last_date)
    if first and last and first > last:
        raise UserError(f"first_date {user.first_date} is after last_date {user.last_date}; swap them")
    require_folder(user.srs_dir, "srs_dir")
    with stage_run(user, output=user.ar_list, inputs=[user.srs_dir]) as run:
        run.report(f"Reading the region summaries in {user.srs_dir}")
        archive = read_summary_archive(user.srs_dir, first, last)
        run.exclude_all(archive.problems)
        regions = region_list(archive.table)
        write_csv(user.ar_list, regions.assign(first=regions["first"].dt.strftime("%Y%m%d")), header=False)
        report_regions(archive, regions, user.ar_list, run)


def region_list(table: pd.DataFrame) -> pd.DataFrame:
    """Return `region`, `first` day and length in `days` of each passage, in order of first appearance.

    `table` has `region` and `date` (datetime64), in order of date, then as the summaries list them.
    """
    passages = table.groupby("region", sort=False)["date"].agg(first="min", last="max").reset_index()
    passages["days"] = (passages["last"] - passages["first"]).dt.days + 1
    return passages[["region", "first", "days"]]


def report_regions(archive: SummaryArchive, regions: pd.DataFrame, ar_list: Path, run: StageRun) -> None:
    """Report and count what was read and written."""
    days, rows = int(regions["days"].sum()), len(archive.table)
    run.counts |= {"summaries": len(archive.days), "regions": len(regions), "region_days": rows,
                   "days_without_row_within_passages": days - rows}
    run.report(f"{len(archive.days):,} summaries from {archive.days[0]} to {archive.days[-1]}, {rows:,} rows; within "
               f"passages {days - rows:,} days have none")
    run.report(f"Wrote {ar_list}: {len(regions):,} regions, {days:,} days of images")


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
