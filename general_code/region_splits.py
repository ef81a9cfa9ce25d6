"""Training, validation and test sets by active region, never by image.

A list is a text with one NOAA number a line, as published (`List_of_AR_in_Test_Data_by_AR.csv`); four- and five-digit
numbers mean the same region. Either spelling of the published names is read: `Validation_data`, `Validation_Data`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from general_code.noaa_text import region_number
from general_code.stage_files import UserError, given
from general_code.stage_run import StageRun

SPLIT_FILES = {"training": "Train", "validation": "Validation", "test": "Test"}  # begin of the files' names
VALIDATION_SPELLINGS = ("Validation_data", "Validation_Data")


@dataclass(frozen=True)
class RegionLists:
    """Regions of each split, four digits; `training` is None when there is no training list: the rest trains.

    Raises UserError when a region is in two lists.
    """

    test: tuple[str, ...]
    validation: tuple[str, ...]
    training: tuple[str, ...] | None = None

    def __post_init__(self):
        seen: dict[str, str] = {}
        for split, regions in self.items():
            for region in regions:
                if seen.setdefault(region, split) != split:
                    raise UserError(f"region {region} is in two lists, {seen[region]} and {split}; "
                                    "a region belongs to one split: remove it from one of them")

    def items(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return the lists there are, in the order test, validation, training.

        Returns
        -------
        list of (str, tuple of str)
            Split and its regions.
        """
        pairs = [("test", self.test), ("validation", self.validation), ("training", self.training)]
        return [(split, regions) for split, regions in pairs if regions is not None]


def either_spelling(path: Path) -> Path:
    """Find a file under either spelling of `Validation_data`.

    Parameters
    ----------
    path : Path
        As a setting names it.

    Returns
    -------
    Path
        The other spelling when only that exists, else the same path.
    """
    if path.is_file():
        return path
    for one, other in (VALIDATION_SPELLINGS, VALIDATION_SPELLINGS[::-1]):
        candidate = path.with_name(path.name.replace(one, other))
        if one in path.name and candidate.is_file():
            return candidate
    return path


def read_region_list(path: Path) -> tuple[str, ...]:
    """Read one list.

    Parameters
    ----------
    path : Path
        One NOAA number a line; empty lines are skipped, a repeated number counts once.

    Returns
    -------
    tuple of str
        Four-digit numbers in the order of the file.

    Raises
    ------
    UserError
        Names file and line of a row that is not a region number, and a file that is not a text.
    """
    regions = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text; expected one region number a line") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            regions[region_number(line.strip())] = None
        except ValueError:
            raise UserError(f"{path}, line {number}: '{line.strip()}' is not a region number like 1158 or 11158; "
                            "expected one a line") from None
    return tuple(regions)


def read_region_lists(test_ar_list: Path, validation_ar_list: Path, train_ar_list: Path,
                      fallback_dir: Path = Path("")) -> RegionLists | None:
    """Read the lists that exist.

    Parameters
    ----------
    test_ar_list, validation_ar_list, train_ar_list : Path
        Files of region numbers.
    fallback_dir : Path, optional
        When none of the three exists, files of the same names in this folder are taken.

    Returns
    -------
    RegionLists or None
        None when none of the lists exists.

    Raises
    ------
    UserError
        When the test or the validation list is missing while another exists (names it), and for what
        `read_region_list` and `RegionLists` refuse.
    """
    settings = {"test_ar_list": test_ar_list, "validation_ar_list": validation_ar_list, "train_ar_list": train_ar_list}
    found = {name: either_spelling(path) for name, path in settings.items() if given(path)}
    if given(fallback_dir) and not any(path.is_file() for path in found.values()):
        found = {name: either_spelling(fallback_dir / path.name) for name, path in found.items()}
    present = {name: path for name, path in found.items() if path.is_file()}
    if not present:
        return None
    for name in ("test_ar_list", "validation_ar_list"):
        if name not in present:
            raise UserError(f"{name}: no file at '{settings[name]}', but '{next(iter(present.values()))}' exists; "
                            "give the test and the validation list, or none of the three for a seeded draw")
    lists = {name: read_region_list(path) for name, path in present.items()}
    return RegionLists(lists["test_ar_list"], lists["validation_ar_list"], lists.get("train_ar_list"))


def assign_splits(regions: Sequence[str], lists: RegionLists) -> np.ndarray:
    """Return the split of each row.

    Parameters
    ----------
    regions : sequence of str, length n
        Four-digit region of each row.
    lists : RegionLists
        Regions of each split.

    Returns
    -------
    ndarray of object, shape (n,)
        "test", "validation" or "training". A region in no list: "training" when there is no training list, else "".
    """
    split_of = {region: split for split, members in lists.items() for region in members}
    rest = "training" if lists.training is None else ""
    codes, distinct = pd.factorize(np.asarray(regions, dtype=object))
    return np.array([split_of.get(region, rest) for region in distinct], dtype=object)[codes]


