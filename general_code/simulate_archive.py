"""Write a small archive of a simulated Sun: region summaries, event reports and magnetograms.

For the example and the tests: the files have the formats of the real archives, the Sun behind them is that of
simulated_sun.py. The dates lie in 2030, so that nobody takes them for observations. One daily summary and two
images in a hundred are missing, as in real archives.

Reads
    nothing

Writes (all in `archive_dir`)
    SRS/YYYY_SRS/YYYYMMDDSRS.txt            daily solar region summary, NOAA's format
    Events/YYYY_events/YYYYMMDDevents.txt   daily edited event report, NOAA's format, X-ray flares only
    active_regions/NNNN/hmi.M_720s.YYYYMMDD_HHMMSS_TAI.3.magnetogram.fits   600 x 600, gauss, Rice-compressed
    simulated_regions.csv                   region, latitude [deg], day of meridian passage, complexity, flares >= C1.0

Usage
    python general_code/simulate_archive.py --archive-dir data/simulated_archive
"""

import csv
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import tyro
from joblib import Parallel, delayed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from general_code import simulated_sun
from general_code.image_names import SERIES
from general_code.magnetograms import write_magnetogram
from general_code.simulated_reports import SimulatedFlare, SimulatedRow, event_report, region_summary, summary_row
from general_code.simulated_sun import SimulatedRegion
from general_code.stage_files import UserError, atomic_write, require_free_space
from general_code.stage_run import StageRun, read_sidecar, resolve_jobs, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    archive_dir: Path = Path("data/simulated_archive")  # folder to write SRS, Events and active_regions into
    n_regions: int = 24  # active regions [number]
    n_days: int = 28  # length of the archive [days]
    cadence_hours: float = 6.0  # time from image to image of a region [h]
    first_date: str = "20300101"  # first day of the archive (YYYYMMDD)
    first_region: int = 9001  # NOAA number of the first region; the others follow
    seed: int = 0  # of everything that is drawn
    n_jobs: int = -1  # worker processes; -1 = all cores
## End User Definitions


BYTES_PER_IMAGE = 550_000  # 600 x 600 with noise, Rice-compressed
MISSING_SUMMARY = 0.5  # place of the missing summary, as a share of the archive's length
MISSING_IMAGES = 0.02  # share
UNATTRIBUTED_FLARES = 0.05  # share of flares whose report names no region
LIMB_DEG = 84.0  # images are taken out to this distance from the central meridian


@stage_main
def main(user: UserDefinitions) -> None:
    """Draw the regions, let them flare, write reports and images."""
    output = user.archive_dir / "simulated_regions.csv"
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(user).items()}
    done = read_sidecar(output)
    with stage_run(user, output=output) as run:
        start = _check_settings(user)
        if done and output.exists() and _without_jobs(done["settings"]) == _without_jobs(settings):
            run.say(f"{user.archive_dir} holds this archive already: nothing to do")
            run.counts.update(done["counts"])
            return
        rng = np.random.default_rng(user.seed)
        regions, rows = draw_regions(rng, user)
        flares = draw_flares(rng, regions, rows)
        for name in ("SRS", "Events", "active_regions"):  # of an earlier run with other settings
            shutil.rmtree(user.archive_dir / name, ignore_errors=True)
        write_summaries(user.archive_dir / "SRS", start, user.n_days, rows)
        write_event_reports(user.archive_dir / "Events", start, user.n_days, flares)
        n_images = write_images(run, rng, user, start, regions, rows)
        write_regions(output, regions, flares)
        run.count("images", n_images)
        run.say(f"Wrote {user.archive_dir}: {len(regions)} regions, {n_images} images, {len(flares)} flares, "
                f"{user.n_days - 1} region summaries, {user.n_days} event reports")


def _check_settings(user: UserDefinitions) -> datetime:
    """Return the first day of the archive; UserError for settings that make none."""
    if user.n_regions < 1 or user.n_days < 2 or not 0 < user.cadence_hours < float("inf"):
        raise UserError(f"expected n_regions >= 1, n_days >= 2 and cadence_hours > 0, got {user.n_regions}, "
                        f"{user.n_days} and {user.cadence_hours}")
    try:
        return datetime.strptime(user.first_date, "%Y%m%d")
    except ValueError:
        raise UserError(f"first_date: expected a day like 20300101, got '{user.first_date}'") from None


