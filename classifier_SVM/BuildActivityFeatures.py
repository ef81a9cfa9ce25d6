"""Build, for every image, the features of what else was known when it was taken: flares, summaries, the Sun.

Only what was public at the image's time counts, that minute included: a flare from its end (event reports), or from
a stated delay after its maximum (event list, and reports without an end); a region summary from its issue, 00:30 UTC of
its date or later. A flare is its region's own from the issue of the region's first summary on; before that it is one of
no known region. Image times (TAI) are compared with UTC as they stand, like the labels. The reports are NOAA's edited
ones: a region that was attributed to a flare days later counts as if known at its end.

Reads
    label_file    `filename,class` a line, as stage 3 writes it, or one name (`NNNN/name`) a line; classes do not matter
    srs_dir       region summaries `YYYYMMDDSRS.txt`, in yearly folders or in one
    events_dir    event reports `YYYYMMDDevents.txt`, likewise; the flares with their ends
    event_list    `YYYY MM DD,HHMM,NNNN,C5.7` a line; flares that the reports do not hold; without reports all

Writes
    extra_feature_file    CSV with header, sorted by name: `filename`, then the columns below, rounded to 1e-5; none is
                          empty: what never happened has a stated value and a 0/1 column that says so
      log_flares_K_W      ln(1 + n), n flares of class K (B: below C1.0, C: C1.0 and above, M: M1.0 and above) of the
                          region in the past W: 6h, 12h, 24h, 48h, 72h, since_appearance
      log_flux_W          log10(1e-7 + F), F the summed peak flux of its flares >= C1.0 [W/m2]; -7: no flare
      log_decayed_flares_W, log_decayed_flux_W    the same, every flare weighted by exp(-age / W)
      log_hours_since_K   ln of the hours since the last flare, from 1 h to 240 h; 240 h where there was none
      had_K               1 where there was one
      log_largest_flux    log10(1e-7 + largest peak flux so far [W/m2])
      log_elsewhere_...   flares elsewhere in 24 h and 72 h, those without a region included
      log_sun_flares_K_D  flares of the whole Sun in the past D days
      has_summary         1 from the region's first summary on; before it all that follows is 0
      zurich_, penumbra_, compactness_, magnetic_    McIntosh's three parts and the magnetic class: `rank` (by rising
                          activity, from 1; 0: not given), and 0/1 a class
      log_area, log_extent, log_spots, log_largest_area, log_largest_spots    ln(1 + x), x in millionths of the solar
                          hemisphere [MSH], degrees, number
      change_1_..., change_2_...    change since the region's summary one and two before (sizes: sign(d) ln(1 + |d|));
                          0 where there is none (has_summary_1_before, has_summary_2_before 0)
      latitude, longitude, absolute_..., east_of_40, centre_distance, first_longitude    place at the image's time [deg]
      emerged_on_disk     1 when the region was first seen west of E60
      summary_age_h, region_age_h    hours since the summary's positions and since the region's first summary, up to 240
      log_region_age, first_day      ln(1 + region_age_h); 1 in its first 24 hours
      log_sun_regions, log_sun_spots, log_sun_area, ..._27d    ln(1 + x) of all regions, last summary, mean of 27 days
    beside it     `.json` (settings, counts, of what the flares were made), `.excluded.csv`, `.log`

Usage
    python classifier_SVM/BuildActivityFeatures.py --label-file data/Labels.txt
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from classifier_SVM.activity_features import activity_features, rounded
from classifier_SVM.activity_sources import read_flares, read_summaries
from general_code.label_file import read_label_file
from general_code.stage_files import OptionalPath, UserError, atomic_path
from general_code.stage_run import StageRun, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    """Settings; every one can be overridden for one run, e.g. `--label-file names.txt`."""

    label_file: Path = Path("data/Labels.txt")  # images: "filename,class" a line, or one name a line
    srs_dir: Path = Path("data/SRS")  # region summaries
    events_dir: OptionalPath = Path("data/Events")  # event reports; "": none, the flares are those of event_list
    event_list: OptionalPath = Path("data/eventList.txt")  # flares besides those of the reports; "": none
    event_list_delay_minutes: float = 60.0  # a flare without an end is known so long after its maximum [min]
    extra_feature_file: Path = Path("results/activity_features.csv")  # output
## End User Definitions


ROWS_A_BLOCK = 100_000


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
        times = images["time"].to_numpy()
        flares = read_flares(user.events_dir, user.event_list, user.event_list_delay_minutes, run, times)
        run.say(f"Computing the activity features of {len(images):,} images of {images['region'].nunique():,} regions")
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
        schema = pyarrow.schema([("filename", pyarrow.string()), *((name, pyarrow.float64()) for name in table)])
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
               *(rounded(table[name].to_numpy()[rows]) for name in table)]


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