def unlisted_regions(regions: Sequence[str], lists: RegionLists) -> list[str]:
    """Return the regions that are in none of the lists.

    Parameters
    ----------
    regions : sequence of str, length n
        Four-digit region of each row.
    lists : RegionLists
        Regions of each split.

    Returns
    -------
    list of str
        Sorted, each once.
    """
    listed = {region for _, members in lists.items() for region in members}
    return sorted(set(pd.unique(np.asarray(regions, dtype=object))) - listed)


def draw_region_split(regions: Sequence[str], flaring: Sequence[bool], test_percent: float = 10.0,
                      validation_percent: float = 10.0, seed: int = 0) -> RegionLists:
    """Draw test and validation regions, the flaring and the quiet ones each in proportion; the rest trains.

    Parameters
    ----------
    regions : sequence of str, length n
        Region of each image.
    flaring : sequence of bool, length n
        Whether the image is followed by a flare; a region flares when one of its images is.
    test_percent, validation_percent : float
        Percent of the regions. Each split gets at least one region, and at least one flaring and one quiet
        one where there are three of the kind.
    seed : int
        The same regions, percents and seed give the same lists.

    Returns
    -------
    RegionLists
        Sorted numbers; every region is in one of the three.

    Raises
    ------
    UserError
        With fewer than three regions, or percents that are below 0 or leave nothing for training.
    """
    if not (test_percent >= 0 and validation_percent >= 0 and test_percent + validation_percent < 100):
        raise UserError(f"test_percent {test_percent} and validation_percent {validation_percent}: "
                        "expected numbers from 0 with a sum below 100")
    flares = pd.Series(np.asarray(flaring, dtype=bool)).groupby(np.asarray(regions, dtype=object)).any().sort_index()
    if len(flares) < 3:
        raise UserError(f"expected at least 3 regions to split, got {len(flares)}; give the lists of regions, or "
                        "more images")
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[str]] = {"test": [], "validation": [], "training": []}
    for kind in (True, False):
        members = generator.permutation(flares.index[flares == kind].to_numpy(dtype=object))
        test = _share(test_percent, len(members), keep=2)
        validation = _share(validation_percent, len(members) - test, keep=1, of=len(members))
        for split, part in zip(drawn, np.split(members, [test, test + validation]), strict=True):
            drawn[split] += list(part)
    for split in ("test", "validation"):
        if not drawn[split]:
            drawn[split].append(drawn["training"].pop())
    return RegionLists(*(tuple(sorted(members)) for members in drawn.values()))


def _share(percent: float, left: int, keep: int, of: int | None = None) -> int:
    """Nearest number to the percent `of` all, at least one, `keep` stay for the rest; of one or two regions none."""
    of = left if of is None else of
    return min(max(round(percent * of / 100), 1), left - keep) if of >= 3 else 0


# ---------------------------------------------------------------------------- what the user is told


def say_unlisted(regions: Sequence[str], lists: RegionLists, run: StageRun) -> None:
    """Say which regions are in no list and where their images go, and how many listed regions have none.

    Parameters
    ----------
    regions : sequence of str, length n
        Four-digit region of each image.
    lists : RegionLists
        As read.
    run : StageRun
        Told; its counts get "regions_in_no_list".
    """
    regions = pd.Series(np.asarray(regions, dtype=object))
    unlisted = unlisted_regions(regions, lists)
    run.counts["regions_in_no_list"] = len(unlisted)
    if unlisted:
        where = "go to training" if lists.training is None else "are left out"
        run.say(f"{len(unlisted):,} regions ({int(regions.isin(unlisted).sum()):,} images) are in no list and {where}: "
                f"{', '.join(unlisted[:10])}" + (", …" if len(unlisted) > 10 else ""))
    for split, members in lists.items():
        absent = len(set(members) - set(regions))
        if absent:
            run.say(f"{absent:,} of the {len(members):,} regions in the {split} list have no image")


def say_splits(regions: Sequence[str], classes: Sequence[int], split: Sequence[str], run: StageRun) -> None:
    """Say what each split holds, and which defines no scores.

    Parameters
    ----------
    regions : sequence of str, length n
        Region of each image.
    classes : sequence of int, length n
        0 or 1.
    split : sequence of str, length n
        "training", "validation" or "test".
    run : StageRun
        Told; its counts get {"regions", "images", "flaring_images"} under each split's name.
    """
    regions, classes, split = (np.asarray(column) for column in (regions, classes, split))
    for name in SPLIT_FILES:
        inside = split == name
        images, flaring, distinct = int(inside.sum()), int(classes[inside].sum()), pd.unique(regions[inside]).size
        run.say(f"{name}: {distinct:,} regions, {images:,} images, {flaring:,} with a flare"
                + ("" if 0 < flaring < images else "; one class only or empty: its scores are not defined"))
        run.counts[name] = {"regions": distinct, "images": images, "flaring_images": flaring}
