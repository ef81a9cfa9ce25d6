"""The simulated JSOC's tars, and the members that a hostile or damaged one might have.

A hostile member is one that would lead out of the folder, is no plain file, or was not asked for.
"""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from general_code.simulated_faults import Faults

SURPLUS = 300  # members more than asked for: a request of one day at 12 minutes has 121 times, of two cameras


def write_tar(path: Path, files: dict[str, bytes], index: dict[str, Any], faults: Faults) -> Path:
    """Write a request's tar as JSOC does: members below `./`, images and the files of the index.

    Parameters
    ----------
    path : Path
        The tar to be.
    files : dict of str to bytes
        Images by name.
    index : dict
        Of the request.
    faults : Faults
        May ask for a hostile member.

    Returns
    -------
    Path
        The tar's.
    """
    lines = "\n".join(f"{row['record']}\t{row['filename']}" for row in index["data"])
    helpers = {"index.json": json.dumps(index), "index.html": "<html></html>", "proc-steps.txt": "im_patch\n",
               "index.txt": f"# JSOC \nrequestid={index['requestid']}\n# PROCESSING\n# DATA\n{lines}\n",
               f"{index['requestid']}.drmsrun": "#!/bin/sh\n"}
    with tarfile.open(path, "w") as tar:
        _add_hostile(tar, faults, next(iter(files)), files)
        for name, content in ({name: text.encode() for name, text in helpers.items()} | files).items():
            _add(tar, f"./{name}", content)
    return path


def _add(tar: tarfile.TarFile, path: str, content: bytes = b"", **attributes: Any) -> None:
    """Add a member to a tar."""
    member = tarfile.TarInfo(path)
    member.size = len(content)
    for name, value in attributes.items():
        setattr(member, name, value)
    tar.addfile(member, io.BytesIO(content))


def _add_many(tar: tarfile.TarFile, paths: list[str], **attributes: Any) -> None:
    """Add empty members to a tar."""
    for path in paths:
        _add(tar, path, **attributes)


def _in_primary_unit(content: bytes) -> bytes:
    """Return a FITS file with the pixels of another in its primary unit, where JSOC has none."""
    from astropy.io import fits  # half a second to import

    with fits.open(io.BytesIO(content)) as file, io.BytesIO() as other:
        fits.PrimaryHDU(file[1].data).writeto(other)
        return other.getvalue()


def _add_hostile(tar: tarfile.TarFile, faults: Faults, name: str, files: dict[str, bytes]) -> None:
    """Add the member that a switch asks for; "other_time" and the like stand among the images."""
    content, kind = files[name], faults.hostile_member
    other_year = name.replace(".20", ".19", 1)
    members = {
        "parent": lambda: _add(tar, f"../../{name}", content),
        "absolute": lambda: _add(tar, f"/somewhere/{name}", content),
        "symlink": lambda: _add(tar, f"./{other_year}", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "hardlink": lambda: _add(tar, f"./{other_year}", type=tarfile.LNKTYPE, linkname="../../secret"),
        "device": lambda: _add(tar, f"./{other_year}", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        "surplus": lambda: _add_many(tar, [f"./{number}_{name}" for number in range(SURPLUS)]),
        "folders": lambda: _add_many(tar, [f"./folder{number}" for number in range(SURPLUS)], type=tarfile.DIRTYPE),
        "repeated": lambda: _add(tar, f"./more/{name}", content),
        "bomb": lambda: _add(tar, f"./{other_year}", bytes(64 << 20)),
    }
    if kind in members:
        members[kind]()
    replaced = {"other_time": lambda: {other_year: content}, "odd_name": lambda: {"notes.fits": content},
                "not_fits": lambda: {name: b"x" * 99}, "html": lambda: {name: b"<html>please log in</html>"},
                "primary_unit": lambda: {name: _in_primary_unit(content)}}
    if kind in replaced:
        del files[name]
        files.update(replaced[kind]())
