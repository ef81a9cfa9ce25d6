"""Stage 4: compute the 29 features of every labelled image of a data set, on all cores or on a Dask cluster.

Reads
    label_file   a line an image, no header: filename, class (`0`, or e.g. `C4.7`: the largest flare in the window)
    dataset_dir  NNNN/*.fits [G] or NNNN/*.png [grey levels, zero at 128], any rectangle from 32x32 pixels on
Writes
    feature_file               32 columns, no header, sorted by name: 29 features (FeaturesetTools: names, units),
                               class 0/1, flare class, file name
    feature_file.rows          rows as they are computed, which a later run need not compute again
    feature_file.excluded.csv  input, reason, detail: every image and label without a row
    feature_file.json, .log    settings, versions, counts, times

Usage
    python classifier_SVM/BuildMasterFeatureSet_mp.py
    python classifier_SVM/BuildMasterFeatureSet_mp.py --image-format png --feature-file results/features_png.csv
    python classifier_SVM/BuildMasterFeatureSet_mp.py --dask-scheduler tcp://host:8786

References
    Boucheron, Vincent, Grajeda and Wuest 2023, Scientific Data 10, 825.
"""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import PositiveInt

from classifier_SVM.feature_table.workers import (
    EXCLUDED,
    TRY_AGAIN,
    exclude_odd_names,
    keep_rows,
    worker_pool,
    write_table,
)
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, FEATURE_VERSION
from general_code.images.label_file import find_labelled_images, label_counts
from general_code.images.magnetograms import report_remarks
from general_code.stage.files import (
    check_all,
    counted,
    require_file,
    require_folder,
    require_free_space,
)
from general_code.stage.journal import Journal
from general_code.stage.run import Jobs, Settings, StageRun, command_line, require_address_space, stage_main, stage_run


## User Definitions
class UserDefinitions(Settings):
    label_file: Path = "data/Labels.txt"  # label of each image, as written by generate_dataset
    dataset_dir: Path = "data/dataset"  # folder of the images, NNNN/*.fits or NNNN/*.png
    feature_file: Path = "results/features.csv"  # the table of features to write
    image_format: Literal["fits", "png"] = "fits"  # which images of dataset_dir to use
    n_jobs: Jobs = -1  # number of processes; -1: all cores
    dask_scheduler: str = ""  # address of a Dask cluster that computes, e.g. tcp://host:8786; "": this computer
    chunk_files: PositiveInt = 256  # largest number of images given to a process at a time
    resume: bool = True  # use rows computed before (same name, size, time); False: compute all again
## End User Definitions

BYTES_A_ROW = 700  # upper bound, for the estimate of space
CHUNKS_A_WORKER = 8  # at least, so that none is idle for long while the last ones finish
ROWS_MADE_WITH = f"rows of stage 4, feature definitions {FEATURE_VERSION}"


@stage_main
def main(user: UserDefinitions) -> None:
    """Compute the table of features."""
    require_address_space()
    check_all(lambda: require_file(user.label_file, "label_file"),
              lambda: require_folder(user.dataset_dir, "dataset_dir"))
    with stage_run(user, user.feature_file, inputs=[user.label_file, user.dataset_dir]) as run:
        run.report(f"Matching the labels of {user.label_file} with the images of {user.dataset_dir}")
        images = find_labelled_images(user.label_file, user.dataset_dir, user.image_format, run)
        images = exclude_odd_names(images, run)
        with Journal(Path(f"{user.feature_file}.rows"), ROWS_MADE_WITH, user.resume) as journal:
            if journal.foreign:
                run.report(f"{journal.path} holds rows of other feature definitions: not used, computing all again")
            places, excluded = find_rows(user, images, journal, run)
            if (places < 0).any():
                excluded += len(run.exclusions)
                compute_rows(user, images, journal, places=places, excluded=excluded, run=run)
            written = write_table(user.feature_file, images, journal, places, run)
        run.count("rows written", written)
        run.counts |= {"feature_version": FEATURE_VERSION, "features": FEATURE_NAMES}
        run.counts |= label_counts(user.label_file)  # the label file may be another when this table is read
        run.report(f"Wrote {counted(written, 'rows')} of 29 features to {user.feature_file}")


def find_rows(user: UserDefinitions, images: pd.DataFrame, journal: Journal, run: StageRun) -> tuple[np.ndarray, int]:
    """Return the place of each image's row in the journal, -1 where it has none, and how many hold no features."""
    places, letters = journal.find_arrays(map(os.fsencode, images["filename"]), images["bytes"].to_numpy(),
                                          images["modified_ns"].to_numpy())
    missing = np.count_nonzero(places < 0)
    require_free_space(user.feature_file.parent, BYTES_A_ROW * (len(images) + missing),
                       f"the table of {counted(len(images), 'images')} and the rows of {missing:,} to compute")
    run.count("images labelled", len(images))
    run.count("rows computed before", len(images) - missing)
    run.report(f"Computing {counted(missing, 'images')}; computed before: {len(images) - missing:,}" if missing else
               "Already finished: nothing to compute")
    return places, np.count_nonzero(letters == EXCLUDED.encode())


def compute_rows(user: UserDefinitions, images: pd.DataFrame, journal: Journal, places: np.ndarray, excluded: int,
                 run: StageRun) -> None:
    """Compute the rows that are missing and note in `places` where the journal keeps them; `excluded` so far."""
    missing, folder, remarks = np.flatnonzero(places < 0), user.dataset_dir.resolve(), Counter()
    few = images.iloc[missing[[0, missing.size // 2, -1]]]
    samples = [(str(folder / source), size) for source, size in zip(few["source"], few["bytes"], strict=True)]
    with worker_pool(user.n_jobs, user.dask_scheduler, samples, run.report) as (workers, run_chunks):
        size = min(user.chunk_files, -(-missing.size // (workers * CHUNKS_A_WORKER)))
        chunks = [missing[start:start + size] for start in range(0, missing.size, size)]
        paths = ([str(folder / source) for source in images["source"].iloc[chunk]] for chunk in chunks)
        with run.progress(total=len(images), initial=len(images) - missing.size, description="Features") as bar:
            for number, rows, strange in run_chunks(paths):
                places[chunks[number]] = keep_rows(images.iloc[chunks[number]], rows, journal, run)
                remarks.update(strange)
                excluded += sum(row[0] in (EXCLUDED, TRY_AGAIN) for row in rows)
                bar.set_postfix_str(f"{excluded:,} excluded", refresh=False)
                bar.update(len(rows))
    report_remarks(remarks, run)


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
