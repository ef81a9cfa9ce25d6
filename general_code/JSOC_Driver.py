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
                 one line a region (columns: general_code/download_ledger.py)
    download_ledger.csv.json, download_ledger.csv.excluded.csv, download_ledger.csv.log
                 settings and counts; every record and region that could not be had; what was said

Usage
    python general_code/JSOC_Driver.py --email me@inst.edu
    python general_code/JSOC_Driver.py --email me@inst.edu --ar-numbers 1158 1429
    python general_code/JSOC_Driver.py --ar-numbers 1158 --dry-run

The address has to be registered with JSOC once: http://jsoc.stanford.edu/ajax/register_email.html

References
    Scherrer et al. 2012, Solar Physics 275, 207 (HMI)
"""

import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root
from general_code.cutout_archive import images_in_place
from general_code.cutout_requests import (
    CutoutRequest,
    cadence_of,
    describe_effort,
    disk_bytes,
    read_passages,
    select_passages,
)
from general_code.download_ledger import IN_FLIGHT, STATES, DownloadLedger, LedgerLine
from general_code.image_names import SERIES
from general_code.jsoc_faults import BlockedError, OutageError, Patience, RefusedError, TransientError, persist
from general_code.stage_files import OptionalPath, UserError, require_file, require_free_space
from general_code.stage_run import StageRun, stage_main, stage_run

if TYPE_CHECKING:
    from general_code.jsoc_service import JsocService
    from general_code.region_download import RegionDownload, Route


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    """Settings of this stage."""

    ar_list: Path = Path("data/ARList.txt")  # regions with first day and number of days
    image_dir: Path = Path("data/active_regions")  # gets a folder NNNN for each region, and the ledger
    email: str = ""  # address registered with JSOC; needed unless dry_run
    route: Literal["drms", "browser"] = "drms"  # through the drms package, or JSOC's export page in Chromium
    base_url: str = "http://jsoc.stanford.edu"  # of JSOC
    srs_dir: OptionalPath = Path("data/SRS")  # region summaries: positions when JSOC's table of regions has none
    series: str = "hmi.M_720s"  # full-disk line-of-sight magnetograms; generate_dataset.py reads hmi.M_720s only
    patch_pixels: int = 600  # width and height of the cut-outs [pixels]
    ar_numbers: tuple[str, ...] = ()  # only these regions; () = all of the list
    max_attempts: int = 5  # tries of a step before a region is given up
    poll_seconds: float = 10.0  # first pause between looks at a request [s]; doubles up to 60
    chromedriver: str = ""  # path, for route browser; "" = the one on the PATH
    headless: bool = True  # browser without a window
    dry_run: bool = False  # print the requests and send none
## End User Definitions


ADDRESS = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,6}")  # what JSOC accepts


def _check_settings(user: UserDefinitions) -> None:
    """Raise UserError for a setting that cannot be meant."""
    require_file(user.ar_list, "ar_list")
    cadence_of(user.series)
    if not user.dry_run and not ADDRESS.fullmatch(user.email):
        raise UserError(f"email: expected an address registered with JSOC, got '{user.email}'; set --email")
    address = urlsplit(user.base_url)
    if address.scheme not in ("http", "https") or not address.netloc:
        raise UserError(f"base_url: expected an address like http://jsoc.stanford.edu, got '{user.base_url}'")
    for setting, least in (("patch_pixels", 1), ("max_attempts", 1), ("poll_seconds", 0.01)):
        if getattr(user, setting) < least:
            raise UserError(f"{setting}: expected a number from {least}, got {getattr(user, setting)}")


def _read_requests(user: UserDefinitions) -> tuple[list[CutoutRequest], list[tuple[str, str, str]]]:
    """Return the requests for the regions that are asked for, and the lines of the list that cannot be used."""
    passages, problems = read_passages(user.ar_list)
    selected = select_passages(passages, user.ar_numbers, user.ar_list)
    return [CutoutRequest(passage, user.series, user.patch_pixels) for passage in selected], problems


def open_service(user: UserDefinitions, max_attempts: int) -> "JsocService":
    """Return the queries of the host that the settings name.

    Parameters
    ----------
    user : UserDefinitions
        Host, address and first pause.
    max_attempts : int
        Tries of one step.

    Returns
    -------
    JsocService
        Nothing has been sent yet.
    """
    from general_code.jsoc_service import JsocService  # drms takes a second to import

    return JsocService(user.base_url, user.email, Patience(user.poll_seconds, max_attempts))


def _open_route(user: UserDefinitions, service: "JsocService", run: StageRun) -> "Route":
    """Return the route that the user chose, as a context manager."""
    from general_code.export_positions import SummaryPositions

    summaries = SummaryPositions(user.srs_dir)
    if user.route == "drms":
        from general_code.jsoc_export import DrmsRoute

        return DrmsRoute(service, summaries, run.say, run.note)
    from general_code.jsoc_page import BrowserRoute

    return BrowserRoute(service, summaries, run.say, user.image_dir, user.chromedriver, user.headless)


def _print_requests(user: UserDefinitions, requests: Sequence[CutoutRequest]) -> None:
    """Print what would be sent; only the table of active regions is asked for."""
    from general_code.export_positions import SummaryPositions
    from general_code.jsoc_export import find_position

    service, summaries, reachable = open_service(user, max_attempts=1), SummaryPositions(user.srs_dir), True
    print(f"Dry run: {describe_effort(requests)}")
    for request in requests:
        try:
            position = summaries.position(request.passage) if not reachable else find_position(
                service, summaries, request.passage, print)
        except (RefusedError, TransientError, BlockedError) as error:
            position, reachable = None, reachable and not isinstance(error, OutageError)
            print(f"{request.region}: {error}")
        options = ("(no position)" if position is None else
                   ",".join(f"{k}={v}" for k, v in request.process(position, request.start, request.stop).items()))
        print(f"{request.region}: {request.record_set} im_patch,{options} ({request.slot_count} records)")


def _require_own_folders(ledger: DownloadLedger, requests: Sequence[CutoutRequest], image_dir: Path) -> None:
    """Raise UserError when images would be put among those of an earlier request of the region."""
    lines = {line.region: line for line in ledger}
    others = [request.region for request in requests if request.region in lines
              and not lines[request.region].is_for(request) and images_in_place(image_dir / request.region)]
    if others:
        raise UserError(f"{image_dir}: the images of {len(others)} regions ({', '.join(others[:5])}"
                        f"{' …' * (len(others) > 5)}) were made for other dates, series or size than the list and the "
                        "settings say now, and images of two requests are not mixed: move those folders away, or "
                        "name another image_dir")


def _require_same_route(ledger: DownloadLedger, to_do: Sequence[CutoutRequest], route: str) -> None:
    """Raise UserError for a submission whose outcome is not known, and which only the other route can repeat."""
    lines = [ledger[request.region] for request in to_do]
    others = [line for line in lines if line.state == "submitting" and line.route not in ("", route)]
    if others:
        raise UserError(f"route: {others[0].region} was being submitted by route {others[0].route} when the last run "
                        f"ended, and another route would make a second request of it; start again with --route "
                        f"{others[0].route} --ar-numbers {' '.join(line.region for line in others)}, then with "
                        f"--route {route}")


def _plan_requests(ledger: DownloadLedger, requests: Sequence[CutoutRequest], image_dir: Path,
                  run: StageRun) -> list[CutoutRequest]:
    """Enter the requests in the ledger; return those still to do, in flight first."""
    _require_own_folders(ledger, requests, image_dir)
    for request in ledger.plan(requests):
        run.say(f"{request.region}: the ledger's line was made for other dates, series or size and is not used")
    for request in requests:
        line = ledger[request.region]
        images = images_in_place(image_dir / request.region) if line.state == "done" else 0
        if line.state == "done" and images < line.files_received:
            run.say(f"{request.region}: {images} of {line.files_received} images are there; it is requested again")
            ledger.update(request.region, state="planned", request_id="", tar_sha256="", files_received=0)
    to_do = [request for request in requests if ledger[request.region].state != "done"]
    return sorted(to_do, key=lambda request: ledger[request.region].state not in IN_FLIGHT)


def _preflight(service: "JsocService", run: StageRun) -> None:
    """Raise UserError unless the service answers and knows the address."""
    try:
        persist(service.check_address, service.patience, run.say)
    except TransientError as error:
        raise UserError(f"base_url: JSOC at {service.base_url} does not answer as expected ({error}); check the "
                        "address and the network, and start again later") from None


def _download_regions(user: UserDefinitions, ledger: DownloadLedger, to_do: Sequence[CutoutRequest],
                     run: StageRun) -> None:
    """Bring the regions one after the other."""
    from general_code.region_download import RegionDownload

    service = open_service(user, user.max_attempts)
    _preflight(service, run)
    with _open_route(user, service, run) as route:
        requests = {request.region: request for request in to_do}
        download = RegionDownload(service, route, ledger, user.image_dir, requests, run.say)
        _bring_in_passes(download, list(to_do), service.patience, run)


def _bring_in_passes(download: "RegionDownload", to_do: list[CutoutRequest], patience: Patience,
                     run: StageRun) -> None:
    """Bring the regions, and those that are left again, until a whole pass brings none further than it ever was."""
    ledger, stages = download.ledger, list(STATES)
    furthest = {request.region: stages.index(ledger[request.region].state) * _is_left(ledger[request.region])
                for request in to_do}
    for pause in patience.pauses(submission=True):
        for request in run.progress(to_do, description="regions", unit="regions"):
            if ledger[request.region].state != "done":  # a pending request of our own is brought out of turn
                download.bring(request)
        reached = {request.region: stages.index(ledger[request.region].state) for request in to_do}
        to_do = [request for request in to_do if _is_left(ledger[request.region])]
        if not to_do or not any(stage > furthest[region] for region, stage in reached.items()):
            return
        furthest |= {region: max(stage, furthest[region]) for region, stage in reached.items()}
        run.say(f"{len(to_do)} regions are left, which may come now; next try in {pause:.3g} s")
        time.sleep(pause)


def _is_left(line: LedgerLine) -> bool:
    """Tell whether a region may still come: it is neither done nor given up."""
    return line.state not in ("done", "failed")


def _list_what_is_missing(ledger: DownloadLedger, regions: Sequence[str], image_dir: Path, run: StageRun) -> None:
    """Enter every record and region that is not there among the exclusions; count the rest."""
    from general_code.missing_records import read_missing_records
    from general_code.region_download import remove_leftovers

    remove_leftovers(image_dir, ledger)
    for line in ledger:
        if line.state == "done":
            for record, reason, detail in read_missing_records(image_dir, line.region):
                run.exclude(f"{line.region} {record}", reason, detail)
        elif line.region in regions:
            reason = "region given up" if line.state == "failed" else "region not received yet"
            run.exclude(line.region, reason, line.last_error)
    done = [line for line in ledger if line.state == "done"]
    run.count("regions_done", len(done))
    run.count("images", sum(line.files_received for line in done))


@stage_main
def main(user: UserDefinitions) -> None:
    """Check, say what it will take, download, say what is missing."""
    _check_settings(user)
    requests, problems = _read_requests(user)
    if user.dry_run:
        for line, reason, detail in problems:
            print(f"Left out: {line}: {reason}: {detail}")
        _print_requests(user, requests)
        return
    ledger_path = user.image_dir / "download_ledger.csv"
    with stage_run(user, ledger_path, inputs=[user.ar_list, user.srs_dir]) as run:
        ledger = DownloadLedger(ledger_path)
        to_do = _plan_requests(ledger, requests, user.image_dir, run)
        _require_same_route(ledger, to_do, user.route)
        if user.series.lower() != SERIES.lower():
            run.say(f"series {user.series}: generate_dataset.py reads {SERIES} only and will leave these images out")
        run.say(f"To do: {describe_effort(to_do)}" if to_do else "All regions are done; nothing to do.")
        require_free_space(user.image_dir, disk_bytes(to_do), f"the cut-outs of {len(to_do)} regions")
        if to_do:
            _download_regions(user, ledger, to_do, run)
        for problem in problems:
            run.exclude(*problem)
        regions = [request.region for request in requests]
        _list_what_is_missing(ledger, regions, user.image_dir, run)
        done = sum(ledger[region].state == "done" for region in regions)
        left = sum(_is_left(ledger[region]) for region in regions)
        images = sum(ledger[region].files_received for region in regions)
        run.say(f"{done} of {len(regions)} regions done, {images:,} images in {user.image_dir}")
    if not done:
        raise UserError(f"none of the {len(regions)} regions could be downloaded; the reasons are in {ledger_path} "
                        "(last_error)")
    if left:
        raise UserError(f"{left} of the {len(regions)} regions are not received yet; the reasons are in {ledger_path} "
                        "(last_error): start the same command again to go on")


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
