"""Training, validation and test sets by active region, never by image.

A list is a text with one NOAA number a line, as published (`List_of_AR_in_Test_Data_by_AR.csv`); four- and five-digit
numbers mean the same region. The published names are read in either spelling, `_Data_by_AR` and `_data_by_AR`.

Where none of the lists exists, stage 5 draws them once into its output folder, for every later run there: experiments
can be compared. With `validation_start` and `test_start` it splits by time instead, and writes the lists there, too.
`drawn_split.json` notes how, and their sha256: a list that was changed since is never overwritten.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel

from general_code.evaluation.evaluate import either_spelling
from general_code.evaluation.scores import MIN_REGIONS
from general_code.noaa.regions import region_number
from general_code.stage.files import UserError, atomic_write, counted, is_set, read_lines
from general_code.stage.run import StageRun, output_lock, read_sidecar

LISTS = {"test": "List_of_AR_in_Test_Data_by_AR.csv", "validation": "List_of_AR_in_Validation_data_by_AR.csv",
         "training": "List_of_AR_in_Train_Data_by_AR.csv"}
SETTINGS = {"test": "test_ar_list", "validation": "validation_ar_list", "training": "train_ar_list"}
DEFAULT_FOLDER = Path("data")  # of the lists that may be missing
DRAW_RECORD = "drawn_split"
NAMED = 10  # regions that a message names
IN_NO_LIST = "region in no list"


@dataclass(frozen=True)
class RegionLists:
    """Regions of each split, four digits; `training` is None when there is no training list: all others train.

    `source` names the files, `drawn_in` the folder where a run drew them, `settings` how (empty: as given, or changed
    since). `left_out` has the regions that a split by time excludes, with the reason. UserError when a region is in
    two lists.
    """

    test: tuple[str, ...]
    validation: tuple[str, ...]
    training: tuple[str, ...] | None = None
    source: str = field(default="", compare=False)
    drawn_in: Path | None = field(default=None, compare=False)
    settings: dict = field(default_factory=dict, compare=False)
    left_out: dict[str, str] = field(default_factory=dict, compare=False)

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

    def text(self) -> str:
        """Return a line for every output: which split this is."""
        if self.settings:
            return f"Split {_made(self.settings)}"
        return f"Split by region: lists {self.source}" + ("; all others train" if self.training is None else "")


class Draw(NamedTuple):
    """How a split is drawn: percents of the regions, and seed."""

    test_percent: float = 10.0
    validation_percent: float = 10.0
    seed: int = 0


class Dates(NamedTuple):
    """How to split by time: first days of validation and test, like 2013-07-01, and days after each to keep free."""

    validation_start: str
    test_start: str
    gap_days: int = 27


class _Record(BaseModel):
    """What has to be in the record of lists: how they were made, their sha256, and regions excluded by time."""

    settings: dict[str, str | float] = {}
    counts: dict[str, str] = {}
    left_out: dict[str, str] = {}


def _made(settings: dict) -> str:
    """Describe how lists were made, as their record notes it."""
    if Dates._fields[0] not in settings:
        return "by region: drawn with " + ", ".join(f"{name} {value}" for name, value in settings.items())
    start, test, gap = (settings.get(name, "?") for name in Dates._fields)
    return (f"by time: training before {start}, validation from {start}, test from {test}, by the first image of a "
            f"region; without regions that cross one of the days or begin within {gap} days after it")


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
        Four-digit numbers, each once, in the file's order. UserError, with its line, for a row that is no number.
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
        Files of region numbers; the training list may be "" for none. When none of the three exists, files of the same
        names in the folder are taken; those that a run split by time into it go before `DEFAULT_FOLDER`'s.

    Returns
    -------
    RegionLists or None
        None when none of the lists exists. UserError, which names all, when a list other than the default, or the test
        or validation list beside another, does not exist.
    """
    named = dict(zip(SETTINGS, (test_ar_list, validation_ar_list, train_ar_list), strict=True))
    found = {split: either_spelling(path) if is_set(path) else path for split, path in named.items()
             if is_set(path) or split != "training"}
    wrong = [f"{SETTINGS[split]}: expected a list of regions at '{named[split]}' (from {Path.cwd()}), found "
             f"{'a folder' if path.is_dir() else 'nothing'}; correct the setting"
             for split, path in found.items() if not path.is_file() and path != DEFAULT_FOLDER / LISTS[split]]
    if wrong:
        raise UserError("; ".join(wrong))
    unused, record = "", _record(fallback_dir) if is_set(fallback_dir) else {"settings": {}}
    by_time = (Dates._fields[0] in record["settings"] and not named_lists(tuple(named.values()))
               and any((fallback_dir / name).is_file() for name in LISTS.values()))
    if is_set(fallback_dir) and (by_time or not any(path.is_file() for path in found.values())):
        if any(path.is_file() for path in found.values()):
            unused = (f" (split by time; the lists in {DEFAULT_FOLDER} are not used: to use them, take another folder "
                      f"or move {fallback_dir / DRAW_RECORD}.json away)")
        found = {split: either_spelling(fallback_dir / LISTS[split]) for split in (LISTS if by_time else found)}
    present = {split: path for split, path in found.items() if path.is_file()}
    if not present:
        return None
    if lacking := [split for split in ("test", "validation") if split not in present]:
        places = "', '".join(str(found[split]) for split in lacking)
        raise UserError(f"{', '.join(SETTINGS[split] for split in lacking)}: no file at '{places}', but "
                        f"'{next(iter(present.values()))}' exists; give the test and the validation list, or none of "
                        "the three for a seeded draw")
    lists = {split: read_region_list(path) for split, path in present.items()}
    source = ", ".join(map(str, present.values())) + unused
    if not (record["settings"] and present["test"].parent == fallback_dir):
        return RegionLists(**lists, source=source)
    unchanged = all(_digest(path) == record["counts"].get(path.name) for path in present.values())
    listed = {region for members in lists.values() for region in members}  # by hand, maybe
    left_out = {region: why for region, why in record.get("left_out", {}).items() if region not in listed}
    return RegionLists(**lists, source=source, drawn_in=fallback_dir, left_out=left_out,
                       settings=record["settings"] if unchanged else {})


