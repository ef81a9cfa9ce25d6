"""Images into a data set without a change: hard link, copy or symbolic link; never over a different file.

An image that is there already in another of the three ways is brought anew, in one step: the name always has the image.
"""

import errno
import filecmp
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from general_code.image_screening import ANOTHER_FILE, UNREADABLE
from general_code.stage_files import FULL_DISK, UserError, atomic_path, describe, require_free_space, size_text
from general_code.stage_run import StageRun

NO_HARD_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)
CHUNK = 256  # images a step of the progress bar


def transfer_images(sources: Sequence[Path], targets: Sequence[Path], transfer: str, n_jobs: int,
                    run: StageRun) -> list[tuple[str, str]]:
    """Bring images into a data set.

    Parameters
    ----------
    sources, targets : sequence of Path, shape (m,)
        From where to where.
    transfer : {"hardlink", "copy", "symlink"}
        How; a hard link that is not possible, as across file systems, becomes a copy.
    n_jobs : int
        Threads.
    run : StageRun
        For progress, and to say how many became copies.

    Returns
    -------
    list of (str, str)
        Reason and detail of each image; "" where it is in its place.

    Raises
    ------
    UserError
        When the disk has too little room, or gets full: says how much is missing. What is whole is kept, and the
        next run goes on from there.
    """
    for folder in sorted({target.parent for target in targets}):
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
    _require_room(sources, targets, transfer)
    outcomes: list[str] = []
    with run.progress(total=len(sources), description=f"Transfer ({transfer})") as bar, \
            ThreadPoolExecutor(n_jobs) as pool:
        for start in range(0, len(sources), CHUNK):
            pairs = sources[start:start + CHUNK], targets[start:start + CHUNK]
            try:
                outcomes += pool.map(place_image, *pairs, [transfer] * len(pairs[0]))
            except OSError as error:
                if error.errno in FULL_DISK:
                    raise full_disk(targets[0].parent, _missing_bytes(sources[start:], targets[start:])) from error
                raise
            bar.update(len(pairs[0]))
    if transfer == "hardlink" and (copies := outcomes.count("copied")):
        run.say(f"{copies:,} images were copied: hard links from {sources[0].parent} to {targets[0].parent} are not "
                "possible (another file system, or not permitted)")
    return [("", "") if outcome in ("placed", "copied") else tuple(outcome.split(": ", 1)) for outcome in outcomes]


def place_image(source: Path, target: Path, transfer: str) -> str:
    """Bring one image into its place.

    Parameters
    ----------
    source, target : Path
        From where to where.
    transfer : {"hardlink", "copy", "symlink"}
        How.

    Returns
    -------
    str
        "placed" (also when it is there already in this way), "copied" (also when it stays the copy that it is because
        hard links are not possible), or reason and detail joined by ": ".

    Raises
    ------
    OSError
        When the target's folder cannot be written.
    """
    try:
        with source.open("rb"):
            pass
    except OSError as error:
        return f"{UNREADABLE}: {describe(error)}"
    if target.is_symlink() and not target.exists():
        target.unlink()  # a link to a file that has moved
    found = _how(source, target)
    if found == "other":
        return f"{ANOTHER_FILE}: {target} is not {source}; remove it to have it replaced, or name another dataset_dir"
    if found == transfer or (found and _is_source(source, target)):
        return "placed"
    if transfer == "symlink":
        _put(target, lambda path: path.symlink_to(source.resolve()))
        return "placed"
    if transfer == "hardlink":
        if _hard_link(source, target):
            return "placed"
        if found == "copy":
            return "copied"
    _copy(source, target)
    return "copied"


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run was writing in a folder of the data set.

    Parameters
    ----------
    folder : Path
        One region's; a lock keeps other runs off it.
    """
    for path in folder.glob(".writing-*"):
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Copy content and modification time; a copy cut short leaves nothing."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        status = source.stat()
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))


def _how(source: Path, target: Path) -> str:
    """Tell how an image is in its place: "hardlink", "copy", "symlink"; "" not at all; "other": another file is."""
    if not os.path.lexists(target):
        return ""
    if not _same_content(source, target):
        return "other"
    if target.is_symlink():
        return "symlink"
    return "hardlink" if os.path.samestat(source.stat(), target.stat()) else "copy"


def _is_source(source: Path, target: Path) -> bool:
    """Tell whether two names are of one entry, by a link from one folder into the other: nothing to replace then."""
    return target.parent.resolve() / target.name == source.resolve()


def _put(target: Path, make: Callable[[Path], None]) -> None:
    """Make a link under a temporary name and rename it over what is there."""
    temporary = target.with_name(f".writing-{target.name}")  # a lock on the data set keeps other runs off it
    make(temporary)
    temporary.replace(target)


def _hard_link(source: Path, target: Path) -> bool:
    """Hard-link an image into its place; False where that is not possible."""
    try:
        _put(target, lambda path: os.link(source.resolve(), path))
    except OSError as error:
        if error.errno not in NO_HARD_LINK:
            raise
        return False
    return True


def _same_content(source: Path, target: Path) -> bool:
    """Tell whether two files are one, or copies by size and modification time, or equal byte for byte."""
    ours, theirs = source.stat(), target.stat()
    if os.path.samestat(ours, theirs):
        return True
    if not target.is_file() or ours.st_size != theirs.st_size:
        return False
    return ours.st_mtime_ns == theirs.st_mtime_ns or filecmp.cmp(source, target, shallow=False)


def _missing_bytes(sources: Sequence[Path], targets: Sequence[Path]) -> int:
    """Return how much there is still to copy [bytes]."""
    return sum(source.stat().st_size for source, target in zip(sources, targets, strict=True)
               if source.exists() and (not target.exists() or _how(source, target) in ("hardlink", "symlink")))


def _require_room(sources: Sequence[Path], targets: Sequence[Path], transfer: str) -> None:
    """Raise UserError when copies would not fit."""
    if not sources or transfer == "symlink" or (transfer == "hardlink" and _links_are_possible(sources, targets)):
        return
    require_free_space(targets[0].parent, _missing_bytes(sources, targets), f"copies of {len(sources):,} images")


def _links_are_possible(sources: Sequence[Path], targets: Sequence[Path]) -> bool:
    """Try whether the first image that is there can be hard-linked: a file system, or its owner, may not allow it."""
    for source, target in zip(sources, targets, strict=True):
        if source.exists():
            trial = target.with_name(".writing-trial")
            possible = _hard_link(source, trial)
            trial.unlink(missing_ok=True)
            return possible
    return True


def full_disk(folder: Path, needed: float) -> UserError:
    """Return the error for a disk that got full on the way.

    Parameters
    ----------
    folder : Path
        On that disk.
    needed : float
        What there is still to write [bytes].

    Returns
    -------
    UserError
        Says how much is missing.
    """
    free = shutil.disk_usage(folder).free
    return UserError(f"the disk of {folder} is full: {size_text(needed)} still to write, {size_text(free)} free, "
                     f"{size_text(max(needed - free, 0))} missing; free some and start again, what is done is kept")
