"""The lists of a drawn split as files: drawn anew at each run, while a list that no run drew is never replaced."""

from hashlib import sha256
from pathlib import Path

from general_code.region_splits import RegionLists
from general_code.stage_files import UserError, atomic_write
from general_code.stage_run import read_sidecar


def drawn_list_files(lists: RegionLists, folder: Path, names: dict[str, str], output: Path) -> dict[Path, str]:
    """Return the files for drawn lists; only lists that the last run for this output drew are replaced.

    Parameters
    ----------
    lists : RegionLists
        As drawn.
    folder : Path
        To write into.
    names : dict of str to str
        File name of each split's list; a list without a name is not written.
    output : Path
        Main output of the run, whose sidecar notes, as counts "drawn_lists", the lists that its last run drew.

    Returns
    -------
    dict of Path to str
        Text of each file. A run writes them just before its sidecar, which makes them its own: a run that fails
        leaves no lists behind that a later draw could not replace.

    Raises
    ------
    UserError
        When a file of that name exists, differs, and no sidecar names it as it stands.
    """
    texts = {folder / names[split]: "".join(f"{region}\n" for region in members) for split, members in lists.items()
             if split in names}
    noted = (read_sidecar(output) or {}).get("counts", {}).get("drawn_lists", {})
    for path, text in texts.items():
        if not path.is_file():
            continue
        digest = sha256(path.read_bytes()).hexdigest()
        if digest != _digest(text) and noted.get(path.name) != digest:
            raise UserError(f"'{path}' exists and was not drawn for '{output.name}', or was changed since; it is not "
                            "overwritten: name it in the settings to use it, move it away, or take another output_dir")
    return texts


def write_drawn_lists(texts: dict[Path, str]) -> dict[str, str]:
    """Write drawn lists.

    Parameters
    ----------
    texts : dict of Path to str
        As `drawn_list_files` returns them.

    Returns
    -------
    dict of str to str
        sha256 of each list by file name, to be noted in this run's sidecar as counts "drawn_lists".
    """
    for path, text in texts.items():
        with atomic_write(path) as file:
            file.write(text)
    return {path.name: _digest(text) for path, text in texts.items()}


def _digest(text: str) -> str:
    """The sha256 of a text in its file."""
    return sha256(text.encode()).hexdigest()
