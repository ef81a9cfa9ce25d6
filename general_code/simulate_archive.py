"""Write a small archive of a simulated Sun: region summaries, event reports and magnetograms.

For the example and the tests: the files have the formats of the real archives, the Sun behind them is that of
simulator/sun.py. The dates lie in 2030, so that nobody takes them for observations. One daily summary and two
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

import shutil
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import Field, PositiveInt

from general_code.images.magnetograms import write_magnetogram
from general_code.images.names import SERIES
from general_code.noaa.reports import Day
from general_code.simulator.sun import SimulatedRegion, SimulatedSun, simulated_image
from general_code.stage.files import UserError, atomic_write, counted, require_free_space
from general_code.stage.run import (
    Jobs,
    Seed,
    Settings,
    command_line,
    parallel_results,
    read_sidecar,
    resolve_jobs,
    stage_main,
    stage_run,
)


## User Definitions
class UserDefinitions(Settings):
    archive_dir: Path = "data/simulated_archive"  # folder to write SRS, Events and active_regions into
    n_regions: Annotated[int, Field(ge=1, le=9999)] = 24  # active regions [number]
    n_days: Annotated[int, Field(ge=2, le=10_000)] = 28  # length of the archive [days]
    cadence_hours: Annotated[float, Field(ge=0.2)] = 6.0  # time from image to image of a region [h]
    first_date: Day = "20300101"  # first day of the archive (YYYYMMDD)
    first_region: PositiveInt = 9001  # NOAA number of the first region; the others follow
    seed: Seed = 0  # random numbers of everything that is drawn
    n_jobs: Jobs = -1  # worker processes; -1 = all cores
## End User Definitions


FOLDERS = ("SRS", "Events", "active_regions")
BYTES_PER_IMAGE = 550_000  # 600 x 600 with noise, Rice-compressed
MISSING_SUMMARY = 0.5  # place of the missing summary, as a share of the archive's length


@stage_main
def main(user: UserDefinitions) -> None:
    """Draw the regions, let them flare, write reports and images."""
    output = user.archive_dir / "simulated_regions.csv"
    refuse_other_archives(user.archive_dir, output)
    done = read_sidecar(output) if output.exists() else None
    with stage_run(user, output=output) as run:
        if done and same_archive(user, done["settings"]):
            run.report(f"{user.archive_dir} holds this archive already: nothing to do")
            run.counts.update(done["counts"])
            return
        start = datetime.strptime(user.first_date, "%Y%m%d")
        if not 1000 <= start.year <= 9900:  # outside, dates of files have no eight digits
            raise UserError(f"first_date: expected a year from 1000 to 9900, got {user.first_date}")
        run.report(f"Drawing {counted(user.n_regions, 'regions')} and their flares")
        rng = np.random.default_rng(user.seed)
        sun = SimulatedSun(rng, user.n_regions, user.n_days, user.first_region)
        images = sun.image_times(rng, user.cadence_hours)
        require_free_space(user.archive_dir, BYTES_PER_IMAGE * len(images), counted(len(images), "images"))
        for name in FOLDERS:  # of an earlier run with other settings
            shutil.rmtree(user.archive_dir / name, ignore_errors=True)
        write_reports(user.archive_dir, sun, [start + timedelta(days=day) for day in range(user.n_days)])
        tasks = ((user.archive_dir / "active_regions" / number, sun.regions[number], start, day)
                 for number, day in images)
        written = parallel_results(write_image, tasks, resolve_jobs(user.n_jobs))
        for _ in run.progress(written, total=len(images), description="Magnetograms"):
            pass
        write_regions(output, sun)
        run.count("images", len(images))
        run.report(f"Wrote {user.archive_dir}: {len(sun.regions)} regions, {len(images)} images, "
                   f"{len(sun.flares)} flares, {user.n_days - 1} region summaries, {user.n_days} event reports")


def refuse_other_archives(archive_dir: Path, output: Path) -> None:
    """Raise UserError for a folder whose reports or images are not this script's (its log would be there)."""
    for name in FOLDERS:
        if (archive_dir / name).exists() and not Path(f"{output}.log").exists():
            raise UserError(f"archive_dir: '{archive_dir / name}' was not written by simulate_archive, which would "
                            "replace it; name another folder")


def same_archive(user: UserDefinitions, earlier: dict) -> bool:
    """Tell whether earlier settings made the archive that `user` asks for."""
    return all(earlier.get(name) == value for name, value in user.model_dump().items()
               if name not in ("n_jobs", "archive_dir"))


def write_reports(archive_dir: Path, sun: SimulatedSun, dates: list[datetime]) -> None:
    """Write a region summary a day but for one day, and an event report a day, in yearly folders."""
    for day, date in enumerate(dates):
        if day != round(len(dates) * MISSING_SUMMARY):
            with atomic_write(archive_dir / "SRS" / f"{date:%Y}_SRS" / f"{date:%Y%m%d}SRS.txt") as file:
                file.write(sun.region_summary(day, date))
        with atomic_write(archive_dir / "Events" / f"{date:%Y}_events" / f"{date:%Y%m%d}events.txt") as file:
            file.write(sun.event_report(day, date))


def write_image(folder: Path, region: SimulatedRegion, start: datetime, day: float) -> None:
    """Write the magnetogram of a region, `day` days after the archive's start, into the region's folder."""
    time = start + timedelta(minutes=round(day * 1440))
    write_magnetogram(folder / f"{SERIES}.{time:%Y%m%d_%H%M%S}_TAI.3.magnetogram.fits",
                      *simulated_image(region, day, time))


def write_regions(path: Path, sun: SimulatedSun) -> None:
    """Write the table of what was simulated."""
    flares = Counter(flare.region for flare in sun.flares if flare.peak_flux >= 1e-6)
    with atomic_write(path) as file:
        file.write("region,latitude_deg,meridian_day,complexity,flares_c1\n")
        for number, region in sun.regions.items():
            file.write(f"{number},{region.latitude_deg:.2f},{region.meridian_day:.2f},{region.complexity},"
                       f"{flares[number]}\n")


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