def named_lists(list_files: tuple[Path, Path, Path]) -> list[str]:
    """Return which settings name another than the default list.

    Parameters
    ----------
    list_files : tuple of Path
        Of test, validation and training regions; "" names no list.

    Returns
    -------
    list of str
        "test_ar_list", ….
    """
    return [SETTINGS[split] for split, path in zip(SETTINGS, list_files, strict=True)
            if is_set(path) and path != DEFAULT_FOLDER / LISTS[split]]


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
    """Report regions in no list, where their images go and what to do, and listed regions without an image.

    Parameters
    ----------
    regions, lists, run : sequence of str (length n), RegionLists, StageRun
        Four-digit region of each image; the lists as read or drawn, UserError when no image is of a region in them; its
        counts get "split", "regions_in_no_list" and, of a split by time, "regions_left_out".
    """
    regions = pd.Series(np.asarray(regions, dtype=object))
    present, listed = set(regions), {region for _, members in lists.items() for region in members}
    unlisted = sorted(present.difference(lists.left_out, listed))
    run.counts["split"] = lists.text()
    run.counts["regions_in_no_list"] = len(unlisted)
    if lists.left_out:
        _report_left_out(regions[regions.isin(list(lists.left_out))], lists, run)
    if lists.training is not None and present.isdisjoint(listed):
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


def _report_left_out(regions: pd.Series, lists: RegionLists, run: StageRun) -> None:
    """Report and count the regions of images that a split by time excludes."""
    images = regions.value_counts()
    reasons = images.groupby(images.index.map(lists.left_out)).agg(["size", "sum"])
    run.counts["regions_left_out"] = reasons["size"].to_dict()
    run.report(f"Excluded by the split by time: {counted(len(images), 'regions')}, {counted(len(regions), 'images')}"
               + "".join(f"; {reason}: {row['size']:,} ({row['sum']:,})" for reason, row in reasons.iterrows()))


def split_images(images: pd.DataFrame, lists: RegionLists, run: StageRun) -> np.ndarray:
    """Return the split of each image, and report and exclude the images of regions in no list, with the reason.

    Parameters
    ----------
    images, lists, run : DataFrame, RegionLists, StageRun
        With `filename` and `region`; the lists as read or drawn; takes exclusions and what `report_unlisted` reports.

    Returns
    -------
    ndarray of object, shape (n,)
        As `assign_splits` returns it, "" for an excluded image.
    """
    report_unlisted(images["region"], lists, run)
    split = assign_splits(images["region"], lists)
    for filename, region in images.loc[split == "", ["filename", "region"]].itertuples(index=False):
        run.exclude(filename, lists.left_out.get(region, IN_NO_LIST), subject="images")
    return split


