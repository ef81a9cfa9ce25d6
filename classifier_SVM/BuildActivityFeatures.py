"""Build, for every image, the features of what else was known when it was taken: flares, summaries, the Sun.

Only what was public at the image's time counts, that minute included: a flare from its end (event reports), or from
a stated delay after its maximum (event list, and reports without an end); a region summary from its issue, 00:30 UTC of
its date or later. A flare is its region's own from the issue of the region's first summary on; before that it is one of
no known region. Image times (TAI) are compared with UTC as they stand, like the labels. The reports are NOAA's edited
ones: a region that was attributed to a flare days later counts as if known at its end. Flare classes are on the
flare_scale, as in stage 3, which should be that of the labels.

Reads
    label_file    `filename,class` a line, as stage 3 writes it, or one name (`NNNN/name`) a line; classes do not matter
    srs_dir       region summaries `YYYYMMDDSRS.txt`, in folders of any depth, or `YYYY_SRS.tar.gz` as NOAA has them
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
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import NonNegativeFloat

from classifier_SVM.activity.features import HOUR, WINDOWS_H, activity_features, rounded
from classifier_SVM.activity.sources import LATEST_SUMMARY_H, read_flares
from general_code.images.label_file import read_label_file
from general_code.noaa.archive import read_summary_archive
from general_code.noaa.flares import FlareScale
from general_code.stage.files import UserError, counted, write_csv
from general_code.stage.run import OptionalPath, Settings, StageRun, command_line, stage_main, stage_run


## User Definitions
class UserDefinitions(Settings):
    label_file: Path = "data/Labels.txt"  # images: "filename,class" a line, or one name a line
    srs_dir: Path = "data/SRS"  # folder of region summaries: texts, yearly folders or yearly .tar.gz
    events_dir: OptionalPath = "data/Events"  # event reports; "": none, the flares are those of event_list
    event_list: OptionalPath = "data/eventList.txt"  # flares besides those of the reports; "": none
    event_list_delay_minutes: NonNegativeFloat = 60.0  # a flare without an end is known so long after its maximum [min]
    flare_scale: FlareScale = "as_reported"  # class scale; "modern": those of GOES-15 and earlier divided by 0.7
    extra_feature_file: Path = "results/activity_features.csv"  # output
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Write the activity features of all images."""
    inputs = [user.label_file, user.srs_dir, user.events_dir, user.event_list]
    with stage_run(user, output=user.extra_feature_file, inputs=inputs) as run:
        run.report(f"Reading the names of the images, {user.label_file}")
        images = read_image_names(user.label_file, run)
        summaries = read_summary_archive(user.srs_dir)
        run.exclude_all(summaries.problems)
        run.report(f"{len(summaries.days):,} summaries of {summaries.days[0]} to {summaries.days[-1]}, {user.srs_dir}")
        times = images["time"].to_numpy()
        flares, covered = read_flares(user.events_dir, user.event_list, user.event_list_delay_minutes, run, times,
                                      flare_scale=user.flare_scale)
        summarized = any_between(summaries.days, times - LATEST_SUMMARY_H * HOUR, times)
        near = any_between(flares.public, times - WINDOWS_H[-1] * HOUR, times + WINDOWS_H[-1] * HOUR)
        if not (summarized & (covered | near)).any():
            raise UserError("srs_dir, events_dir, event_list: expected summaries and flares of the days before the "
                            f"images, {times.min()} to {times.max()}, found none that cover them; get the reports of "
                            "these days")
        report_gaps(images["filename"][~covered], f"flare reports of all the past {WINDOWS_H[-1]} h", run)
        report_gaps(images["filename"][~summarized], f"a region summary of the past {LATEST_SUMMARY_H} h", run)
        run.report(f"Computing the activity features of {len(images):,} images of "
                   f"{images['region'].nunique():,} regions")
        table = activity_features(images["region"], times, flares, summaries.table, summaries.days)
        run.count("images", len(images))
        run.count("images before their region's first summary", int((table["has_summary"] == 0).sum()))
        run.report(f"Writing {user.extra_feature_file}, {table.shape[1]} features")
        write_activity_table(user.extra_feature_file, images["filename"], table)


def any_between(moments: Sequence, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Tell in which spans of time, ends included, one of the moments or dates lies."""
    ordered = np.sort(np.asarray(moments, dtype="datetime64[s]"))
    return np.searchsorted(ordered, last, side="right") > np.searchsorted(ordered, first)


def report_gaps(names: pd.Series, missing: str, run: StageRun) -> None:
    """Report and count images whose past the archives do not cover: their rows are wrong by what is missing."""
    run.count(f"images without {missing}", len(names))
    if len(names):
        run.report(f"ATTENTION: {counted(len(names), 'images')} without {missing}, whose rows count what is missing as "
                   f"quiet (named in the log): {', '.join(names[:3])}{', ...' * (len(names) > 3)}")
        run.note("\n".join(f"without {missing}: {name}" for name in names))


def read_image_names(label_file: Path, run: StageRun) -> pd.DataFrame:
    """Return `filename`, `region` and `time` of the images of a label file or list of names, by name."""
    images, problems = read_label_file(label_file, classes="")
    run.exclude_all(problems)
    return images[["filename", "region", "time"]].sort_values("filename", kind="stable", ignore_index=True)


def write_activity_table(path: Path, filenames: pd.Series, table: pd.DataFrame) -> None:
    """Write `filename` and the features, rounded; `table` is empty afterwards: both together are 2 GB."""
    columns = {"filename": filenames} | {name: rounded(table.pop(name)) for name in list(table)}
    write_csv(path, pd.DataFrame(columns, copy=False))


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
