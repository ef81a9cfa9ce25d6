"""Images into training, validation and test by their regions' lists, with the user told what each split holds."""

from pathlib import Path

import numpy as np

from classifier_SVM.training_rows import Rows
from general_code.drawn_lists import drawn_list_files
from general_code.region_splits import (
    RegionLists,
    assign_splits,
    draw_region_split,
    read_region_lists,
    say_splits,
    say_unlisted,
)
from general_code.stage_files import given
from general_code.stage_run import StageRun


def choose_regions(rows: Rows, list_files: tuple[Path, Path, Path], percents: tuple[float, float], seed: int,
                   output_dir: Path, statistics: Path, run: StageRun) -> tuple[RegionLists, dict[Path, str]]:
    """Read the lists of regions, or draw them.

    Parameters
    ----------
    rows : Rows
        All images.
    list_files : tuple of Path
        Test, validation and training list.
    percents : tuple of float
        Test and validation regions of a draw [%].
    seed : int
        Of a draw.
    output_dir : Path
        Where a draw is to be written, under the lists' names.
    statistics : Path
        Main output of this run, whose sidecar notes the lists that it drew the last time.
    run : StageRun
        Told of a draw.

    Returns
    -------
    lists : RegionLists
        Test, validation and, where there is such a list, training regions.
    files : dict of Path to str
        What is to be written of a draw, as `drawn_list_files` returns it; nothing where the lists were read.

    Raises
    ------
    UserError
        As `read_region_lists`, `draw_region_split` and `drawn_list_files`.
    """
    lists = read_region_lists(*list_files)
    if lists is not None:
        return lists, {}
    run.say(f"None of the lists exists ('{list_files[0]}', …): drawing {percents[0]:g} % test and {percents[1]:g} % "
            f"validation regions, seed {seed}, into {output_dir}")
    lists = draw_region_split(rows.labels["region"], rows.labels["class"], *percents, seed)
    names = {split: path.name for split, path in zip(("test", "validation", "training"), list_files, strict=True)
             if given(path)}
    return lists, drawn_list_files(lists, output_dir, names, statistics)


def split_rows(rows: Rows, lists: RegionLists, run: StageRun) -> tuple[Rows, np.ndarray]:
    """Assign images to splits by region, and say what each split holds.

    Parameters
    ----------
    rows : Rows
        All images.
    lists : RegionLists
        As `choose_regions` returns them.
    run : StageRun
        Told of regions in no list, and which splits define no scores.

    Returns
    -------
    rows : Rows
        Those in a split.
    split : ndarray of object
        "test", "validation" or "training" for each.
    """
    regions = rows.labels["region"]
    say_unlisted(regions, lists, run)
    split = assign_splits(regions, lists)
    for name in rows.labels["filename"][split == ""]:
        run.exclude(name, "region in no list")
    rows, split = rows.where(split != ""), split[split != ""]
    say_splits(rows.labels["region"], rows.labels["class"], split, run)
    return rows, split
