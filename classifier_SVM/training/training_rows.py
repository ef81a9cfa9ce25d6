"""The rows that a classifier is trained and evaluated on: features, classes at a flare size, regions."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from classifier_SVM.FeaturesetTools import FEATURE_NAMES, read_extra_features, read_feature_table
from general_code.images.label_file import label_size, read_label_file
from general_code.images.names import NOT_A_NAME, image_stems, parse_image_names
from general_code.noaa.flares import NO_FLARE, peak_flux, peak_fluxes
from general_code.stage.files import UserError, is_set
from general_code.stage.run import StageRun


@dataclass(frozen=True)
class Rows:
    """Features and labels of n images, sorted by file name."""

    values: np.ndarray  # float64, shape (n, d), in the features' own units: the image features, then the extra ones
    labels: pd.DataFrame  # filename, region, class (0/1 at the flare size) and, where the table has it, flare class
    image_names: tuple[str, ...]  # of the first columns of `values`: the 29 image features, or none
    extra_names: tuple[str, ...]  # of the further columns

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of `values`."""
        return self.image_names + self.extra_names

    def where(self, chosen: np.ndarray) -> "Rows":
        """Return the rows of a mask, or of row numbers, their labels numbered from 0."""
        labels = self.labels.iloc[chosen].reset_index(drop=True)
        return Rows(self.values[chosen], labels, self.image_names, self.extra_names)


def read_rows(feature_file: Path, label_file: Path, extra_feature_file: Path, flare_size: str, run: StageRun) -> Rows:
    """Read what a classifier is trained on.

    Parameters
    ----------
    feature_file, label_file, extra_feature_file : Path
        Feature table, "" for none: then the images are those of the labels, `filename,class` a line, and the features
        the extra ones; further columns by file name, "" for none.
    flare_size, run : str, StageRun
        "": the 0/1 column counts, or any label but `0`; else the smallest class. Takes the exclusions: names without
        region and time, images without extra features and the reverse.

    Returns
    -------
    Rows
        At least one; UserError for what the readers refuse, labels made at a larger size, and when nothing remains.
    """
    source = feature_file if is_set(feature_file) else label_file
    if is_set(feature_file):
        table = read_feature_table(feature_file)
    elif is_set(extra_feature_file):
        table = _read_labels(label_file, run)
    else:
        raise UserError("feature_file and extra_feature_file: expected at least one of them, got neither; set one")
    table["class"] = classes_at(table, flare_size, source)
    if not table["filename"].is_monotonic_increasing:
        table = table.sort_values("filename", kind="stable", ignore_index=True)
    table = _with_regions(table, run)
    image_names, extra_names = FEATURE_NAMES if is_set(feature_file) else (), ()
    blocks = [table[list(image_names)].to_numpy(dtype=np.float64)]
    if is_set(extra_feature_file):
        extra, found = _join(table["filename"], read_extra_features(extra_feature_file), run)
        table, extra_names = table[found], tuple(extra.columns)
        blocks = [blocks[0][found], extra.to_numpy(dtype=np.float64)]
    if not len(table):
        raise UserError(f"{source}: no image is left to train on; see the reasons in the excluded file")
    labels = table[[name for name in ("filename", "region", "class", "flare class") if name in table]]
    # rows one after the other in memory, as the classifiers take them without a further copy
    return Rows(np.ascontiguousarray(np.hstack(blocks)), labels.reset_index(drop=True), image_names, extra_names)


def classes_at(table: pd.DataFrame, flare_size: str, source: Path) -> np.ndarray:
    """Return which images flare, 0 or 1; UserError where `source`, the table's file, has no classes or larger ones."""
    if not flare_size:
        return table["class"].to_numpy(dtype=np.int8)
    if "flare class" not in table:
        raise UserError(f"flare_size: {source} has 0/1 classes only and cannot be cut at {flare_size}; use "
                        "--flare-size \"\", or a table with flare classes")
    made_at = label_size(source)
    if made_at and peak_flux(made_at) > peak_flux(flare_size):
        raise UserError(f"flare_size: the labels in {source} were made at {made_at}, smaller flares count as none; "
                        f"expected {made_at} or larger, got {flare_size}; label again with --flare-size {flare_size}")
    return (peak_fluxes(table["flare class"].to_numpy()) >= peak_flux(flare_size)).astype(np.int8)


def _read_labels(label_file: Path, run: StageRun) -> pd.DataFrame:
    """Return the images of a label file with `class` 0 or 1 and `flare class`."""
    table, problems = read_label_file(label_file)
    run.exclude_all(problems)
    return table[["filename"]].assign(**{
        "class": (table["class"] != NO_FLARE).astype(np.int8), "flare class": table["class"]})


def _with_regions(table: pd.DataFrame, run: StageRun) -> pd.DataFrame:
    """Add the region of each image; exclude names that give no region and time."""
    parsed = parse_image_names(table["filename"])
    placed = ((parsed["region"] != "") & parsed["time"].notna()).to_numpy()
    for name in table["filename"][~placed]:
        run.exclude(name, NOT_A_NAME, "no region and time in it", subject="images")
    return table.assign(region=parsed["region"].to_numpy())[placed]


def _join(filenames: pd.Series, extra: pd.DataFrame, run: StageRun) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the extra features of the images that have them, and which images these are."""
    keys = image_stems(filenames)
    places = extra.index.get_indexer(keys)
    found = places >= 0
    for name in filenames[~found]:
        run.exclude(name, "no row in the extra feature file", subject="images")
    for name in extra.index.difference(pd.Index(keys)):
        run.exclude(name, "extra features without an image", subject="rows")
    return extra.iloc[places[found]], found