def _without_jobs(settings: dict) -> dict:
    """Return the settings that change the archive."""
    return {name: value for name, value in settings.items() if name not in ("n_jobs", "archive_dir")}


# ---------------------------------------------------------------------------- regions and flares


def draw_regions(rng: np.random.Generator,
                 user: UserDefinitions) -> tuple[dict[str, SimulatedRegion], list[SimulatedRow]]:
    """Draw regions and list them day by day as a summary does.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    user : UserDefinitions
        Number of regions, length of the archive, first number.

    Returns
    -------
    regions : dict of str to SimulatedRegion
        By four-digit number, in order of first appearance.
    rows : list of SimulatedRow
        By day, then number; every region has at least one row with spots.
    """
    drawn = []
    while len(drawn) < user.n_regions:
        region = simulated_sun.draw_region(rng, user.n_days)
        days = [day for day in range(user.n_days) if summary_row("", region, day) is not None]
        if len(days) >= 2:
            drawn.append((days[0], region))
    drawn.sort(key=lambda item: (item[0], item[1].meridian_day))
    regions = {f"{user.first_region + i:04d}": region for i, (_, region) in enumerate(drawn)}
    rows = [summary_row(number, region, day) for day in range(user.n_days) for number, region in regions.items()]
    return regions, [row for row in rows if row is not None]


def draw_flares(rng: np.random.Generator, regions: dict[str, SimulatedRegion],
                rows: list[SimulatedRow]) -> list[SimulatedFlare]:
    """Draw the flares of every region for the days on which it is listed.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    regions : dict of str to SimulatedRegion
        By number.
    rows : list of SimulatedRow
        The days on which they are on the disk.

    Returns
    -------
    list of SimulatedFlare
        By time of the maximum.
    """
    flares = []
    for row in rows:
        for quarter in range(4):
            day = row.day + quarter / 4
            n = rng.poisson(simulated_sun.flare_rate(regions[row.region], day) / 4)
            for peak_flux in simulated_sun.draw_peak_fluxes(rng, n):
                maximum = round((day + rng.uniform(0, 0.25)) * 1440)
                begin, end = maximum - int(rng.integers(4, 25)), maximum + int(rng.integers(4, 60))
                region = "" if rng.random() < UNATTRIBUTED_FLARES else row.region
                flares.append(SimulatedFlare(begin, maximum, end, region, float(peak_flux)))
    return sorted(flares, key=lambda flare: (flare.maximum, flare.region))


# ---------------------------------------------------------------------------- files


def write_summaries(folder: Path, start: datetime, n_days: int, rows: list[SimulatedRow]) -> None:
    """Write the daily summaries but one.

    Parameters
    ----------
    folder : Path
        Yearly folders are made in it.
    start : datetime
        First day.
    n_days : int
        Number of days.
    rows : list of SimulatedRow
        Of all days.
    """
    for day in range(n_days):
        if day == round(n_days * MISSING_SUMMARY):
            continue
        date = start + timedelta(days=day)
        with atomic_write(folder / f"{date:%Y}_SRS" / f"{date:%Y%m%d}SRS.txt") as file:
            file.write(region_summary(date, [row for row in rows if row.day == day]))


