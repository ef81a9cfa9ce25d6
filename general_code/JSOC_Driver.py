"""Stage 2: the magnetogram cut-outs of all active regions of a list, downloaded from JSOC.

For each region its records of hmi.M_720s from the first day 00:00 to (first day + days) 00:00 TAI are exported as
cut-outs that follow the region (im_patch), one request at a time, and each image is opened and checked. The run may
be ended and started again at any time: the ledger knows what has been requested, and nothing is requested twice.

Reads
    ar_list      `NNNN,YYYYMMDD,X` a line: region, first day, number of days (made by SRS_Parse.py)
    srs_dir      region summaries, only when JSOC's table of active regions does not give a position

Writes (all in `image_dir`)
    NNNN/hmi.M_720s.YYYYMMDD_HHMMSS_TAI.C.magnetogram.fits
                 line-of-sight field [gauss], patch_pixels square, north up; C is the camera
    NNNN_missing_records.csv
                 record, reason, detail of the records without image
    download_ledger.csv
                 one line a region (columns: general_code/jsoc/ledger.py)
    download_ledger.csv.json, download_ledger.csv.excluded.csv, download_ledger.csv.log
                 settings and counts; every record and region that is not there, with the reason; the log

Usage
    python general_code/JSOC_Driver.py --email me@inst.edu
    python general_code/JSOC_Driver.py --email me@inst.edu --ar-numbers 1158 1429
    python general_code/JSOC_Driver.py --ar-numbers 1158 --dry-run

The address has to be registered with JSOC once: http://jsoc.stanford.edu/ajax/register_email.html

References
    Scherrer et al. 2012, Solar Physics 275, 207 (HMI)
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from pydantic import AfterValidator, PositiveFloat, PositiveInt

from general_code.images.names import SERIES
from general_code.jsoc.export_requests import (
    CutoutRequest,
    Email,
    Passage,
    Series,
    SummaryPositions,
    WebAddress,
    estimate_effort,
    read_passages,
)
from general_code.jsoc.ledger import IN_FLIGHT, STATES, DownloadLedger
from general_code.jsoc.retry import BlockedError, OutageError, RefusedError, RetryPolicy, TransientError
from general_code.noaa.regions import region_number
from general_code.stage.files import UserError, counted, is_set, require_file, require_free_space
from general_code.stage.run import OptionalPath, Problem, Settings, StageRun, command_line, stage_main, stage_run

if TYPE_CHECKING:  # drms and selenium take a second to import
    from general_code.jsoc.client import JsocService, Route


## User Definitions
class UserDefinitions(Settings):
    ar_list: Path = "data/ARList.txt"  # regions with first day and number of days
    image_dir: Path = "data/active_regions"  # gets a folder NNNN for each region, and the ledger
    email: Email = ""  # address registered with JSOC; needed unless dry_run
    route: Literal["drms", "browser"] = "drms"  # through the drms package, or JSOC's export page in Chromium
    base_url: WebAddress = "http://jsoc.stanford.edu"  # address of JSOC
    srs_dir: OptionalPath = "data/SRS"  # region summaries: positions when JSOC's table of regions has none
    series: Series = "hmi.M_720s"  # full-disk line-of-sight magnetograms; generate_dataset.py reads hmi.M_720s only
    patch_pixels: PositiveInt = 600  # width and height of the cut-outs [pixels]
    ar_numbers: tuple[Annotated[str, AfterValidator(region_number)], ...] = ()  # only these regions; () = all
    max_attempts: PositiveInt = 5  # attempts at a step before a region is given up
    retry_failed: bool = False  # True: also try the regions that an earlier run has given up
    poll_seconds: PositiveFloat = 10.0  # first pause between looks at a request [s]; doubles up to 60
    chromedriver: OptionalPath = ""  # program, for route browser; "" = the one on the PATH
    headless: bool = True  # browser without a window
    dry_run: bool = False  # print the requests and send none
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Plan the requests, download the regions, list what is missing."""
    require_file(user.ar_list, "ar_list")
    passages, problems = read_passages(user.ar_list)
    requests = [CutoutRequest(passage, user.series, user.patch_pixels)
                for passage in select_passages(passages, user.ar_numbers, user.ar_list)]
    if user.dry_run:
        print_requests(user, requests, problems)
        return
    if not user.email:
        raise UserError("email: expected an address registered with JSOC, got ''; set --email")
    with stage_run(user, user.image_dir / "download_ledger.csv", inputs=[user.ar_list, user.srs_dir]) as run:
        ledger = DownloadLedger(user.image_dir)
        require_own_folders(ledger, requests)
        to_do = plan_requests(user, ledger, requests, run)
        require_same_route(ledger, to_do, user.route)
        if user.series.lower() != SERIES.lower():
            run.report(f"series {user.series}: generate_dataset.py reads {SERIES} only and will exclude these images")
        disk_bytes, effort = estimate_effort(to_do)
        run.report(f"To do: {effort}" if to_do else "All regions are done or given up; nothing to do.")
        require_free_space(user.image_dir, disk_bytes, f"the cut-outs of {counted(len(to_do), 'regions')}")
        if to_do:
            download_regions(user, ledger, to_do, run)
        run.exclude_all(problems)
        ledger.remove_leftovers()
        exclude_missing(ledger, requests, run)
        fault = report_outcome(ledger, requests, run)
    if fault:
        raise UserError(fault)


