"""Lists of images, `filename,class` a line: read whatever program wrote them, and matched with the images of a folder.

A class is `0` or a flare's (`C4.7`) in the label file of stage 3, and 0 or 1 in the lists of stage 7. Folders, size,
extension and case of a name, a header, blank lines, quotes, and `;` or tab in place of the comma do not matter. Lines
that are not used are reported, by every stage in the same words.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from general_code.images.names import (
    ENDINGS,
    NAMES_A_BLOCK,
    NOT_A_NAME,
    SERIES,
    image_keys,
    image_stems,
    list_files,
    parse_image_names,
    where_images_are,
)
from general_code.noaa.flares import AS_REPORTED, FLARE_CLASS, FLARE_SCALES, NO_FLARE, peak_flux
from general_code.stage.files import UserError, check_all, read_lines, require_file
from general_code.stage.run import Problem, StageRun, read_sidecar

NOT_A_LABEL = "label not understood"
NO_FLARE_CLASS = "label 1 in place of a flare class"  # in all flaring lines, it is an error
REPEATED = "label repeated"
NO_IMAGE = "label without an image"
_TARGET = ("flare_size", "flare_window_hours", "latency_minutes", "flare_scale")  # counts of a `FlareTarget`
_HEADER = r"(?:file|image)?[ _]?(?:name|file|image|path)s?"  # what the first column of a list may be called
_IN_A_NAME = {"flare_window_hours": r"_(\d+(?:\.\d+)?)hr(?![a-z])", "max_latitude_deg": r"(?:^|_)Lat(\d+)_",
              "max_longitude_deg": r"(?:^|_)Lon(\d+)_"}  # how published names say it
_COLUMNS = ("filename", "listed", "class", "key", "image", "region", "time", "camera")
_AROUND = " \"',"  # what may stand around a name or a class: quotes, and the separators of empty columns
_CLASSES = {"flare": rf"0(?:\.0*)?|{FLARE_CLASS}", "binary": r"[01](?:\.0*)?", "": ".*"}
_EXPECTED = {"flare": "'name,0' or 'name,C4.7'", "binary": "'name,0' or 'name,1'", "": "a file name"}


def read_label_file(label_file: Path, setting: str = "label_file", classes: str = "flare",
                    any_name: bool = False,
                    columns: Sequence[str] = _COLUMNS) -> tuple[pd.DataFrame, list[Problem]]:
    """Read the images of a list: a million in a few seconds.

    Parameters
    ----------
    label_file, setting : Path, str
        `filename,class` a line, and the setting that names it, for the messages.
    classes : {"flare", "binary", ""}, optional
        `0` or e.g. `C4.7`; 0 or 1; none: what follows the names is ignored.
    any_name : bool, optional
        Keep also names that are not a magnetogram's of a region.
    columns : sequence of str, optional
        Which of those below, `listed`, `class` and `key` among them: all of a million take 250 MB.

    Returns
    -------
    pandas.DataFrame
        In the file's order, each image once: `filename` (str, without folder; a name without a region gets that of its
        folder, one without an extension .fits), `listed` (str, the path as it stands, with slashes), `class` (str; int8
        when binary; "" without classes), `key` and `image` (as `image_keys` and `image_stems`), `region`, `time` (TAI)
        and `camera`.
        UserError when there is no such file, no line names an image, or the classes are of the other kind.
    list of Problem
        Lines that are not used.
    """
    table, problems = _read(label_file, setting, classes, any_name, columns)
    if table.empty:
        raise UserError(f"{setting}: no image in {label_file}; set --{setting.replace('_', '-')}")
    return table, problems


def read_image_lists(files: dict[str, Path], run: StageRun) -> pd.DataFrame:
    """Read the lists of images that stage 7 trains, validates and tests on.

    Parameters
    ----------
    files, run : dict of str to Path, StageRun
        From split ("training", "validation", "test") to its list, `filename,class` with 0 or 1; gets the lines that are
        not used.

    Returns
    -------
    pandas.DataFrame
        As `read_label_file`, and `split` (str). A list may be empty but for its header; UserError for lists that do not
        exist, for all of them empty, and for a region in two lists.
    """
    settings = {split: "train_file" if split == "training" else f"{split}_file" for split in files}
    check_all(*(partial(require_file, path, settings[split]) for split, path in files.items()))
    tables = []
    for split, path in files.items():
        table, problems = _read(path, settings[split], "binary")
        tables.append(table.assign(split=split))
        run.exclude_all(problems)
    images = pd.concat(tables, ignore_index=True)
    if images.empty:
        raise UserError(f"no image in {', '.join(map(str, files.values()))}; make the lists with "
                        "Build_keras_dataframe_files.py")
    splits = images.drop_duplicates(["region", "split"])
    twice = splits[splits["region"].duplicated(keep=False)]
    if len(twice):
        region = twice["region"].iloc[0]
        lists = ", ".join(str(files[split]) for split in twice["split"][twice["region"] == region])
        raise UserError(f"region {region} is in two lists ({lists}); its images are alike, so that a test on them "
                        "would mean nothing: take it out of one")
    return images


def find_labelled_images(label_file: Path, dataset_dir: Path, image_format: str, run: StageRun) -> pd.DataFrame:
    """Match the images of a data set with their labels, and record what has no partner.

    Parameters
    ----------
    label_file, dataset_dir, image_format, run : Path, Path, {"fits", "png"}, StageRun
        `filename,class` a line; holds `NNNN/*.fits` or `NNNN/*.png`, or the images themselves; gets the exclusions.

    Returns
    -------
    pandas.DataFrame
        Images with a label, each once, by name: `filename`, `source` (str, path in `dataset_dir`), `bytes` and
        `modified_ns` (int64, -1 where the file cannot be reached) and `class` (str). UserError when there is no image
        of this format, no label, or none that belong together, or the classes are 0 and 1 only.
    """
    # before the images, since the text of the list takes as much memory as their table
    labels, problems = read_label_file(label_file, any_name=True, columns=("listed", "class", "key"))
    images = _each_once(dataset_dir, image_format, run)
    run.exclude_all(problems)
    _report_other_format(labels, image_format, dataset_dir, run)
    partners = pd.Index(labels["key"]).get_indexer(images.pop("key"))
    alone = labels["listed"].iloc[np.setdiff1d(np.arange(len(labels)), partners)].reset_index(drop=True)
    for name in _file_names(parse_image_names(alone).assign(path=alone)):
        run.exclude(name, NO_IMAGE, subject="labels")
    images["filename"] = images["source"].str.replace("^.*/", "", regex=True)
    for name in images["filename"][partners < 0]:
        run.exclude(name, "image without a label", subject="images")
    table = images[partners >= 0].assign(**{"class": labels["class"].array[partners[partners >= 0]]})
    if table.empty:
        raise UserError(f"{label_file}: no line names an image of '{dataset_dir}'; {where_images_are(dataset_dir)}set "
                        "--dataset-dir and --label-file to what generate_dataset wrote in one run")
    return table.reset_index(drop=True)


def match_images(table: pd.DataFrame, dataset_dir: Path, image_format: str, run: StageRun) -> pd.DataFrame:
    """Find the files of some images in a data set.

    Parameters
    ----------
    table : pandas.DataFrame
        `image` (str, as `image_stems`), and what else belongs to the images.
    dataset_dir, image_format, run : Path, {"fits", "png"}, StageRun
        Holds `NNNN/*.fits` or `NNNN/*.png`, or the images themselves: without any it is a UserError; gets the folders
        that cannot be read, and second files of an image.

    Returns
    -------
    pandas.DataFrame
        The same rows in the same order, with `source` (str, path in `dataset_dir`, "" where there is no such image),
        `bytes` and `modified_ns` (int64, -1 where there is none or it cannot be reached).
    """
    images = _each_once(dataset_dir, image_format, run)
    # nullable: of int64 a merge with gaps would make float64, which rounds nanoseconds
    images = images.astype({"bytes": "Int64", "modified_ns": "Int64"})
    keyed = table.assign(key=image_keys(table["image"] + ".fits"))  # an extension, since one would be taken off
    found = keyed.merge(images, on="key", how="left").drop(columns="key")
    found = found.fillna({"source": "", "bytes": -1, "modified_ns": -1})
    _report_other_format(found.loc[found["source"] != ""], image_format, dataset_dir, run)
    return found.astype({"bytes": np.int64, "modified_ns": np.int64}).set_index(table.index)


# ---------------------------------------------------------------------------- how labels were made


class FlareTarget(NamedTuple):
    """What labels, scores and a forecast count: a flare of a size in a window that begins a latency after the image."""

    size: str = ""  # smallest flare that counts, like `C1.0`; "" where not known
    window_hours: float = np.nan  # length of the window [h]; NaN where not known
    latency_minutes: float = 0.0  # from the image to the begin of the window [min]
    scale: str = AS_REPORTED  # of the classes, one of `FLARE_SCALES`

    @classmethod
    def of(cls, counts: Mapping[str, Any]) -> "FlareTarget":
        """Return the target that counts, as `label_counts` returns them, tell of; what they do not is the default."""
        named = zip(_TARGET, cls(), strict=True)
        return cls(*(default if counts.get(name) in (None, "") else counts[name] for name, default in named))

    def counts(self) -> dict[str, str | float]:
        """Return it as counts for a sidecar: a window that is not known is ""."""
        return dict(zip(_TARGET, self, strict=True)) | ({} if np.isfinite(self.window_hours) else {_TARGET[1]: ""})

    def text(self) -> str:
        """Describe it, like "C1.0 or larger within 24 h, from 60 min after the image, modern scale"."""
        text = f"{self.size} or larger" if self.size else "any labelled size"
        return text + (f" within {self.window_hours:g} h" if np.isfinite(self.window_hours) else "") + self.conditions()

    def conditions(self) -> str:
        """Describe latency and scale, where they are not the published ones: ", from 60 min after the image"."""
        latency = f", from {self.latency_minutes:g} min after the image" if self.latency_minutes else ""
        return latency + ("" if self.scale == AS_REPORTED else f", {self.scale} scale")


def label_target(source: Path) -> FlareTarget:
    """Return what labels count.

    Parameters
    ----------
    source : Path
        As `label_counts` takes it.

    Returns
    -------
    FlareTarget
        Labels of an earlier version, and published ones, have no latency and the classes as reported.
    """
    return FlareTarget.of(label_counts(source))


def label_counts(source: Path) -> dict[str, str | float]:
    """Return how labels were made, which every stage that passes them on notes in its counts.

    Parameters
    ----------
    source : Path
        Label file, or a table made from one. Its sidecar tells, in counts or else settings, or else its name: the
        published ones are like `Lat60_Lon60_Nans0_C1.0_24hr_png_224_features.csv`.

    Returns
    -------
    dict
        flare_size ("" where not known), latency_minutes, flare_scale, and where they are known flare_window_hours,
        max_latitude_deg and max_longitude_deg.
    """
    sidecar = read_sidecar(source) or {"counts": {}, "settings": {}}
    named = {name: float(found[1]) for name, pattern in _IN_A_NAME.items()
             if (found := re.search(pattern, source.name, re.IGNORECASE))}
    size = re.search(rf"(?:^|_)({FLARE_CLASS})_\d+(?:\.\d+)?hr", source.name, re.IGNORECASE)
    known = named | {"flare_size": size[1].upper() if size else ""}
    known |= {name: value for part in ("settings", "counts") for name, value in sidecar[part].items() if value}
    counts: dict[str, str | float] = {"flare_size": "", "latency_minutes": 0.0, "flare_scale": AS_REPORTED}
    with suppress(ValueError):
        peak_flux(str(known["flare_size"]))
        counts["flare_size"] = str(known["flare_size"])
    if known.get("flare_scale") in FLARE_SCALES:
        counts["flare_scale"] = known["flare_scale"]
    return counts | {name: known[name] for name in (*_IN_A_NAME, "latency_minutes")
                     if isinstance(known.get(name), int | float) and 0 < known[name] < np.inf}


def read_list(path: Path) -> pd.DataFrame:
    """Return the lines of a list of images as they stand, but for blank ones and a header.

    Parameters
    ----------
    path : Path
        A text file (else it is a UserError): a name a line, and what follows it behind a comma, semicolon or tab.

    Returns
    -------
    pandas.DataFrame
        `line` (int, from 1), `path` (str, the name with its folders, "" where there is none) and `rest` (str).
    """
    lines = read_lines(path)
    table = _by_blocks(_list_of_lines, lines)
    header = table["path"][:1].str.fullmatch(_HEADER, case=False).any()
    return table[int(header):].reset_index(drop=True)


def _list_of_lines(lines: list[tuple[int, str]]) -> pd.DataFrame:
    """Return numbered lines as the table of `read_list`."""
    parts = [text.replace(";", ",").replace("\t", ",").partition(",") for _, text in lines]
    return pd.DataFrame({"line": np.fromiter((number for number, _ in lines), int, len(lines)),
                         "path": pd.Series([name.strip(_AROUND) for name, _, _ in parts], dtype="str"),
                         "rest": pd.Series([rest.strip(_AROUND) for _, _, rest in parts], dtype="str")})


def _by_blocks(make: Callable[[Any], pd.DataFrame], rows: Any) -> pd.DataFrame:
    """Return what a function makes of rows, which it gets a block at a time: what it needs for all would be much."""
    starts = range(0, len(rows) or 1, NAMES_A_BLOCK)
    return pd.concat([make(rows[start:start + NAMES_A_BLOCK]) for start in starts], ignore_index=True)


def _read(label_file: Path, setting: str, classes: str, any_name: bool = False,
          columns: Sequence[str] = _COLUMNS) -> tuple[pd.DataFrame, list[Problem]]:
    """Read a list; one without lines but for a header gives an empty table."""
    lines = read_list(require_file(label_file, setting))
    lines["label"] = lines["rest"].str.upper() if classes else ""
    understood = (lines["path"] != "") & lines["label"].str.fullmatch(_CLASSES[classes])
    problems = _not_understood(label_file, setting, classes, lines[~understood])
    lines = lines.loc[understood, ["line", "path", "label"]].reset_index(drop=True)
    lines["label"] = lines["label"].str[:1].where(lines["label"].str.match(r"[01]\."), lines["label"])
    if (lines["label"] == NO_FLARE).all() and any(problem.reason == NO_FLARE_CLASS for problem in problems):
        raise UserError(f"{setting}: {label_file} has classes 0 and 1 only; expected flare classes like C4.7, as "
                        "generate_dataset writes them")

    def images_of(block: pd.DataFrame) -> pd.DataFrame:
        images = block.reset_index(drop=True).rename(columns={"label": "class"})
        images = pd.concat([images, parse_image_names(images["path"])], axis=1)
        named = (images["region"] != "") & images["time"].notna() | any_name
        problems.extend(Problem(row.path, NOT_A_NAME, f"no region and time in it ({label_file.name}, line {row.line})",
                                "labels") for row in images[~named].itertuples())
        images = images[named].assign(filename=_file_names, key=lambda table: image_keys(table["path"]),
                                      listed=lambda table: table["path"].str.replace("\\", "/", regex=False))
        return images[list(columns)]

    images = _by_blocks(images_of, lines)
    again = images["key"].duplicated()
    problems += [Problem(image, REPEATED, "the first one counts" + (f", not {label}" if classes else ""), "labels")
                 for image, label in zip(image_stems(images["listed"][again]), images["class"][again], strict=True)]
    if images.empty and problems:
        raise UserError(f"{setting}: no line of {label_file} begins with the name of an image of a region, like "
                        f"NNNN_{SERIES}.20140101_000000_TAI.1.magnetogram.fits ({problems[0].input}: "
                        f"{problems[0].detail}); set --{setting.replace('_', '-')}")
    images = images[~again].reset_index(drop=True)
    if classes == "binary":
        images["class"] = images["class"].astype(np.int8)
    return images, problems


def _not_understood(label_file: Path, setting: str, classes: str, lines: pd.DataFrame) -> list[Problem]:
    """Return the problems of lines that are no label; raise UserError for flare classes in place of 0 and 1."""
    problems = []
    for row in lines.itertuples():
        reason = NOT_A_LABEL
        if row.path and classes == "flare" and row.label in ("1", "1.0"):
            reason = NO_FLARE_CLASS
        if row.path and classes == "binary" and re.fullmatch(FLARE_CLASS, row.label):
            raise UserError(f"{setting}: {label_file}, line {row.line}: expected 0 or 1, got the flare class "
                            f"'{row.label}'; make the list with Build_keras_dataframe_files.py --label-file")
        line = f"{row.path}{',' if row.rest else ''}{row.rest}"[:100]
        problems.append(Problem(f"{label_file.name}, line {row.line}", reason,
                                f"expected {_EXPECTED[classes]}, got {line!a}", "labels"))
    return problems


def _file_names(images: pd.DataFrame) -> pd.Series:
    """Return names without folders, those of magnetograms with their region in front and an extension."""
    names = images["path"].str.replace(r"^.*[/\\]", "", regex=True)
    known, bare = images["region"] != "", ~names.str.match("[0-9]")
    names = names.where(~(known & bare), images["region"] + "_" + names)
    return names.where(~known | images["image_format"].ne(""), names + ".fits")


def _each_once(dataset_dir: Path, image_format: str, run: StageRun) -> pd.DataFrame:
    """Return source, bytes, time and key of a data set's images, each once, by name; what hinders is recorded."""
    images, problems = list_files(dataset_dir, image_format)
    run.exclude_all(problems)
    if images.empty:
        raise UserError(f"dataset_dir: expected .{image_format} images in '{dataset_dir}', found none; "
                        f"{where_images_are(dataset_dir, image_format)}set --dataset-dir and --image-format to what "
                        "generate_dataset wrote")
    names = pa.Table.from_pandas(images[["filename", "source"]], preserve_index=False)
    order = pc.sort_indices(names, [("filename", "ascending"), ("source", "ascending")]).to_numpy()
    del names, images["filename"]
    images = images.assign(key=image_keys(images["source"])).iloc[order]
    again = images["key"].duplicated()
    for source in images["source"][again]:
        run.exclude(source, "second file of an image", "the first one is used", "images")
    return images[~again]


def _report_other_format(table: pd.DataFrame, image_format: str, dataset_dir: Path, run: StageRun) -> None:
    """Report in one line when a list names images of the other format only: it may be that of another data set."""
    other = "png" if image_format == "fits" else "fits"
    if len(table) and "listed" in table and table["listed"].str.lower().str.endswith(ENDINGS[other]).all():
        run.report(f"Note: the list names .{other} images; those of {dataset_dir} are .{image_format}")
