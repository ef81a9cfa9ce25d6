"""Which images belong to a data set: by the position of their region on the day; the published one's quirks."""

import numpy as np
import pandas as pd

from general_code.region_positions import region_positions
from general_code.stage_run import StageRun

DAY = np.timedelta64(1, "D")


def add_positions(images: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return the images with the positions of their regions at 00:00 of the images' dates.

    Parameters
    ----------
    images : pandas.DataFrame
        `region` and `time`.
    table : pandas.DataFrame
        Rows of the region summaries.

    Returns
    -------
    pandas.DataFrame
        With `latitude` and `longitude` [deg], north and west positive, NaN where there is none, and `has_row` (bool):
        the summary of the day lists the region, so the position is not interpolated.
    """
    positions = region_positions(images["region"], images["time"].to_numpy(), table)
    return images.assign(latitude=positions.latitude, longitude=positions.longitude, has_row=positions.has_row)


def within_limits(images: pd.DataFrame, max_latitude: float, max_longitude: float, run: StageRun) -> pd.DataFrame:
    """Keep the images whose region has a position within the limits.

    Parameters
    ----------
    images : pandas.DataFrame
        From `add_positions`.
    max_latitude, max_longitude : float
        [deg]; a position at the limit is out.
    run : StageRun
        Told what is left out.

    Returns
    -------
    pandas.DataFrame
        The rows kept.
    """
    unknown = images["latitude"].isna()
    for source in images["source"][unknown]:
        run.exclude(source, "no position", "before the first or after the last row of its region")
    outside = _outside(images, max_latitude, max_longitude, run)
    run.count("images_without_position", int(unknown.sum()))
    run.count("images_outside_by_interpolated_position", int((outside & ~images["has_row"]).sum()))
    return images[~unknown & ~outside].reset_index(drop=True)


def as_published_selection(images: pd.DataFrame, max_latitude: float, max_longitude: float,
                           run: StageRun) -> pd.DataFrame:
    """Keep the images that the published data set would hold.

    Parameters
    ----------
    images : pandas.DataFrame
        From `add_positions`, by region and time.
    max_latitude, max_longitude : float
        [deg]; they bind only on days whose summary lists the region.
    run : StageRun
        Told what is left out.

    Returns
    -------
    pandas.DataFrame
        The rows kept: also those of days without a row, but not the last of a region if it is a 00:00:00 record.
    """
    listed = images.assign(latitude=images["latitude"].where(images["has_row"]),
                           longitude=images["longitude"].where(images["has_row"]))
    midnight = images["time"] == images["time"].dt.normalize()
    last = ~images["region"].duplicated(keep="last") & midnight
    for source in images["source"][last]:
        run.exclude(source, "last image of a region, at 00:00:00", "left out of the published data set, too")
    outside = _outside(listed[~last], max_latitude, max_longitude, run)
    return listed[~last][~outside].reset_index(drop=True)


def _outside(images: pd.DataFrame, max_latitude: float, max_longitude: float, run: StageRun) -> pd.Series:
    """Return which positions are at or beyond a limit, and tell the run; a missing position is not."""
    outside = (images["latitude"].abs() >= max_latitude) | (images["longitude"].abs() >= max_longitude)
    columns = (images.loc[outside, name].tolist() for name in ("source", "latitude", "longitude"))
    run.exclusions.extend((source, "outside the limits", f"latitude {latitude:.1f}, longitude {longitude:.1f}")
                          for source, latitude, longitude in zip(*columns, strict=True))
    return outside
