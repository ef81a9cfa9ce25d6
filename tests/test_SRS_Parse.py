"""Stage 1: the region list, against the published one and by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from general_code.SRS_Parse import UserDefinitions, main, parse_date, region_list
from general_code.stage_files import UserError
from tests.test_noaa_archive import write_summary

SCRIPT = Path(__file__).resolve().parents[1] / "general_code" / "SRS_Parse.py"


def run_on(tmp_path: Path, **settings) -> list[str]:
    """Run the stage on tmp_path/SRS and return the lines of its list."""
    user = UserDefinitions(srs_dir=tmp_path / "SRS", ar_list=tmp_path / "out" / "ARList.txt", **settings)
    main(user)
    return user.ar_list.read_text().splitlines()


def excluded(tmp_path: Path) -> pd.DataFrame:
    """Return the exclusions of `run_on`."""
    return pd.read_csv(tmp_path / "out" / "ARList.txt.excluded.csv", dtype=str)


def test_list_is_in_order_of_first_appearance_and_counts_days_with_holes(tmp_path: Path):
    srs = tmp_path / "SRS"
    write_summary(srs / "2012_SRS", "20120101", "1002", "1001")
    write_summary(srs / "2012_SRS", "20120102", "1003", "1001")
    write_summary(srs / "2012_SRS", "20120103", "1001")
    write_summary(srs / "2012_SRS", "20120104", "1002")
    assert run_on(tmp_path) == ["1002,20120101,4", "1001,20120101,3", "1003,20120102,1"]


def test_missing_bad_and_foreign_files_are_listed_and_the_rest_used(tmp_path: Path):
    srs = tmp_path / "SRS"
    write_summary(srs, "20120101", "1001")
    (srs / "20120102SRS.txt").write_bytes(b"\x00\xff")
    write_summary(srs, "20120104", "1001", "10X2")
    (srs / "notes.doc").write_text("x")
    assert run_on(tmp_path, first_date="20120101") == ["1001,20120101,4"]
    table = excluded(tmp_path)
    assert table["reason"].value_counts().to_dict() == {
        "missing day": 1, "not named YYYYMMDDSRS.txt": 1, "row does not parse": 1, "unreadable report": 1}
    assert "line 5" in table.set_index("reason").loc["row does not parse", "detail"]
    counts = json.loads((tmp_path / "out" / "ARList.txt.json").read_text())["counts"]
    assert counts["regions"] == 1
    assert counts["days_without_row_within_passages"] == 2


def test_number_used_again_decades_later_is_reported(tmp_path: Path):
    write_summary(tmp_path / "SRS", "20120101", "1001")
    write_summary(tmp_path / "SRS", "20120701", "1001", "1002")
    assert run_on(tmp_path) == ["1001,20120101,1", "1002,20120701,1"]
    assert "region number used again" in excluded(tmp_path)["reason"].tolist()


def test_dates_bound_the_list(tmp_path: Path):
    for day in ("20120101", "20120102", "20120103"):
        write_summary(tmp_path / "SRS", day, "1001")
    assert run_on(tmp_path, first_date="20120102", last_date="20120103") == ["1001,20120102,2"]
    assert run_on(tmp_path, first_date="", last_date="20120101") == ["1001,20120101,1"]


@pytest.mark.parametrize(("settings", "message"), [
    ({"first_date": "20120230"}, "first_date: expected a date like 20100501"),
    ({"first_date": "2012-01-01"}, "first_date"), ({"last_date": "yesterday"}, "last_date"),
    ({"first_date": "20120102", "last_date": "20120101"}, "is after last_date"),
    ({"srs_dir": Path("nowhere")}, "srs_dir: expected a folder"),
])
def test_settings_that_cannot_be_meant_end_with_one_line(tmp_path: Path, settings, message):
    write_summary(tmp_path / "SRS", "20120101", "1001")
    user = UserDefinitions(**({"srs_dir": tmp_path / "SRS", "ar_list": tmp_path / "ARList.txt"} | settings))
    with pytest.raises(SystemExit, match=message) as error:
        main(user)
    assert "\n" not in str(error.value)
    assert not user.ar_list.exists()


def test_folder_without_a_region_ends_with_one_line(tmp_path: Path):
    write_summary(tmp_path / "SRS", "20120101")
    with pytest.raises(SystemExit, match="no region in section I of 1 summaries"):
        run_on(tmp_path)


def test_parse_date():
    assert parse_date("", "first_date") is None
    with pytest.raises(UserError):
        parse_date("2012011", "first_date")


def test_region_list_of_one_row():
    table = pd.DataFrame({"region": ["1001"], "date": [pd.Timestamp("2012-01-01")]})
    assert region_list(table)["days"].tolist() == [1]


def test_original_files_of_all_years(shared_data: Path, tmp_path: Path):
    user = UserDefinitions(srs_dir=shared_data / "noaa_raw" / "SRS", ar_list=tmp_path / "ARList.txt", first_date="")
    main(user)
    lines = user.ar_list.read_text().splitlines()
    assert len(lines) == 111
    assert lines[:4] == ["7938,19960106,1", "7939,19960106,1", "7962,19960513,1", "7964,19960513,1"]
    assert "0001,20020624,1" in lines
    assert "1123,20101115,2" in lines


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
    assert (longer[differing] == -1).all()
    assert (longer[~differing] >= 0).all()
    holes = ours[longer > 0].assign(published=published["days"])
    print(holes.to_string())  # with pytest -s: the regions with holes
    assert len(holes) == 159
    assert (longer[longer > 0].sum(), longer.max()) == (342 - 1, 8)  # 342 days without a row; 1430 lost its own row


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_script_from_another_folder(tmp_path: Path, arguments):
    write_summary(tmp_path / "data" / "SRS", "20120101", "1001")
    result = subprocess.run([sys.executable, SCRIPT, *arguments], cwd=tmp_path, capture_output=True, text=True,
                            check=False)
    assert result.returncode == 0, result.stderr
    if arguments:
        assert "first summary used" in result.stdout
    else:
        assert (tmp_path / "data" / "ARList.txt").read_text() == "1001,20120101,1\n"


def test_user_error_has_status_one_and_no_traceback(tmp_path: Path):
    result = subprocess.run([sys.executable, SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "srs_dir: expected a folder" in result.stderr
