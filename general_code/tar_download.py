"""A tar from its address at JSOC to a whole file on disk.

The answer is not trusted: it may be cut short, stop in the middle, be a web page, or be larger than the request.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from general_code.jsoc_faults import DamagedTarError, OutageError, RefusedError, TransientError, network_step
from general_code.jsoc_service import USER_AGENT
from general_code.stage_files import require_free_space

CHUNK_BYTES = 1 << 20


def download_tar(url: str, path: Path, most_bytes: int, timeout_seconds: float) -> str:
    """Download a tar: to `<path>.part`, checked against Content-Length, flushed to disk, then renamed.

    Parameters
    ----------
    url : str
        http or https; redirections are followed.
    path : Path
        The tar to be; an older `.part` is overwritten.
    most_bytes : int
        Larger answers are refused.
    timeout_seconds : float
        Of silence on the connection.

    Returns
    -------
    str
        sha256 of the file, hexadecimal.

    Raises
    ------
    OutageError
        Nobody answers, the answer stops, or it is a web page.
    TransientError
        It is shorter than announced.
    RefusedError
        It is larger than a tar of the request can be, or the address is not of the web.
    UserError
        When the disk has no room for it.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise RefusedError(f"the tar's address '{url}' is neither http nor https")
    part = path.with_name(path.name + ".part")
    digest, received = hashlib.sha256(), 0
    try:
        with network_step(f"download of {path.name}", blocked=False), \
                urlopen(Request(url, headers={"User-Agent": USER_AGENT}), timeout=timeout_seconds) as answer:
            announced = _announced_bytes(answer, most_bytes)
            require_free_space(path.parent, 2 * (announced or 0), f"{path.name} and its images")
            with part.open("wb") as file:
                for chunk in _chunks(answer):
                    received += len(chunk)
                    if received > most_bytes:
                        raise RefusedError(f"{path.name}: more than the {most_bytes:,} bytes that the request can have")
                    file.write(chunk)
                    digest.update(chunk)
                file.flush()
                os.fsync(file.fileno())
        if announced is not None and received != announced:
            raise DamagedTarError(f"{path.name}: {received:,} of {announced:,} bytes arrived")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return digest.hexdigest()


def host_answers(url: str, timeout_seconds: float) -> bool:
    """Tell whether the host of a tar is at work; of the answer nothing is read.

    Parameters
    ----------
    url : str
        Of the tar itself, so that a redirection to another host is followed.
    timeout_seconds : float
        Of silence on the connection.

    Returns
    -------
    bool
        False only when nobody answers, or with HTTP status 5xx, 408 or 429.
    """
    try:
        with network_step("host of the tar", blocked=False), \
                urlopen(Request(url, headers={"User-Agent": USER_AGENT}), timeout=timeout_seconds):
            return True
    except OutageError:
        return False
    except TransientError:
        return True


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file.

    Parameters
    ----------
    path : Path
        Need not exist.

    Returns
    -------
    str
        Hexadecimal; "" when there is no file.
    """
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _announced_bytes(answer: object, most_bytes: int) -> int | None:
    """Return the Content-Length of an answer, None without; refuse web pages and what is too large."""
    if "html" in answer.headers.get("Content-Type", "").lower():
        raise OutageError("a web page came in place of the tar (of a proxy or of maintenance?)")
    text = answer.headers.get("Content-Length", "")
    if not text.isdigit():
        return None
    if int(text) > most_bytes:
        raise RefusedError(f"the tar has {int(text):,} bytes, the request can have at most {most_bytes:,}")
    return int(text)


def _chunks(answer: object) -> Iterator[bytes]:
    """Yield the pieces of an answer's body."""
    while chunk := answer.read(CHUNK_BYTES):
        yield chunk
