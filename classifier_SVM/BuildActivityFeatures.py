"""Build, for every image, the features of what else was known when it was taken: flares, summaries, the Sun.

Only what was public at the image's time counts, that minute included: a flare from its end (event reports), or from
a stated delay after its maximum (event list); a region summary from its issue at 00:30 UTC of its date. Image times
(TAI) are compared with UTC as they stand, like the labels. The reports are NOAA's edited ones: a region that was
attributed to a flare days later counts as if known at its end.

Reads
-----
label_file    `filename,class` a line, as stage 3 writes it, or one name (`NNNN/name`) a line; classes are passed over
srs_dir       region summaries `YYYYMMDDSRS.txt`, in yearly folders or in one
events_dir    event reports `YYYYMMDDevents.txt`, likewise; the flares with their ends
event_list    `YYYY MM DD,HHMM,NNNN,C5.7` a line; flares that the reports do not hold, or all of them without reports

Writes
------
extra_feature_file    CSV with header, sorted by name: `filename`, then the columns below, rounded to 1e-5. None is
                      empty: what never happened has a stated value and a 0/1 column that says so.
  log_flares_K_W      ln(1 + n), n flares of class K (B: below C1.0, C: C1.0 and above, M: M1.0 and above) of the region
                      in the past W: 6h, 12h, 24h, 48h, 72h, since_appearance
  log_flux_W          log10(1e-7 + F), F the summed peak flux of its flares >= C1.0 [W/m2]; -7 without a flare
  log_decayed_flares_W, log_decayed_flux_W    the same, every flare weighted by exp(-age / W)
  log_hours_since_K, had_K    ln of the hours since the last flare, 1 h to 240 h; 240 h where there was none (had_K 0)
  log_largest_flux    log10(1e-7 + largest peak flux so far [W/m2])
  log_elsewhere_...   flares elsewhere in 24 h and 72 h, those without a region included
  log_sun_flares_K_D  flares of the whole Sun in the past D days
  has_summary         1 from the region's first summary on; before it all that follows is 0
  zurich_, penumbra_, compactness_, magnetic_    McIntosh's three parts and the magnetic class: `rank` (by rising
                      activity, from 1; 0: not given), and 0/1 a class
  log_area, log_extent, log_spots, log_largest_area, log_largest_spots    ln(1 + x), x in millionths of the solar
                      hemisphere [MSH], degrees, number
  change_1_..., change_2_...    change since the region's summary one and two before (sizes: sign(d) ln(1 + |d|)); 0
                      where there is none (has_summary_1_before, has_summary_2_before 0)
  latitude, longitude at the image's time, their absolute values, east_of_40, centre_distance, first_longitude [deg];
  emerged_on_disk     1 when the region was first seen west of E60
  summary_age_h, region_age_h [h, up to 240], log_region_age, first_day    since the summary's positions, and since the
                      region's first summary
  log_sun_regions, log_sun_spots, log_sun_area, ..._27d    ln(1 + x) of all regions, last summary and mean of 27 days
beside it     `.json` (settings, counts), `.excluded.csv`, `.log`

Usage
-----
    python classifier_SVM/BuildActivityFeatures.py --label-file data/Labels.txt
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from classifier_SVM.activity_features import activity_features, flares_of_list, flares_of_reports, join_flares
from classifier_SVM.flare_history import Flares
from general_code.event_list import usable_flares
from general_code.flares import read_event_list
from general_code.label_file import read_label_file
from general_code.noaa_archive import SummaryArchive, missing_days, read_event_archive, read_summary_archive
from general_code.stage_files import UserError, atomic_path, given, require_folder
from general_code.stage_run import StageRun, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    """Settings; every one can be overridden for one run, e.g. `--label-file names.txt`."""

    label_file: Path = Path("data/Labels.txt")  # images: "filename,class" a line, or one name a line
    srs_dir: Path = Path("data/SRS")  # region summaries
    events_dir: Path = Path("data/Events")  # event reports; "": none, the flares are those of event_list
    event_list: Path = Path("data/eventList.txt")  # flares besides those of the reports; "": none
    event_list_delay_minutes: float = 60.0  # a listed flare is known so long after its maximum (99 % have ended) [min]
    extra_feature_file: Path = Path("results/activity_features.csv")  # output
## End User Definitions


ROWS_A_BLOCK = 100_000
DECIMALS = 5


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the stage."""
    inputs = [user.label_file, user.srs_dir, user.events_dir, user.event_list]
    if not user.event_list_delay_minutes >= 0:
        raise UserError(f"event_list_delay_minutes: expected 0 or more, got {user.event_list_delay_minutes}")
    with stage_run(user, output=user.extra_feature_file, inputs=inputs) as run:
        run.say(f"Reading the names of the images, {user.label_file}")
        images = read_image_names(user.label_file, run)
        run.say(f"Reading the region summaries, {user.srs_dir}")
        summaries = read_summaries(user.srs_dir, run)
        flares = read_flares(user, run)
        run.say(f"Computing the activity features of {len(images):,} images of {images['region'].nunique():,} regions")
        times = images["time"].to_numpy()
        _say_coverage(times, flares, run)
        table = activity_features(images["region"], times, flares, summaries.table, summaries.days)
        run.count("images", len(images))
        run.count("images before their region's first summary", int((table["has_summary"] == 0).sum()))
        run.say(f"Writing {user.extra_feature_file}, {table.shape[1]} features")
        write_activity_table(user.extra_feature_file, images["filename"], table)


