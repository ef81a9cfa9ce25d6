"""The images of a data set in their place: NaN counted, PNG made, FITS linked or copied."""

from typing import TYPE_CHECKING

import pandas as pd

from general_code.image_names import dataset_names
from general_code.image_screening import NAN_COLUMNS, PNG_COLUMNS, PngOutput, Screened, screen_images
from general_code.image_transfer import full_disk, remove_leftovers, transfer_images
from general_code.stage_files import FULL_DISK, require_free_space
from general_code.stage_run import StageRun, resolve_jobs
from general_code.work_journal import WorkJournal

if TYPE_CHECKING:
    from general_code.generate_dataset import UserDefinitions


def provide_images(images: pd.DataFrame, user: "UserDefinitions", run: StageRun) -> pd.DataFrame:
    """Screen the images and bring them into the data set.

    Parameters
    ----------
    images : pandas.DataFrame
        `source`, `region`, `time`, `camera`.
    user : UserDefinitions
        Of generate_dataset.py.
    run : StageRun
        Told what is left out.

    Returns
    -------
    pandas.DataFrame
        Those that are in the data set, with `name` (str), their file name there.
    """
    images = images.assign(name=pd.Series(dataset_names(images, user.image_format), dtype=object))
    if user.image_dir.is_file():
        run.say(f"{user.image_dir} is a list of names: no image is opened or copied, max_nans is not checked")
        return images
    png = _png_output(images, user)
    targets = (images["region"] + "/" + images["name"]).tolist()
    try:
        screened = screen_images(user.image_dir, images["source"].tolist(),
                                 WorkJournal(user.label_file.with_name("nan_counts.csv"), NAN_COLUMNS),
                                 resolve_jobs(user.n_jobs), run, user.max_nans, png, targets if png else ())
    except OSError as error:
        if png and error.errno in FULL_DISK:
            raise full_disk(user.dataset_dir, _missing_png_bytes(images, user)) from error
        raise
    usable = _exclude_screened(images, screened, user.max_nans, run)
    if user.image_format == "png" or user.transfer == "none" or usable.empty:
        return usable
    sources = [user.image_dir / source for source in usable["source"]]
    places = [user.dataset_dir / region / name for region, name in zip(usable["region"], usable["name"], strict=True)]
    faults = transfer_images(sources, places, user.transfer, resolve_jobs(user.n_jobs), run)
    for source, (reason, detail) in zip(usable["source"], faults, strict=True):
        if reason:
            run.exclude(source, reason, detail)
    return usable[[not reason for reason, _ in faults]].reset_index(drop=True)


def _png_output(images: pd.DataFrame, user: "UserDefinitions") -> PngOutput | None:
    """Return where PNG images go, with room and folders for them; None when none are made."""
    if user.image_format != "png" or user.transfer == "none":
        return None
    require_free_space(user.dataset_dir, _missing_png_bytes(images, user), f"PNG images ({len(images):,} in all)")
    for region in images["region"].unique():
        (user.dataset_dir / region).mkdir(parents=True, exist_ok=True)
        remove_leftovers(user.dataset_dir / region)
    return PngOutput(user.dataset_dir, user.png_pixels, user.png_gauss_per_level,
                     WorkJournal(user.dataset_dir / "png_journal.csv", PNG_COLUMNS))


def _missing_png_bytes(images: pd.DataFrame, user: "UserDefinitions") -> float:
    """Return how much the PNG images that are not there yet take at most: a byte a pixel [bytes]."""
    missing = 0
    for region, rows in images.groupby("region"):
        folder = user.dataset_dir / region
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        missing += (~rows["name"].isin(present)).sum()
    return float(missing) * user.png_pixels**2


def _exclude_screened(images: pd.DataFrame, screened: list[Screened], max_nans: int, run: StageRun) -> pd.DataFrame:
    """Return the images that can be used, and tell the run about the others."""
    usable = []
    for source, result in zip(images["source"], screened, strict=True):
        usable.append(not result.reason and result.nan_pixels <= max_nans)
        if result.reason:
            run.exclude(source, result.reason, result.detail)
        elif not usable[-1]:
            run.exclude(source, "NaN pixels", f"{result.nan_pixels:,} NaN pixels, at most {max_nans:,} allowed")
    run.count("images_screened", len(screened))
    return images[usable].reset_index(drop=True)