# ---------------------------------------------------------------------------- the requests


def select_passages(passages: Sequence[Passage], ar_numbers: Sequence[str], ar_list: Path) -> list[Passage]:
    """Return the passages of the regions that are asked for, or all, in the list's order."""
    missing = sorted(set(ar_numbers) - {passage.region for passage in passages})
    if missing:
        raise UserError(f"ar_numbers: region {', '.join(missing)} is not in {ar_list} ({len(passages)} regions); "
                        "add its line, or do not ask for it")
    return [passage for passage in passages if not ar_numbers or passage.region in ar_numbers]


def print_requests(user: UserDefinitions, requests: Sequence[CutoutRequest], problems: Sequence[Problem]) -> None:
    """Print what would be sent; only the table of active regions is asked for."""
    for problem in problems:
        print(f"Skipped: {problem.input}: {problem.reason}: {problem.detail}")
    print(f"Dry run: {estimate_effort(requests)[1]}")
    service, summaries, is_up = open_service(user, max_attempts=1), SummaryPositions(user.srs_dir), True
    for request in requests:
        try:
            position = (service.find_position(summaries, request.passage, print, wait=False) if is_up
                        else summaries.position(request.passage))
        except (RefusedError, TransientError, BlockedError) as error:
            position, is_up = None, is_up and not isinstance(error, OutageError)
            print(f"{request.region}: {error}")
        process = "(no position)" if position is None else request.process(position, request.start, request.stop)
        print(f"{request.region}: {request.record_set} im_patch,{process} ({request.slot_count} records)")


def require_own_folders(ledger: DownloadLedger, requests: Sequence[CutoutRequest]) -> None:
    """Raise UserError when images would be put among those of an earlier request of the region."""
    lines = {line.region: line for line in ledger}
    others = [request.region for request in requests if request.region in lines
              and not lines[request.region].is_for(request) and images_in_place(ledger.image_dir / request.region)]
    if others:
        raise UserError(f"{ledger.image_dir}: the images of {counted(len(others), 'regions')} ({', '.join(others[:5])}"
                        f"{' ...' * (len(others) > 5)}) were made for other dates, series or size than the list and "
                        "the settings say now, and images of two requests are not mixed: move those folders away, or "
                        "name another image_dir")


def images_in_place(folder: Path) -> int:
    """Return the number of images in a region's folder; empty files, which a power cut may leave, do not count."""
    return sum(path.stat().st_size > 0 for path in folder.glob("*.fits"))


def plan_requests(user: UserDefinitions, ledger: DownloadLedger, requests: Sequence[CutoutRequest],
                  run: StageRun) -> list[CutoutRequest]:
    """Enter the requests in the ledger; return those still to do, in flight first."""
    for request in ledger.plan(requests):
        run.report(f"{request.region}: the ledger's line was made for other dates, series or size and is not used")
    for request in requests:
        line = ledger[request.region]
        images = images_in_place(user.image_dir / request.region) if line.state == "done" else 0
        if line.state == "done" and images < line.files_received:
            run.report(f"{request.region}: {images} of {line.files_received} images are there; it is requested again")
            ledger.update(request.region, state="planned", request_id="", tar_sha256="", files_received=0)
    finished = ("done",) if user.retry_failed or user.ar_numbers else ("done", "failed")
    to_do = [request for request in requests if ledger[request.region].state not in finished]
    return sorted(to_do, key=lambda request: ledger[request.region].state not in IN_FLIGHT)