def read_image_names(label_file: Path, run: StageRun) -> pd.DataFrame:
    """Return the images of a label file or list of names.

    Parameters
    ----------
    label_file : Path
        One image a line, what follows a comma is passed over; lines with another kind of name are excluded.
    run : StageRun
        Told of them.

    Returns
    -------
    pandas.DataFrame
        `filename`, `region`, `time`, by name; every name once. A name without a region gets it from its folder.

    Raises
    ------
    UserError
        When no line names an image.
    """
    images, problems = read_label_file(label_file, with_class=False)
    for problem in problems:
        run.exclude(*problem)
    return images[["filename", "region", "time"]].sort_values("filename", kind="stable", ignore_index=True)


def read_summaries(srs_dir: Path, run: StageRun) -> SummaryArchive:
    """Return the region summaries of a folder.

    Parameters
    ----------
    srs_dir : Path
        With yearly folders, or the summaries themselves.
    run : StageRun
        Told what could not be used, and which days are missing.

    Returns
    -------
    SummaryArchive
        With at least one day.

    Raises
    ------
    UserError
        When there is no summary.
    """
    archive = read_summary_archive(require_folder(srs_dir, "srs_dir"))
    if not archive.days:
        raise UserError(f"srs_dir: no region summary (YYYYMMDDSRS.txt) in {srs_dir}; set --srs-dir")
    first, last = min(archive.days), max(archive.days)
    for problem in [*archive.problems, *missing_days(archive.days, first, last, "SRS")]:
        run.exclude(*problem)
    run.say(f"{len(archive.days):,} summaries of {first} to {last}, {archive.table['region'].nunique():,} regions")
    return archive


def read_flares(user: UserDefinitions, run: StageRun) -> Flares:
    """Return the flares of the event reports, of the event list what the reports do not hold, or the list alone.

    Parameters
    ----------
    user : UserDefinitions
        events_dir, event_list, event_list_delay_minutes.
    run : StageRun
        Told what is used, and what could not be.

    Returns
    -------
    Flares
        With the moments at which they became public.

    Raises
    ------
    UserError
        When there are neither reports nor a list.
    """
    archive = read_event_archive(user.events_dir) if given(user.events_dir) and user.events_dir.is_dir() else None
    has_list = given(user.event_list) and user.event_list.is_file()
    if not has_list and (archive is None or not archive.reports):
        raise UserError(f"events_dir, event_list: expected event reports in '{user.events_dir}' or a list at "
                        f"'{user.event_list}' (from {Path.cwd()}), found neither; set one of them")
    flares, reported = None, None
    if archive is not None and archive.reports:
        flares, reported = flares_of_reports(archive), usable_flares(archive)
        days = [report.date for report in archive.reports]
        for problem in [*archive.problems, *missing_days(days, min(days), max(days), "events")]:
            run.exclude(*problem)
        run.say(f"{len(flares.public):,} flares of the reports in {user.events_dir}, {min(days)} to "
                f"{max(days) + timedelta(1)}, {int((flares.region < 0).sum()):,} without a region; known at their end")
    if has_list:
        listed = flares_of_list(_read_list(user.event_list, run), user.event_list_delay_minutes, reported)
        run.say(f"{len(listed.public):,} flares of {user.event_list}{' alone' if flares is not None else ''}; taken as "
                f"known {user.event_list_delay_minutes:g} min after their maximum")
        flares = listed if flares is None else join_flares(flares, listed)
    run.count("flares", len(flares.public))
    return flares


def _read_list(event_list: Path, run: StageRun):
    """Return an event list, its unusable rows excluded."""
    try:
        events = read_event_list(event_list)
    except ValueError as error:
        raise UserError(f"event_list: {event_list}: {error}; set --event-list, or \"\" for none") from None
    for problem in events.problems:
        run.exclude(*problem)
    return events


def _say_coverage(times: np.ndarray, flares: Flares, run: StageRun) -> None:
    """Say how many images lie outside the time of the flares: their past counts as quiet."""
    if not len(flares.public):
        outside = len(times)
    else:
        day = np.timedelta64(1, "D")
        outside = int(((times < flares.public.min()) | (times > flares.public.max() + day)).sum())
    run.count("images outside the time of the flares", outside)
    if outside:
        run.say(f"{outside:,} images lie before the first or more than a day after the last known flare; where reports "
                "are missing the past counts as quiet")


def write_activity_table(path: Path, filenames: pd.Series, table: pd.DataFrame) -> None:
    """Write `filename` and the features, rounded to 1e-5, with a header; the file is complete or not there.

    Parameters
    ----------
    path : Path
        CSV.
    filenames : pandas.Series
        Of length m.
    table : pandas.DataFrame
        float32, shape (m, n).
    """
    import pyarrow
    from pyarrow import csv

    with atomic_path(path) as temporary:
        schema = pyarrow.schema([("filename", pyarrow.string()), *((name, pyarrow.float32()) for name in table)])
        options = csv.WriteOptions(quoting_style="none", include_header=False)
        with temporary.open("wb") as file:
            file.write((",".join(schema.names) + "\n").encode())
            with csv.CSVWriter(file, schema, write_options=options) as writer:
                for block in _blocks(filenames, table):
                    writer.write_batch(pyarrow.record_batch(block, schema=schema))


def _blocks(filenames: pd.Series, table: pd.DataFrame) -> Iterator[list]:
    """Give the columns of the table, rounded, some rows at a time."""
    for start in range(0, len(table), ROWS_A_BLOCK):
        rows = slice(start, start + ROWS_A_BLOCK)
        yield [filenames.iloc[rows].tolist(),
               *(np.round(table[name].to_numpy()[rows], DECIMALS) + np.float32(0) for name in table)]  # no -0


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
