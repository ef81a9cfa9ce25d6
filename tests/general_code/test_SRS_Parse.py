"""Stage 1: the region list, against the published one and by hand."""

import json
import os
import sys
from pathlib import Path

import pandas as pd
import pytest

from general_code.SRS_Parse import UserDefinitions, main
from general_code.stage.files import UserError
from tests.general_code.noaa.test_archive import pack, write_summary


def run_on(tmp_path: Path, **settings) -> list[str]:
    """Run the stage on tmp_path/SRS and return the lines of its list."""
    user = UserDefinitions(srs_dir=tmp_path / "SRS", ar_list=tmp_path / "out" / "ARList.txt", **settings)
    main(user)
    return user.ar_list.read_text().splitlines()


def test_list_is_in_order_of_first_appearance_counts_days_with_holes_and_is_bounded_by_dates(tmp_path: Path):
    for day, regions in enumerate((["1002", "1001"], ["1003", "1001"], ["1001"], ["1002"]), start=1):
        write_summary(tmp_path / "SRS" / "2012_SRS", f"2012010{day}", *regions)
    assert run_on(tmp_path) == ["1002,20120101,4", "1001,20120101,3", "1003,20120102,1"]
    assert run_on(tmp_path, first_date="20120102", last_date="20120103") == ["1003,20120102,1", "1001,20120102,2"]
    assert run_on(tmp_path, first_date="", last_date="20120101") == ["1002,20120101,1", "1001,20120101,1"]


def test_missing_bad_and_foreign_files_are_listed_and_the_rest_used(tmp_path: Path):
    srs = tmp_path / "SRS"
    write_summary(srs, "20120101", "1001")
    (srs / "20120102SRS.txt").write_bytes(b"\x00\xff")
    write_summary(srs, "20120104", "1001", "10X2")
    write_summary(srs, "20120701", "1001")  # the next region of that number
    (srs / "notes.doc").write_text("x")
    assert run_on(tmp_path, first_date="20120101") == ["1001,20120101,4"]
    table = pd.read_csv(tmp_path / "out" / "ARList.txt.excluded.csv", dtype=str)
    assert table["reason"].value_counts().to_dict() == {
        "missing day": 2, "not named YYYYMMDDSRS.txt": 1, "row does not parse": 1, "unreadable report": 1,
        "region number used again": 1}
    assert "line 5" in table.set_index("reason").loc["row does not parse", "detail"]
    counts = json.loads((tmp_path / "out" / "ARList.txt.json").read_text())["counts"]
    assert (counts["regions"], counts["days_without_row_within_passages"]) == (1, 2)


@pytest.mark.parametrize(("settings", "message"), [
    ({"first_date": "20120230"}, "first_date: there is no date 20120230"),
    ({"first_date": "20120102", "last_date": "20120101"}, "is after last_date"),
    ({"srs_dir": Path("nowhere")}, "srs_dir: expected a folder")])
def test_settings_that_cannot_be_meant_end_with_one_line(tmp_path: Path, settings, message):
    write_summary(tmp_path / "SRS", "20120101", "1001")
    places = {"srs_dir": tmp_path / "SRS", "ar_list": tmp_path / "ARList.txt"}
    with pytest.raises((SystemExit, UserError), match=message) as error:
        main(UserDefinitions(**(places | settings)))
    assert "\n" not in str(error.value)
    assert not places["ar_list"].exists()


def test_folder_without_a_region_ends_with_one_line(tmp_path: Path):
    write_summary(tmp_path / "SRS", "20120101")
    (tmp_path / "SRS" / "2012_SRS.zip").touch()
    with pytest.raises(SystemExit, match="no region in section I of 1 summaries .*_SRS.zip: .* have to be unpacked"):
        run_on(tmp_path)


def test_years_as_noaa_packs_them_in_a_folder_of_any_name(tmp_path: Path, capfd):
    folder = tmp_path / "run[1] a$HOME ü"
    (folder / "SRS").mkdir(parents=True)
    for day in ("20120101", "20120103"):
        write_summary(tmp_path / "made", day, "1001")
    pack(folder / "SRS" / "2012_SRS.tar.gz", *sorted((tmp_path / "made").iterdir()))
    odd = folder / "SRS" / os.fsdecode(b"caf\xe9" if sys.platform == "linux" else b"cafe")
    write_summary(odd, "20120106", "1001", "10X2")
    assert run_on(folder, first_date="20120101") == ["1001,20120101,6"]
    assert "Excluded 2 spans of days, 1 row, listed in" in capfd.readouterr().out


def test_original_files_of_all_years(shared_data: Path, tmp_path: Path):
    (tmp_path / "SRS").symlink_to(shared_data / "noaa_raw" / "SRS")
    lines = run_on(tmp_path, first_date="")
    assert len(lines) == 111
    assert lines[:4] == ["7938,19960106,1", "7939,19960106,1", "7962,19960513,1", "7964,19960513,1"]
    assert {"0001,20020624,1", "1123,20101115,2"} < set(lines)


def test_published_list_is_met(noaa_archive: Path, shared_data: Path, tmp_path: Path):
    user = UserDefinitions(srs_dir=noaa_archive / "SRS", ar_list=tmp_path / "ARList.txt")
    main(user)
    columns = ["region", "first", "days"]
    ours, published = (pd.read_csv(path, names=columns, dtype={"region": str, "first": str})
                       for path in (user.ar_list, shared_data / "published" / "ARList.txt"))
    assert len(published) == 1665
    assert ours["region"].tolist() == published["region"].tolist()
    differing = ours["first"] != published["first"]
    assert ours[differing].values.tolist() == [["1260", "20110726", 12], ["1460", "20120418", 10],
                                               ["2155", "20140905", 10]]  # first rows malformed in the originals
    longer = ours["days"] - published["days"]
    assert (longer[differing] == -1).all() and (longer[~differing] >= 0).all()
    holes = ours[longer > 0].assign(published=published["days"])
    print(holes.to_string())  # with pytest -s: the regions with holes
    assert len(holes) == 159
    assert (longer[longer > 0].sum(), longer.max()) == (342 - 1, 8)  # 342 days without a row; 1430 lost its own row
