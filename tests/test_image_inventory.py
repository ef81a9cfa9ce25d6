"""Images of a folder or a text list; foreign files named, not lost."""

from pathlib import Path

import numpy as np
import pytest

from general_code.image_inventory import find_images, parse_sources
from general_code.stage_files import UserError


def name(clock: str = "060000", camera: int = 1, extension: str = "fits", day: str = "20110213") -> str:
    """Return a file name as the export service gives it."""
    return f"hmi.M_720s.{day}_{clock}_TAI.{camera}.magnetogram.{extension}"


def reasons(problems) -> dict[str, str]:
    """Return reasons by input."""
    return {problem.input: problem.reason for problem in problems}


def test_folder_of_regions(tmp_path: Path):
    for source in (f"1158/{name()}", f"1158/1158_{name('061200')}", f"1158/11158_{name('062400')}",
                   f"12673/{name(camera=3)}", f"1158/{name(camera=2)}", "1158/notes.txt", f"1158/{name('070000')}.gz",
                   f"1158/1159_{name('080000')}", "1158/hmi.m_720s.20110213_060000_TAI.1.magnetogram.fits",
                   f"1158/{name(extension='png')}", f"1158/{name(day='20110230')}", f"misc/{name()}", "README",
                   "download_ledger.csv", "download_ledger.csv.json", "1158_missing_records.csv",
                   "export_page_timeout.png", "1158/.writing-x", "missing_records.csv"):
        path = tmp_path / source
        path.parent.mkdir(exist_ok=True)
        path.touch()
    images, problems = find_images(tmp_path)
    assert images[["region", "camera"]].values.tolist() == [["1158", 1]] * 3 + [["2673", 3]]
    assert images["source"].tolist()[3] == f"12673/{name(camera=3)}"
    assert reasons(problems) == {
        f"1158/{name(camera=2)}": "not a magnetogram's file name", "1158/notes.txt": "not a magnetogram's file name",
        f"1158/{name('070000')}.gz": "not a magnetogram's file name",
        f"1158/{name(extension='png')}": "not a magnetogram's file name",
        f"1158/{name(day='20110230')}": "not a magnetogram's file name",
        f"1158/1159_{name('080000')}": "folder and file name give different regions",
        "1158/hmi.m_720s.20110213_060000_TAI.1.magnetogram.fits": "second file of an image",
        "misc": "not a region's folder", "README": "not a region's folder",
        "missing_records.csv": "not a region's folder"}
    details = {problem.input: problem.detail for problem in problems}
    assert "there is no time 20110230" in details[f"1158/{name(day='20110230')}"]
    assert "camera 2" in details[f"1158/{name(camera=2)}"]


def test_text_list(tmp_path: Path):
    path = tmp_path / "names.txt"
    path.write_bytes(f"\ufeff1158/{name('061200')}\r\n\r\n1158/{name()}\n1158_{name('062400', extension='png')}\n"
                     f"{name()}\nrubbish\n1158/{name()}\n".encode())
    images, problems = find_images(path)
    assert images["source"].tolist() == [f"1158/{name()}", f"1158/{name('061200')}",
                                         f"1158_{name('062400', extension='png')}"]
    assert reasons(problems) == {name(): "image without a region", "rubbish": "not a magnetogram's file name",
                                 f"1158/{name()}": "second file of an image"}


def test_three_foreign_files_among_ten_thousand(tmp_path: Path):
    stamps = np.datetime_as_string(np.datetime64("2011-02-13", "s") + np.arange(10000) * np.timedelta64(720, "s"))
    sources = [f"1158/{name(s[11:].replace(':', ''), day=s[:10].replace('-', ''))}" for s in stamps.tolist()]
    foreign = ["1158/Thumbs.db", "1158/a.fits", "readme"]
    images, problems = parse_sources([*sources[:5000], *foreign, *sources[5000:]], ("fits",))
    assert images["source"].tolist() == sources
    assert [problem.input for problem in problems] == foreign


@pytest.mark.parametrize("content", [b"", b"rubbish\n", b"\xff\xfe\x00"])
def test_nothing_to_use(tmp_path: Path, content):
    path = tmp_path / "names.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="image_dir: "):
        find_images(path)


def test_nothing_there(tmp_path: Path):
    with pytest.raises(UserError, match="no image like"):
        find_images(tmp_path)
    with pytest.raises(UserError, match="found nothing"):
        find_images(tmp_path / "gone")
