"""Training, validation and test sets by active region, never by image.

A list is a text with one NOAA number a line, as published (`List_of_AR_in_Test_Data_by_AR.csv`); four- and five-digit
numbers mean the same region. The published names are read in either spelling, `_Data_by_AR` and `_data_by_AR`.

Where none of the lists exists, stage 5 draws them once into its output folder, for every later run there: experiments
can be compared. `drawn_split.json` notes how, and their sha256: a list that was changed since is never overwritten.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from general_code.evaluation.evaluate import either_spelling
from general_code.noaa.regions import region_number
from general_code.stage.files import UserError, atomic_write, counted, is_set, read_lines
from general_code.stage.run import StageRun, output_lock, read_sidecar

LISTS = {"test": "List_of_AR_in_Test_Data_by_AR.csv", "validation": "List_of_AR_in_Validation_data_by_AR.csv",
         "training": "List_of_AR_in_Train_Data_by_AR.csv"}
SETTINGS = {"test": "test_ar_list", "validation": "validation_ar_list", "training": "train_ar_list"}
DEFAULT_FOLDER = Path("data")  # of the lists that may be missing
DRAW_RECORD = "drawn_split"
NAMED = 10  # regions that a message names


@dataclass(frozen=True)
class RegionLists:
    """Regions of each split, four digits; `training` is None when there is no training list: all others train.

    `source` names the files, `drawn_in` the folder where a run drew them. UserError when a region is in two lists.
    """

    test: tuple[str, ...]
    validation: tuple[str, ...]
    training: tuple[str, ...] | None = None
    source: str = field(default="", compare=False)
    drawn_in: Path | None = field(default=None, compare=False)

    def __post_init__(self):
        seen: dict[str, str] = {}
        for split, regions in self.items():
            for region in regions:
                if seen.setdefault(region, split) != split:
                    raise UserError(f"region {region} is in two lists, {seen[region]} and {split}; "
                                    "a region belongs to one split: remove it from one of them")

    def items(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the lists there are, each with its split, in the order test, validation, training."""
        pairs = [("test", self.test), ("validation", self.validation), ("training", self.training)]
        return [(split, regions) for split, regions in pairs if regions is not None]


class Draw(NamedTuple):
    """How a split is drawn: percents of the regions, seed, and whether to draw again where lists were drawn before."""

    test_percent: float = 10.0
    validation_percent: float = 10.0
    seed: int = 0
    redraw: bool = False


# ---- lists that exist


def read_region_list(path: Path) -> tuple[str, ...]:
    """Read one list.

    Parameters
    ----------
    path : Path
        One NOAA number a line, with or without quotes, a heading, blank lines, a `.0`, a comma or semicolon at its end.

    Returns
    -------
    tuple of str
        Four-digit numbers, each once, in the order of the file; empty for an empty file. UserError, with its line, for
        a row that is no region number.
    """
    regions = {}
    lines = read_lines(path)
    for number, line in lines:
        text = line.rstrip(",; \t").strip("\"'").strip().removesuffix(".0")
        if number == lines[0][0] and text and not any(letter.isdigit() for letter in text):
            continue  # a heading
        try:
            regions[region_number(text)] = None
        except ValueError:
            raise UserError(f"{path}, line {number}: '{line[:60]}' is not a region number like 1158 or 11158; "
                            "expected one a line") from None
    return tuple(regions)


def read_region_lists(test_ar_list: Path, validation_ar_list: Path, train_ar_list: Path,
                      fallback_dir: Path = Path("")) -> RegionLists | None:
    """Read the lists that exist.

    Parameters
    ----------
    test_ar_list, validation_ar_list, train_ar_list, fallback_dir : Path
        Files of region numbers; the training list may be "" for none. One that is not the default has to exist. When
        none of the three exists, files of the same names in the folder are taken.

    Returns
    -------
    RegionLists or None
        None when none of the lists exists. UserError when a list other than the default, or the test or validation list
        beside another, does not exist: it names all of them.
    """
    named = dict(zip(SETTINGS, (test_ar_list, validation_ar_list, train_ar_list), strict=True))
    found = {split: either_spelling(path) if is_set(path) else path for split, path in named.items()
             if is_set(path) or split != "training"}
    wrong = [f"{SETTINGS[split]}: expected a list of regions at '{named[split]}' (from {Path.cwd()}), found "
             f"{'a folder' if path.is_dir() else 'nothing'}; correct the setting"
             for split, path in found.items() if not path.is_file() and path != DEFAULT_FOLDER / LISTS[split]]
    if wrong:
        raise UserError("; ".join(wrong))
    if is_set(fallback_dir) and not any(path.is_file() for path in found.values()):
        found = {split: either_spelling(fallback_dir / LISTS[split]) for split in found}
    present = {split: path for split, path in found.items() if path.is_file()}
    if not present:
        return None
    if lacking := [split for split in ("test", "validation") if split not in present]:
        places = "', '".join(str(found[split]) for split in lacking)
        raise UserError(f"{', '.join(SETTINGS[split] for split in lacking)}: no file at '{places}', but "
                        f"'{next(iter(present.values()))}' exists; give the test and the validation list, or none of "
                        "the three for a seeded draw")
    lists = {split: read_region_list(path) for split, path in present.items()}
    drawn = is_set(fallback_dir) and (fallback_dir / f"{DRAW_RECORD}.json").is_file() and (
        present["test"].parent == fallback_dir)
    return RegionLists(**lists, source=", ".join(map(str, present.values())),
                       drawn_in=fallback_dir if drawn else None)