def require_same_route(ledger: DownloadLedger, to_do: Sequence[CutoutRequest], route: str) -> None:
    """Raise UserError for a submission whose outcome is not known, and which only the other route can repeat."""
    lines = [ledger[request.region] for request in to_do]
    others = [line for line in lines if line.state == "submitting" and line.route not in ("", route)]
    if others:
        raise UserError(f"route: {others[0].region} was being submitted by route {others[0].route} when the last run "
                        f"ended, and another route would make a second request of it; start again with --route "
                        f"{others[0].route} --ar-numbers {' '.join(line.region for line in others)}, then with "
                        f"--route {route}")


# ---------------------------------------------------------------------------- the download


def open_service(user: UserDefinitions, max_attempts: int) -> "JsocService":
    """Return the queries of the host that the settings name; nothing has been sent yet."""
    from general_code.jsoc.client import JsocService

    return JsocService(user.base_url, user.email, RetryPolicy(user.poll_seconds, max_attempts))


def open_route(user: UserDefinitions, service: "JsocService", run: StageRun) -> "Route":
    """Return the route that the user chose, as a context manager."""
    summaries = SummaryPositions(user.srs_dir)
    if user.route == "drms":
        from general_code.jsoc.client import DrmsRoute

        return DrmsRoute(service, summaries, run.report)
    from general_code.jsoc.browser import BrowserRoute

    chromedriver = str(user.chromedriver) if is_set(user.chromedriver) else ""
    return BrowserRoute(service, summaries, run.report, user.image_dir, chromedriver=chromedriver,
                        headless=user.headless)


def download_regions(user: UserDefinitions, ledger: DownloadLedger, to_do: Sequence[CutoutRequest],
                     run: StageRun) -> None:
    """Download the regions one after the other, once the service answers and knows the address."""
    from general_code.jsoc.download import RegionDownload

    service = open_service(user, user.max_attempts)
    service.note = run.note
    service.require_registered_address(run.report)
    requests = {request.region: request for request in to_do}
    with open_route(user, service, run) as route:
        take_passes(list(requests), ledger, 3 * service.policy.poll_seconds, run, lambda region: RegionDownload(
            region, requests, service, route, ledger=ledger, report=run.report).download())


def take_passes(regions: list[str], ledger: DownloadLedger, pause: float, run: StageRun,
                download: Callable[[str], object]) -> None:
    """Download the regions, and again those that are left, until a pass changes nothing."""
    for _ in STATES:  # more passes than that bring no region further
        before = [ledger[region].state for region in regions]
        for region in run.progress(regions, description="regions", unit="regions"):
            if ledger[region].state != "done":  # a pending request of our own is finished out of turn
                download(region)
        has_changed = before != [ledger[region].state for region in regions]
        regions = [region for region in regions if ledger[region].state not in ("done", "failed")]
        if not regions or not has_changed:
            return
        run.report(f"{counted(len(regions), 'regions')} left, to be tried again in {pause:.3g} s")
        time.sleep(pause)


# ---------------------------------------------------------------------------- what is missing


def exclude_missing(ledger: DownloadLedger, requests: Sequence[CutoutRequest], run: StageRun) -> None:
    """Enter every record and region that is not there among the exclusions; count the rest."""
    regions = {request.region for request in requests}
    for line in ledger:
        if line.state == "done":
            for record, reason, detail in ledger.missing_records(line.region):
                run.exclude(f"{line.region} {record}", reason, detail, "records")
        elif line.region in regions:
            reason = "region given up" if line.state == "failed" else "region not received yet"
            run.exclude(line.region, reason, line.last_error, "regions")
    done = [line for line in ledger if line.state == "done"]
    run.count("regions_done", len(done))
    run.count("images", sum(line.files_received for line in done))


def report_outcome(ledger: DownloadLedger, requests: Sequence[CutoutRequest], run: StageRun) -> str:
    """Report regions and images; return why the run has not done its job, "" when it has."""
    lines = [ledger[request.region] for request in requests]
    done = [line for line in lines if line.state == "done"]
    failed = [line.region for line in lines if line.state == "failed"]
    left = len(lines) - len(done) - len(failed)
    images = sum(line.files_received for line in done)
    regions = counted(len(lines), "regions")
    run.report(f"{len(done)} of {regions} done, {counted(images, 'images')} in {ledger.image_dir}")
    if failed:
        run.report(f"Given up: {counted(len(failed), 'regions')} ({' '.join(failed[:5])}{' ...' * (len(failed) > 5)}), "
                   "which later starts skip: --retry-failed tries all of them again, --ar-numbers single ones")
    reasons = f"the reasons are in {ledger.path} (last_error)"
    if not done:
        return f"0 of {regions} downloaded; {reasons}"
    return f"{left} of {regions} not received yet; {reasons}: start the same command again to continue" if left else ""


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