def _remedy(lists: RegionLists) -> str:
    """Return what to do about regions that the lists do not know."""
    if lists.drawn_in is None:
        return "add them to a list, or name other lists"
    if Dates._fields[0] in lists.settings:
        return "start AR_Classifier_weighted.py with the days of the split again, or name other lists"
    return ("set redraw in AR_Classifier_weighted.py to draw all regions again (for every later run in "
            f"{lists.drawn_in}), or take another output_dir")


# ---- lists that are drawn


def choose_lists(images: pd.DataFrame, list_files: tuple[Path, Path, Path], output_dir: Path, how: Draw | Dates,
                 run: StageRun, redraw: bool = False) -> RegionLists:
    """Split by time, or else read the lists of regions, or those an earlier run made in the output folder, or draw.

    Parameters
    ----------
    images : DataFrame
        `region` (four digits), `class` (1: a flare follows) and, to split by time, `time` (datetime64) of each image.
    list_files, output_dir : tuple of Path, Path
        Test, validation and training list; the folder of stage 5, where the lists it makes have the published names.
    how, run, redraw : Draw or Dates, StageRun, bool
        How to make them; reports which lists are used, or what is made; whether to replace lists made before.

    Returns
    -------
    RegionLists
        UserError for `redraw` where the lists were not drawn, or were changed since, for fewer than three regions, and
        for dates where the folder has lists that were made otherwise, unless `redraw`.
    """
    if isinstance(how, Dates):
        return _write_split_by_time(split_by_time(images["region"], images["time"], how), output_dir, redraw, run)
    lists = read_region_lists(*list_files, fallback_dir=output_dir)
    if lists is not None and not redraw:
        settings = _record(output_dir)["settings"] if lists.drawn_in else {}
        other = [f"{name} {value:g}" for name, value in how._asdict().items() if settings.get(name, value) != value]
        run.report(f"Regions of each split: {lists.source}" + ("; made by an earlier run" if lists.drawn_in else "")
                   + (f"; this run's {', '.join(other)} would need --redraw" if other else ""))
        return lists
    if lists is not None:
        if lists.drawn_in is None:
            raise UserError(f"redraw: the lists {lists.source} exist and were not drawn by this stage; set redraw to "
                            "False to use them, or move them away")
        if (given := read_region_lists(*list_files)) is not None:  # beside a split by time
            raise UserError(f"redraw: the lists {given.source} exist and go before drawn ones; take another output_dir "
                            "to use them, or move them away")
        _refuse_changed_lists(output_dir)
    with output_lock(output_dir / DRAW_RECORD):
        if lists is None and (drawn := read_region_lists(*list_files, fallback_dir=output_dir)) is not None:
            run.report(f"Regions of each split: {drawn.source}, which another run has just drawn")
            return drawn
        run.report(f"{'None of the lists of regions exists: drawing' if lists is None else 'Drawing again'} "
                   f"{how.test_percent:g} % test and {how.validation_percent:g} % validation regions, seed "
                   f"{how.seed}, into {output_dir}; every later run there uses them")
        lists = draw_region_split(images["region"], images["class"], how)
        _write_lists(lists, output_dir)
    return lists


def split_by_time(regions: Sequence[str], times: Sequence[np.datetime64], dates: Dates) -> RegionLists:
    """Split regions by the time of their first image; a day begins at 00:00 of the images' time.

    `left_out` has regions with images before and after one of the days, and those that begin within `gap_days` after
    one. UserError where the days leave a split without a region.
    """
    images = pd.Series(np.asarray(times, dtype="datetime64[s]")).groupby(np.asarray(regions, dtype=object))
    first, last = images.min(), images.max()
    split, reason = pd.Series("training", index=first.index), pd.Series("", index=first.index)
    for name, day in (("validation", dates.validation_start), ("test", dates.test_start)):
        start = pd.Timestamp(day)
        split[first >= start] = name
        reason[(first < start) & (last >= start)] = f"region crosses {day}"
        near = (first >= start) & (first < start + pd.Timedelta(days=dates.gap_days))
        reason[near] = f"region begins within {dates.gap_days} days after {day}"
    members = {name: tuple(split.index[(split == name) & (reason == "")]) for name in LISTS}
    if lacking := [name for name, found in members.items() if not found]:
        by_gap = (split.isin(lacking) & reason.str.startswith("region begins")).any()
        raise UserError(f"validation_start {dates.validation_start}, test_start {dates.test_start}: no region is left "
                        f"for {', '.join(lacking)}; the images are from {first.min():%Y-%m-%d} to "
                        f"{last.max():%Y-%m-%d}, gap_days is {dates.gap_days}: choose other days"
                        f"{', or a smaller --gap-days' * bool(by_gap)}")
    return RegionLists(**members, settings=dates._asdict(), left_out=reason[reason != ""].to_dict())


