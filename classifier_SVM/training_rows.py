"""The rows that a classifier is trained and judged on: features, labels at a flare size, regions, extra features."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from classifier_SVM.extra_features import read_extra_features
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, read_feature_table
from general_code.flares import NO_FLARE, peak_flux, peak_fluxes
from general_code.image_names import NOT_A_NAME, image_stems, parse_image_names
from general_code.label_file import label_size, read_label_file
from general_code.stage_files import UserError, given
from general_code.stage_run import StageRun


@dataclass(frozen=True)
class Rows:
    """Features and labels of images, sorted by file name.

    Attributes
    ----------
    values : ndarray, shape (n, d)
        float64, in the features' own units: the 29 image features, if any, then the extra ones.
    labels : pandas.DataFrame
        `filename`, `region`, `class` (0/1 at the flare size) and, where the table has it, `flare class`.
    image_names, extra_names : tuple of str
        Of the columns of `values`, in that order.
    """

    values: np.ndarray
    labels: pd.DataFrame
    image_names: tuple[str, ...]
    extra_names: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of `values`."""
        return self.image_names + self.extra_names

    def where(self, chosen: np.ndarray) -> "Rows":
        """Return the chosen rows.

        Parameters
        ----------
        chosen : ndarray of bool or int
            Mask, or numbers of rows.

        Returns
        -------
        Rows
            With the labels numbered from 0.
        """
        labels = self.labels.iloc[chosen].reset_index(drop=True)
        return Rows(self.values[chosen], labels, self.image_names, self.extra_names)


def read_rows(feature_file: Path, label_file: Path, extra_feature_file: Path, flare_size: str, run: StageRun) -> Rows:
    """Read what a classifier is trained on.

    Parameters
    ----------
    feature_file : Path
        Feature table; "" for none: then the images are those of `label_file`, the features the extra ones.
    label_file : Path
        `filename,class` a line; read without a feature table only.
    extra_feature_file : Path
        Further columns by file name; "" for none.
    flare_size : str
        "": the 0/1 column counts, or any label but `0`; else the smallest class.
    run : StageRun
        Told what is left out: images without region and time in the name, without extra features; extra
        features without an image.

    Returns
    -------
    Rows
        At least one.

    Raises
    ------
    UserError
        For what the readers refuse, an image under two names, labels made at a larger size, and when nothing remains.
    """
    if given(feature_file):
        table = read_feature_table(feature_file)
    elif given(extra_feature_file):
        table = _read_labels(label_file, run)
    else:
        raise UserError("feature_file and extra_feature_file: expected at least one of them, got neither; set one")
    source = feature_file if given(feature_file) else label_file
    table["class"] = classes_at(table, flare_size, source)
    if not table["filename"].is_monotonic_increasing:
        table = table.sort_values("filename", kind="stable", ignore_index=True)
    if "region" not in table:
        table = _with_regions(table, source, run)
    image_names = FEATURE_NAMES if given(feature_file) else ()
    blocks, extra_names = [table[list(image_names)].to_numpy(dtype=np.float64)], ()
    if given(extra_feature_file):
        extra, found = _join(table["filename"], read_extra_features(extra_feature_file), run)
        table, extra_names = table[found], tuple(extra.columns)
        blocks = [blocks[0][found], extra.to_numpy(dtype=np.float64)]
    if not len(table):
        raise UserError(f"{source}: no image is left to train on; see the reasons in the excluded file")
    labels = table[[name for name in ("filename", "region", "class", "flare class") if name in table]]
    return Rows(np.hstack(blocks), labels.reset_index(drop=True), image_names, extra_names)


def classes_at(table: pd.DataFrame, flare_size: str, source: Path) -> np.ndarray:
    """Return which images count as flaring.

    Parameters
    ----------
    table : pandas.DataFrame
        With `class` and perhaps `flare class`.
    flare_size : str
        "": `class` counts; else `flare class`, by peak flux.
    source : Path
        File of the table, whose sidecar may tell at what size its labels were made.

    Returns
    -------
    ndarray
        int8, 0 or 1.

    Raises
    ------
    UserError
        When `flare_size` is no class, the table has no flare classes, or its labels were made at a larger size.
    """
    if not flare_size:
        return table["class"].to_numpy(dtype=np.int8)
    try:
        smallest = peak_flux(flare_size)
    except ValueError as error:
        raise UserError(f"flare_size: {error}") from None
    if "flare class" not in table:
        raise UserError(f"flare_size: {source} has 0/1 classes only and cannot be cut at {flare_size}; use "
                        "--flare-size \"\", or a table with flare classes")
    made_at = label_size(source)
    if made_at and peak_flux(made_at) > smallest:
        raise UserError(f"flare_size: the labels in {source} were made at {made_at}, smaller flares count as none; "
                        f"expected {made_at} or larger, got {flare_size}; label again with --flare-size {flare_size}")
    return (peak_fluxes(table["flare class"].to_numpy()) >= smallest).astype(np.int8)


def _read_labels(label_file: Path, run: StageRun) -> pd.DataFrame:
    """Return the images of a label file with `class` 0 or 1; what is not used is recorded."""
    table, problems = read_label_file(label_file)
    for problem in problems:
        run.exclude(*problem)
    return table.rename(columns={"class": "flare class"}).assign(
        **{"class": (table["class"] != NO_FLARE).astype(np.int8)})


def _with_regions(table: pd.DataFrame, source: Path, run: StageRun) -> pd.DataFrame:
    """Add the region of each image; leave out names that do not tell region and time; UserError for one of two names.

    Folder, extension, digits of the region and case of letters may differ: the image is the same."""
    parsed = parse_image_names(table["filename"])
    placed = ((parsed["region"] != "") & parsed["time"].notna()).to_numpy()
    for name in table["filename"][~placed]:
        run.exclude(name, NOT_A_NAME, "no region and time in it")
    identity = ["region", "time", "camera"]
    repeated = (parsed.duplicated(identity) & placed).to_numpy()
    if repeated.any():
        row = int(np.argmax(repeated))
        first = int(np.argmax((parsed[identity] == parsed[identity].iloc[row]).all(axis=1)))
        raise UserError(f"{source}: '{table['filename'].iloc[first]}' and '{table['filename'].iloc[row]}' are one "
                        f"image, expected each once ({int(repeated.sum()):,} such rows); remove one of the two")
    return table.assign(region=parsed["region"].to_numpy())[placed]


def _join(filenames: pd.Series, extra: pd.DataFrame, run: StageRun) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the extra features of the images that have them, and which images these are."""
    keys = image_stems(filenames)
    places = extra.index.get_indexer(keys)
    found = places >= 0
    for name in filenames[~found]:
        run.exclude(name, "no row in the extra feature file")
    for name in extra.index.difference(pd.Index(keys)):
        run.exclude(name, "extra features without an image")
    return extra.iloc[places[found]], found
