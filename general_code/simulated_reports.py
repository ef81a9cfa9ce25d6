"""NOAA's region summaries and event reports of the simulated Sun, written in NOAA's formats."""

from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from general_code.simulated_sun import SimulatedRegion, central_meridian_distance, emerged_fraction

CARRINGTON_DEG_PER_DAY = 13.1988  # synodic
SPOT_FRACTION = 0.25  # of the full field: below it a region has no spots and is not in section I
AREA_PER_PATCH_GAUSS = 0.09  # millionths of the hemisphere per gauss of peak field in large patches
EVENT_HEADER = """\
:Product: {date:%Y%m%d}events.txt
:Created: {created:%Y %b %d} 0357 UT
:Date: {date:%Y %m %d}
# Simulated; no report of NOAA
#
#
# Missing data: ////
# Updated every 5 minutes.
#                            Edited Events for {date:%Y %b %d}
#
#Event    Begin    Max       End  Obs  Q  Type  Loc/Frq   Particulars       Reg#
#-------------------------------------------------------------------------------

"""
SUMMARY_HEADER = """\
:Product: {date:%m%d}SRS.txt
:Issued: {date:%Y %b %d} 0030 UTC
# Simulated; no report of NOAA
#
#
Joint USAF/NOAA Solar Region Summary
SRS Number {day_of_year} Issued at 0030Z on {date:%d %b %Y}
Report compiled from data received at SWO on {before:%d %b}
I.  Regions with Sunspots.  Locations Valid at {before:%d}/2400Z
Nmbr Location  Lo  Area  Z   LL   NN Mag Type
"""
SUMMARY_END = """\
IA. H-alpha Plages without Spots.  Locations Valid at {before:%d}/2400Z {before:%b}
Nmbr  Location  Lo
None
II. Regions Due to Return {date:%d %b} to {return_date:%d %b}
Nmbr Lat    Lo
None
"""


class SimulatedRow(NamedTuple):
    """One region on one day, as section I lists it.

    Attributes
    ----------
    region : str
        Four digits.
    day : int
        Days since the archive's start; the row is valid at its 00:00.
    text : str
        The row.
    """

    region: str
    day: int
    text: str


class SimulatedFlare(NamedTuple):
    """One X-ray flare.

    Attributes
    ----------
    begin, maximum, end : int
        Minutes since the archive's start.
    region : str
        Four digits; "" where the report names none.
    peak_flux : float
        1-8 Angstrom [W/m2].
    """

    begin: int
    maximum: int
    end: int
    region: str
    peak_flux: float


def summary_row(number: str, region: SimulatedRegion, day: int) -> SimulatedRow | None:
    """Return a region's row of a day's summary.

    Parameters
    ----------
    number : str
        Four digits.
    region : SimulatedRegion
        Its position is rounded to whole degrees, its area to tens, as in the originals.
    day : int
        Days since the archive's start.

    Returns
    -------
    SimulatedRow or None
        None when the region is off the disk or has no spots.
    """
    longitude = central_meridian_distance(region, day)
    fraction = emerged_fraction(region, day)
    if abs(longitude) > 90 or fraction < SPOT_FRACTION:
        return None
    large = region.patches[np.abs(region.patches[:, 5]) > 200]
    area = max(10, round(float(np.abs(large[:, 5]).sum()) * fraction * AREA_PER_PATCH_GAUSS / 10) * 10)
    extent = max(1, round(float(np.ptp(large[:, 0]))))
    magnetic = ("Beta", "Beta-Gamma", "Beta-Gamma-Delta")[region.complexity]
    mcintosh = ("Bxo" if area < 100 else "Dso") if region.complexity == 0 else ("Dai", "Ekc")[region.complexity - 1]
    place = (f"{'N' if region.latitude_deg >= 0 else 'S'}{abs(region.latitude_deg):02.0f}"
             f"{'E' if longitude < 0 else 'W'}{abs(longitude):02.0f}")
    carrington = round(longitude - CARRINGTON_DEG_PER_DAY * day) % 360
    spots = max(1, area // 20)
    return SimulatedRow(number, day, f"{number:4} {place}   {carrington:03d}  {area:04d} {mcintosh}  {extent:02d}   "
                                   f"{spots:02d} {magnetic}")


def region_summary(date: datetime, rows: list[SimulatedRow]) -> str:
    """Return the text of a day's region summary.

    Parameters
    ----------
    date : datetime
        Day of issue; positions hold for its 00:00.
    rows : list of SimulatedRow
        Section I; "None" stands in its place when there are none.

    Returns
    -------
    str
        Sections I, IA and II.
    """
    fields = {"date": date, "day_of_year": date.timetuple().tm_yday, "before": date - timedelta(days=1),
              "return_date": date + timedelta(days=2)}
    body = "".join(f"{row.text}\n" for row in rows) or "None\n"
    return SUMMARY_HEADER.format(**fields) + body + SUMMARY_END.format(**fields)


def event_report(date: datetime, flares: list[SimulatedFlare]) -> str:
    """Return the text of a day's event report.

    Parameters
    ----------
    date : datetime
        Day on which the flares begin; a maximum or an end after midnight has the next day's clock.
    flares : list of SimulatedFlare
        By time.

    Returns
    -------
    str
        Rows of 80 columns, or the line that says there were none.
    """
    header = EVENT_HEADER.format(date=date, created=date + timedelta(days=3))
    rows = [_event_row(10 * (i + 1), flare) for i, flare in enumerate(flares)]
    return header + ("\n".join(rows) or "NO EVENT REPORTS.\n")


def _event_row(event: int, flare: SimulatedFlare) -> str:
    """Return an XRA row and its line end."""
    begin, maximum, end = (f"{minute % 1440 // 60:02d}{minute % 60:02d}"
                           for minute in (max(0, flare.begin), flare.maximum, flare.end))
    energy = flare.peak_flux * 60 * (flare.end - flare.begin) / 2  # a triangle in time [J/m2]
    return (f"{event:04d}       {begin}   {maximum}      {end}  G18  5   XRA  1-8A      "
            f"{_flare_class(flare.peak_flux):<5}   {energy:.1E}   {flare.region:4}\n")


def _flare_class(peak_flux: float) -> str:
    """Return a peak flux [W/m2] as a class with one decimal, cut as the reports cut it."""
    decade = min(4, max(0, int(np.floor(np.log10(peak_flux) + 8 + 1e-9))))
    return f"{'ABCMX'[decade]}{np.floor(peak_flux / 10.0 ** (decade - 8) * 10 + 1e-9) / 10:.1f}"