def assign_splits(regions: Sequence[str], lists: RegionLists) -> np.ndarray:
    """Return the split of each row.

    Parameters
    ----------
    regions, lists : sequence of str (length n), RegionLists
        Four-digit region of each row, and the regions of each split.

    Returns
    -------
    ndarray of object, shape (n,)
        "test", "validation" or "training". A region in no list: "training" when there is no training list, else "".
    """
    split_of = {region: split for split, members in lists.items() for region in members}
    rest = "training" if lists.training is None else ""
    codes, distinct = pd.factorize(np.asarray(regions, dtype=object))
    return np.array([split_of.get(region, rest) for region in distinct], dtype=object)[codes]


def report_unlisted(regions: Sequence[str], lists: RegionLists, run: StageRun) -> None:
    """Report regions that are in no list, where their images go and what to do, and listed regions without an image.

    UserError when there is a training list and no image is of a region in the lists. What a split without images
    leaves open is "not defined" in the scores.

    Parameters
    ----------
    regions, lists, run : sequence of str (length n), RegionLists, StageRun
        Four-digit region of each image; the lists as read or drawn; its counts get "regions_in_no_list".
    """
    regions = pd.Series(np.asarray(regions, dtype=object))
    present = set(regions)
    unlisted = sorted(present.difference(*(members for _, members in lists.items())))
    run.counts["regions_in_no_list"] = len(unlisted)
    if lists.training is not None and len(unlisted) == len(present):
        raise UserError(f"none of the {counted(len(present), 'regions')} of the images is in the lists {lists.source}: "
                        f"they are of another data set; {_remedy(lists)}")
    if unlisted:
        verb, goes = ("is", "goes") if len(unlisted) == 1 else ("are", "go")
        fate, advice = (f"{goes} to training", "") if lists.training is None else (
            f"{verb} skipped", f"; {_remedy(lists)}")
        run.report(f"{counted(len(unlisted), 'regions')} ({counted(int(regions.isin(unlisted).sum()), 'images')}) "
                   f"{verb} in no list and {fate}: {', '.join(unlisted[:NAMED])}"
                   f"{', …' if len(unlisted) > NAMED else ''}{advice}")
    absent = {split: len(set(members) - present) for split, members in lists.items()}
    foreign = [split for split, members in lists.items() if members and absent[split] == len(members)]
    if foreign:
        run.report(f"ATTENTION: no image is of a region in the {' or the '.join(foreign)} list; are the lists of "
                   f"another data set? {lists.source}")
    for split, members in lists.items():
        if absent[split] and split not in foreign:
            verb = "has" if absent[split] == 1 else "have"
            run.report(f"{absent[split]:,} of the {counted(len(members), 'regions')} in the {split} list {verb} no "
                       "image")


def _remedy(lists: RegionLists) -> str:
    """Return what to do about regions that the lists do not know."""
    if lists.drawn_in is None:
        return "add them to a list, or name other lists"
    return ("set redraw in AR_Classifier_weighted.py to draw all regions again (for every later run in "
            f"{lists.drawn_in}), or take another output_dir")


# ---- lists that are drawn