def _write_split_by_time(lists: RegionLists, output_dir: Path, redraw: bool, run: StageRun) -> RegionLists:
    """Write the lists that the days make of these images, in place of those of the same days or, with redraw, any."""
    earlier = {output_dir / LISTS[split]: members for split, members in lists.items()
               if (output_dir / LISTS[split]).is_file()}
    with output_lock(output_dir / DRAW_RECORD):
        settings, changed = _record(output_dir)["settings"], False
        if earlier:
            if settings and settings != lists.settings and not redraw:
                raise UserError(f"validation_start, test_start: the lists of regions in '{output_dir}' were made "
                                f"otherwise, {_made(settings)}; set redraw to replace them, for every later run there, "
                                "or take another output_dir")
            _refuse_changed_lists(output_dir)
            changed = settings == lists.settings and any(read_region_list(path) != members
                                                         for path, members in earlier.items())
        run.report(f"{lists.text()}; lists in {output_dir}" + (
            "; ATTENTION: the lists that an earlier run wrote there for the same days had other regions, as it had "
            "other images: replaced; forecasts made with those are of another split" if changed else ""))
        _write_lists(lists, output_dir)
    return replace(lists, source=", ".join(str(output_dir / name) for name in LISTS.values()), drawn_in=output_dir)


def draw_region_split(regions: Sequence[str], flaring: Sequence[bool], draw: Draw) -> RegionLists:
    """Draw test and validation regions, the flaring and the quiet ones each in proportion; the rest trains.

    Parameters
    ----------
    regions, flaring, draw : sequence of length n, sequence of length n, Draw
        Four-digit region of each image, and whether a flare follows it; percents and seed.

    Returns
    -------
    RegionLists
        Sorted, the same for the same regions, percents and seed. Each split has at least one region, and one flaring
        and one quiet where there are three of the kind. UserError for fewer than three regions.
    """
    if not draw.test_percent + draw.validation_percent < 100:
        raise UserError(f"test_percent {draw.test_percent:g} and validation_percent {draw.validation_percent:g}: "
                        "expected a sum below 100")
    flares = pd.Series(np.asarray(flaring, dtype=bool)).groupby(np.asarray(regions, dtype=object)).any().sort_index()
    if len(flares) < 3:
        raise UserError(f"expected at least 3 regions to split, one each to train, validate and test, got "
                        f"{len(flares)} (probabilities need {MIN_REGIONS} validation regions with a flare and as many "
                        "without); give the lists of regions, or images of more regions")
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
    return RegionLists(*(tuple(sorted(members)) for members in drawn.values()), settings=draw._asdict())


def _share(percent: float, total: int, left: int, *, keep: int) -> int:
    """Nearest number to the percent of all, at least one, `keep` stay for the rest; of one or two regions none."""
    return min(max(round(percent * total / 100), 1), left - keep) if total >= 3 else 0


def _write_lists(lists: RegionLists, output_dir: Path) -> None:
    """Write the three lists under the published names, then how they were made."""
    for split, members in lists.items():
        with atomic_write(output_dir / LISTS[split]) as file:
            file.writelines(f"{region}\n" for region in members)
    counts = {name: _digest(output_dir / name) for name in LISTS.values()}
    with atomic_write(output_dir / f"{DRAW_RECORD}.json") as file:
        json.dump({"settings": lists.settings, "counts": counts, "left_out": lists.left_out}, file, indent=1)


def _record(output_dir: Path) -> dict:
    """Return how the lists in a folder were drawn: "settings", and in "counts" the sha256 of each list."""
    return read_sidecar(output_dir / DRAW_RECORD, _Record) or {"settings": {}, "counts": {}}


def _refuse_changed_lists(output_dir: Path) -> None:
    """Raise UserError when a list is not as it was drawn."""
    digests = _record(output_dir)["counts"]
    for path in (output_dir / name for name in LISTS.values()):
        if path.is_file() and digests.get(path.name) != _digest(path):
            raise UserError(f"lists of regions: '{path}' was changed since this stage wrote it, or is none of its "
                            "own; it is not overwritten: move it away, or take another output_dir")


def _digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return sha256(path.read_bytes()).hexdigest()
