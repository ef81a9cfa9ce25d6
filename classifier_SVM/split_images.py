"""Images into training, validation and test by their regions' lists, with the user told what each split holds."""

from pathlib import Path

import numpy as np

from classifier_SVM.region_splits import (
    RegionLists,
    assign_splits,
    draw_region_split,
    read_region_lists,
    unlisted_regions,
    write_drawn_lists,
)
from classifier_SVM.split_tables import SPLIT_FILES
from classifier_SVM.training_rows import Rows
from general_code.stage_run import StageRun


def choose_regions(rows: Rows, list_files: tuple[Path, Path, Path], percents: tuple[float, float], seed: int,
                   output_dir: Path, run: StageRun) -> RegionLists:
    """Read the lists of regions, or draw them and write them to `output_dir`.

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
        Where a draw is written, under the lists' names.
    run : StageRun
        Told of a draw; its counts name the lists drawn.

    Returns
    -------
    RegionLists
        Test, validation and, where there is such a list, training regions.

    Raises
    ------
    UserError
        As `read_region_lists`, `draw_region_split` and `write_drawn_lists`.
    """
    lists = read_region_lists(*list_files)
    if lists is not None:
        return lists
    run.say(f"None of the lists exists ('{list_files[0]}', …): drawing {percents[0]:g} % test and {percents[1]:g} % "
            f"validation regions, seed {seed}, into {output_dir}")
    lists = draw_region_split(rows.labels["region"], rows.labels["class"], *percents, seed)
    names = {split: path.name for split, path in zip(("test", "validation", "training"), list_files, strict=True)}
    earlier = [path.with_name(path.name.removesuffix(".json"))
               for path in sorted(output_dir.glob("ARClassifierStats_weighted_trainvaltest_*.txt.json"))]
    run.counts["drawn_lists"] = write_drawn_lists(lists, output_dir, names, earlier)
    return lists


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
    split, foreign = assign_splits(regions, lists), unlisted_regions(regions, lists)
    if foreign:
        where = "go to training" if lists.training is None else "are left out"
        count = int(regions.isin(foreign).sum())
        run.say(f"{len(foreign):,} regions ({count:,} images) are in no list and {where}: {', '.join(foreign[:10])}"
                + (", …" if len(foreign) > 10 else ""))
    for name in rows.labels["filename"][split == ""]:
        run.exclude(name, "region in no list")
    rows, split = rows.where(split != ""), split[split != ""]
    for name, members in lists.items():
        absent = len(set(members) - set(regions))
        if absent:
            run.say(f"{absent:,} of the {len(members):,} regions in the {name} list have no image")
    for name in SPLIT_FILES:
        part = rows.labels[split == name]
        flaring = int(part["class"].sum())
        run.say(f"{name}: {part['region'].nunique():,} regions, {len(part):,} images, {flaring:,} with a flare"
                + ("" if 0 < flaring < len(part) else "; one class only or empty: its scores are not defined"))
        run.counts[name] = {"regions": part["region"].nunique(), "images": len(part), "flaring": flaring}
    return rows, split