def choose_lists(regions: Sequence[str], flaring: Sequence[bool], list_files: tuple[Path, Path, Path],
                 output_dir: Path, draw: Draw, run: StageRun) -> RegionLists:
    """Read the lists of regions, or those that an earlier run drew into the output folder, or draw them.

    UserError for `redraw` where the lists were not drawn, or were changed since, and for fewer than three regions.

    Parameters
    ----------
    regions, flaring : sequence, length n
        Four-digit region of each image, and whether a flare follows it.
    list_files, output_dir : tuple of Path, Path
        Test, validation and training list, as `read_region_lists` takes them; the folder of stage 5, where drawn lists
        stand under the published names.
    draw, run : Draw, StageRun
        How to draw; reports which lists are used, or what is drawn.

    Returns
    -------
    RegionLists
        Training regions are None only where lists without a training list were read.
    """
    lists = read_region_lists(*list_files, fallback_dir=output_dir)
    again = lists is not None and draw.redraw
    if again and lists.drawn_in is None:
        raise UserError(f"redraw: the lists {lists.source} exist and were not drawn by this stage; set redraw to False "
                        "to use them, or move them away")
    if lists is not None and not again:
        settings = _record(output_dir)["settings"] if lists.drawn_in else {}
        other = [f"{name} {value:g}" for name, value in draw._asdict().items() if settings.get(name, value) != value]
        run.report(f"Regions of each split: {lists.source}" + ("; drawn by an earlier run" if lists.drawn_in else "")
                   + (f"; this run's {', '.join(other)} would need --redraw" if other else ""))
        return lists
    if again:
        _refuse_changed_lists(output_dir)
    with output_lock(output_dir / DRAW_RECORD):
        if not again and (drawn := read_region_lists(*list_files, fallback_dir=output_dir)) is not None:
            run.report(f"Regions of each split: {drawn.source}, which another run has just drawn")
            return drawn
        run.report(f"{'Drawing again' if again else 'None of the lists of regions exists: drawing'} "
                   f"{draw.test_percent:g} % test and {draw.validation_percent:g} % validation regions, seed "
                   f"{draw.seed}, into {output_dir}; every later run there uses them")
        lists = draw_region_split(regions, flaring, draw)
        _write_drawn_lists(lists, output_dir, draw)
    return lists


def draw_region_split(regions: Sequence[str], flaring: Sequence[bool], draw: Draw) -> RegionLists:
    """Draw test and validation regions, the flaring and the quiet ones each in proportion; the rest trains.

    Each split gets at least one region, and one flaring and one quiet where there are three of the kind. The same
    regions, percents and seed give the same, sorted, lists.
    """
    if not draw.test_percent + draw.validation_percent < 100:
        raise UserError(f"test_percent {draw.test_percent:g} and validation_percent {draw.validation_percent:g}: "
                        "expected a sum below 100")
    flares = pd.Series(np.asarray(flaring, dtype=bool)).groupby(np.asarray(regions, dtype=object)).any().sort_index()
    if len(flares) < 3:
        raise UserError(f"expected at least 3 regions to split, got {len(flares)}; give the lists of regions, or "
                        "more images")
    generator = np.random.default_rng(draw.seed)
    drawn: dict[str, list[str]] = {"test": [], "validation": [], "training": []}
    for kind in (True, False):
        members = generator.permutation(flares.index[flares == kind].to_numpy(dtype=object))
        test = _share(draw.test_percent, len(members), len(members), keep=2)
        validation = _share(draw.validation_percent, len(members), len(members) - test, keep=1)
        for split, part in zip(drawn, np.split(members, [test, test + validation]), strict=True):
            drawn[split] += list(part)
    for split in ("test", "validation"):
        if not drawn[split]:
            drawn[split].append(drawn["training"].pop())
    return RegionLists(*(tuple(sorted(members)) for members in drawn.values()))


def _share(percent: float, total: int, left: int, *, keep: int) -> int:
    """Nearest number to the percent of all, at least one, `keep` stay for the rest; of one or two regions none."""
    return min(max(round(percent * total / 100), 1), left - keep) if total >= 3 else 0


def _write_drawn_lists(lists: RegionLists, output_dir: Path, draw: Draw) -> None:
    """Write the three lists under the published names, then how they were drawn."""
    for split, members in lists.items():
        with atomic_write(output_dir / LISTS[split]) as file:
            file.writelines(f"{region}\n" for region in members)
    settings = {"test_percent": draw.test_percent, "validation_percent": draw.validation_percent, "seed": draw.seed}
    with atomic_write(output_dir / f"{DRAW_RECORD}.json") as file:
        json.dump({"settings": settings, "counts": {name: _digest(output_dir / name) for name in LISTS.values()}}, file,
                  indent=1)


def _record(output_dir: Path) -> dict:
    """Return how the lists in a folder were drawn: "settings", and in "counts" the sha256 of each list."""
    return read_sidecar(output_dir / DRAW_RECORD) or {"settings": {}, "counts": {}}


def _refuse_changed_lists(output_dir: Path) -> None:
    """Raise UserError when a list is not as it was drawn."""
    digests = _record(output_dir)["counts"]
    for path in (output_dir / name for name in LISTS.values()):
        if path.is_file() and digests.get(path.name) != _digest(path):
            raise UserError(f"redraw: '{path}' was changed since it was drawn; it is not overwritten: move it away, or "
                            "take another output_dir")


def _digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return sha256(path.read_bytes()).hexdigest()