def write_event_reports(folder: Path, start: datetime, n_days: int, flares: list[SimulatedFlare]) -> None:
    """Write the daily event reports.

    Parameters
    ----------
    folder : Path
        Yearly folders are made in it.
    start : datetime
        First day.
    n_days : int
        Number of days.
    flares : list of SimulatedFlare
        A report holds the flares that begin on its day.
    """
    for day in range(n_days):
        date = start + timedelta(days=day)
        of_the_day = [flare for flare in flares if max(0, flare.begin // 1440) == day]
        with atomic_write(folder / f"{date:%Y}_events" / f"{date:%Y%m%d}events.txt") as file:
            file.write(event_report(date, of_the_day))


def write_images(run: StageRun, rng: np.random.Generator, user: UserDefinitions, start: datetime,
                 regions: dict[str, SimulatedRegion], rows: list[SimulatedRow]) -> int:
    """Write the magnetograms of every region, in parallel.

    Parameters
    ----------
    run : StageRun
        Shows the progress.
    rng : numpy.random.Generator
        Decides which images are missing.
    user : UserDefinitions
        Folder, cadence, workers.
    start : datetime
        First day, 00:00.
    regions : dict of str to SimulatedRegion
        By number.
    rows : list of SimulatedRow
        From a region's first row to the day after its last, images are taken.

    Returns
    -------
    int
        Number of images.
    """
    times = []
    for number, region in regions.items():
        days = [row.day for row in rows if row.region == number]
        steps = np.arange(days[0], days[-1] + 1 + 1e-9, user.cadence_hours / 24)
        times += [(number, float(day)) for day in steps
                  if abs(simulated_sun.central_meridian_distance(region, day)) < LIMB_DEG]
    times = [item for item in times if rng.random() >= MISSING_IMAGES]
    require_free_space(user.archive_dir, BYTES_PER_IMAGE * len(times), f"{len(times)} images")
    folder = user.archive_dir / "active_regions"
    tasks = (delayed(write_image)(folder / number, regions[number], start, day) for number, day in times)
    done = Parallel(n_jobs=resolve_jobs(user.n_jobs), return_as="generator")(tasks)
    for _ in run.progress(done, total=len(times), description="Magnetograms"):
        pass
    return len(times)


def write_image(folder: Path, region: SimulatedRegion, start: datetime, day: float) -> None:
    """Write one magnetogram with the service's keywords.

    Parameters
    ----------
    folder : Path
        The region's.
    region : SimulatedRegion
        In the middle of the image.
    start : datetime
        First day of the archive.
    day : float
        Time of the image [days since then].
    """
    time = start + timedelta(minutes=round(day * 1440))
    field = simulated_sun.line_of_sight_field(region, day)
    latitude, longitude = np.deg2rad((region.latitude_deg, simulated_sun.central_meridian_distance(region, day)))
    centre = (simulated_sun.IMAGE_PIXELS + 1) / 2
    header = [("T_REC", f"{time:%Y.%m.%d_%H:%M:%S}_TAI"), ("DATE-OBS", f"{time:%Y-%m-%dT%H:%M:%S}"),
              ("TELESCOP", "SIMULATED"), ("CAMERA", 3), ("CONTENT", "MAGNETOGRAM"), ("QUALITY", 0),
              ("RSUN_OBS", simulated_sun.SOLAR_RADIUS_ARCSEC), ("CRLT_OBS", 0.0),
              ("CTYPE1", "HPLN-TAN"), ("CTYPE2", "HPLT-TAN"), ("CUNIT1", "arcsec"), ("CUNIT2", "arcsec"),
              ("CRPIX1", centre - simulated_sun.SOLAR_RADIUS_PIXELS * np.sin(longitude) * np.cos(latitude)),
              ("CRPIX2", centre - simulated_sun.SOLAR_RADIUS_PIXELS * np.sin(latitude)),
              ("CRVAL1", 0.0), ("CRVAL2", 0.0), ("CDELT1", simulated_sun.ARCSEC_PER_PIXEL),
              ("CDELT2", simulated_sun.ARCSEC_PER_PIXEL), ("CROTA2", 0.0)]
    write_magnetogram(folder / f"{SERIES}.{time:%Y%m%d_%H%M%S}_TAI.3.magnetogram.fits", field, header)


def write_regions(path: Path, regions: dict[str, SimulatedRegion], flares: list[SimulatedFlare]) -> None:
    """Write the table of what was simulated.

    Parameters
    ----------
    path : Path
        A CSV file.
    regions : dict of str to SimulatedRegion
        By number.
    flares : list of SimulatedFlare
        Of all regions.
    """
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("region", "latitude_deg", "meridian_day", "complexity", "flares_c1"))
        for number, region in regions.items():
            n_flares = sum(flare.region == number and flare.peak_flux >= 1e-6 for flare in flares)
            writer.writerow((number, f"{region.latitude_deg:.2f}", f"{region.meridian_day:.2f}", region.complexity,
                             n_flares))


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
