"""Stage 3 whole: on a small synthetic archive, on the observed one, killed, interrupted, and with bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from general_code import image_screening, stage_files
from general_code.generate_dataset import UserDefinitions, main
from general_code.image_names import dataset_name
from general_code.magnetograms import read_magnetogram
from general_code.stage_run import output_lock
from tests.benchmarks.benchmark_labels import split_table, write_names
from tests.test_event_list import write_report
from tests.test_image_screening import write_field
from tests.test_noaa_archive import SUMMARY

SCRIPT = Path(__file__).resolve().parents[1] / "general_code" / "generate_dataset.py"
START = np.datetime64("2012-03-06", "s")
HOUR = np.timedelta64(3600, "s")


def write_archive(folder: Path, hours: int = 6, nans: int = 0) -> None:
    """Write four days of two regions (1429 moves 13 degrees a day and has no row on the third), every `hours` hours."""
    for day in range(4):
        date = START + day * 24 * HOUR
        rows = [f"1428 S17E{40 - 13 * day:02d}   300  0070 Hsx  01   01 Alpha"]
        if day != 2:
            rows.append(f"1429 N18W{30 + 13 * day:02d}   {300 + 13 * 4}  1270 Ekc  16   56 Beta-Gamma-Delta")
        (folder / "SRS").mkdir(parents=True, exist_ok=True)
        stamp = str(date.astype("datetime64[D]")).replace("-", "")
        issued = f"{pd.Timestamp(date):%Y %b %d} 0030"
        (folder / "SRS" / f"{stamp}SRS.txt").write_text(SUMMARY.format(issued=issued, rows="\n".join(rows)))
    write_report(folder / "Events", "20120306", ("2350", "0024", "X5.4", "1429"), ("2200", "2210", "C1.2", "1428"),
                 ("1000", "1010", "C1.0", "    "))
    write_report(folder / "Events", "20120307", ("0500", "0510", "C9.9", "1429"), ("0600", "0610", "B9.9", "1428"))
    write_report(folder / "Events", "20120308")
    write_report(folder / "Events", "20120309", ("1200", "1210", "M1.0", "1428"))
    for region in ("1428", "1429"):
        for i, hour in enumerate(range(0, 97, hours)):
            name = dataset_name(region, START + hour * HOUR, 1, "fits").removeprefix(f"{region}_")
            write_field(folder / "active_regions" / region / name, nans if i == 1 else 0, seed=hour)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small archive; not to be written to."""
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder, nans=2)
    return folder


def settings(archive: Path, out: Path, **changes) -> UserDefinitions:
    """Return the settings of a run from `archive` to `out`."""
    return UserDefinitions(**({
        "image_dir": archive / "active_regions", "srs_dir": archive / "SRS", "events_dir": archive / "Events",
        "event_list": out / "eventList.txt", "dataset_dir": out / "dataset", "label_file": out / "Labels.txt",
        "png_pixels": 16, "n_jobs": 1} | changes))


def labels(out: Path) -> dict[str, str]:
    """Return labels by region and day-hour, in the order of the label file."""
    rows = (line.split(",") for line in (out / "Labels.txt").read_text().splitlines())
    return {f"{name[:4]} {name[22:24]}T{name[25:27]}": label for name, label in rows}


def excluded(out: Path) -> pd.DataFrame:
    """Return the exclusions of a run."""
    return pd.read_csv(out / "Labels.txt.excluded.csv", dtype=str)


def outputs(out: Path) -> dict[str, bytes]:
    """Return what has to have equal bytes: everything but sidecars, logs, locks and the inode-bound counts."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*"))
            if path.is_file() and path.suffix not in (".json", ".log", ".lock")}


def test_labels_by_hand(archive: Path, tmp_path: Path):
    main(settings(archive, tmp_path, max_nans=2))
    found = labels(tmp_path)
    # region 1428: C1.2 at 06T22:10, M1.0 at 09T12:10; region 1429: X5.4 at 07T00:24, C9.9 at 07T05:10
    flaring = {"1428 06T00": "C1.2", "1428 06T06": "C1.2", "1428 06T12": "C1.2", "1428 06T18": "C1.2",
               "1429 06T06": "X5.4", "1429 06T12": "X5.4", "1429 06T18": "X5.4", "1429 07T00": "X5.4"}
    assert dict(list(found.items())[:8]) == flaring
    assert list(found)[:8] == list(flaring)
    assert found["1429 06T00"] == "0"  # X5.4 comes 24 h 24 min later
    assert {key: label for key, label in found.items() if label == "M1.0"} == dict.fromkeys(
        ["1428 08T18", "1428 09T00", "1428 09T06", "1428 09T12"], "M1.0")
    rest = [key for key, label in found.items() if label == "0"]
    assert rest == sorted(rest)
    assert len(found) == 16 + 12  # 1428 to the 9th; 1429 on the 6th to the 8th, the 8th interpolated


def test_exclusions_and_counts(archive: Path, tmp_path: Path, capsys):
    main(settings(archive, tmp_path))
    counts = excluded(tmp_path)["reason"].value_counts().to_dict()
    assert counts == {"no position": 2, "outside the limits": 4, "NaN pixels": 2, "flare without a region": 1,
                      "missing day": 1}
    sidecar = json.loads((tmp_path / "Labels.txt.json").read_text())
    assert sidecar["counts"]["images"] == 26
    assert sidecar["counts"]["labels_changed_by_midnight_rule"] == 4
    assert sidecar["excluded"] == counts
    said = capsys.readouterr().out
    assert "labels that differ for it from the published rule: 4" in said
    assert ("Left out without a position: 2 images, by an interpolated one: 0 (the published data set has both); "
            "positions interpolated: 4 of those kept") in said
    assert said.rstrip().splitlines()[-1].split() == ["4", "outside", "the", "limits"]
    with Image.open(tmp_path / "dataset_summary.png") as image:
        assert image.format == "PNG"


def test_images_in_the_data_set(archive: Path, tmp_path: Path):
    main(settings(archive, tmp_path))
    names = [line.split(",")[0] for line in (tmp_path / "Labels.txt").read_text().splitlines()]
    for name in names:
        source = archive / "active_regions" / name[:4] / name[5:]
        assert (tmp_path / "dataset" / name[:4] / name).read_bytes() == source.read_bytes()
    assert len(list((tmp_path / "dataset").rglob("*.fits"))) == len(names)


@pytest.mark.parametrize("transfer", ["copy", "symlink", "none"])
def test_transfer(archive: Path, tmp_path: Path, transfer):
    main(settings(archive, tmp_path, transfer=transfer))
    files = list((tmp_path / "dataset").rglob("*.fits"))
    assert len(files) == (0 if transfer == "none" else 26)
    assert all(path.is_symlink() == (transfer == "symlink") for path in files)
    assert len(labels(tmp_path)) == 26


def test_png(archive: Path, tmp_path: Path):
    main(settings(archive, tmp_path, image_format="png", max_nans=5))
    files = sorted((tmp_path / "dataset").rglob("*.png"))
    assert len(files) == 28
    assert {line.split(",")[0] for line in (tmp_path / "Labels.txt").read_text().splitlines()} == {
        path.name for path in files}
    field = read_magnetogram(files[0])  # grey level - 128
    source = read_magnetogram(archive / "active_regions" / "1428" / (files[0].stem[5:] + ".fits"))
    assert field.shape == (16, 16)
    assert field.mean() * 25 == pytest.approx(source.mean(), abs=10)


def test_as_published(archive: Path, tmp_path: Path):
    main(settings(archive, tmp_path, as_published=True, max_nans=2))
    found = labels(tmp_path)
    assert found["1429 07T00"] == "C9.9"  # X5.4 is dated a day too early
    assert found["1429 06T00"] == "X5.4"
    assert found["1429 06T12"] == "C9.9"
    assert "1429 08T12" in found  # no row: kept
    assert "1428 10T00" not in found  # the last file, at 00:00:00
    assert excluded(tmp_path)["reason"].value_counts()["last image of a region, at 00:00:00"] == 2
    assert (tmp_path / "eventList_as_published.txt").exists()
    assert not (tmp_path / "eventList.txt").exists()


def test_text_list_gives_the_same_labels_and_opens_nothing(archive: Path, tmp_path: Path, capsys):
    main(settings(archive, tmp_path / "a", max_nans=2))
    names = sorted(str(path.relative_to(archive / "active_regions")) for path in
                   (archive / "active_regions").rglob("*.fits"))
    (tmp_path / "names.txt").write_text("\n".join(reversed(names)))
    capsys.readouterr()
    main(settings(archive, tmp_path / "b", image_dir=tmp_path / "names.txt"))
    assert (tmp_path / "a" / "Labels.txt").read_bytes() == (tmp_path / "b" / "Labels.txt").read_bytes()
    assert not (tmp_path / "b" / "dataset").exists()
    assert "max_nans is not checked" in capsys.readouterr().out


def test_other_limits_reread_no_pixel(archive: Path, tmp_path: Path, monkeypatch):
    main(settings(archive, tmp_path))
    monkeypatch.setattr(image_screening, "read_magnetogram", None)  # a call would raise
    main(settings(archive, tmp_path, max_longitude_deg=30.0, max_nans=2, label_file=tmp_path / "Labels2.txt"))
    main(settings(archive, tmp_path))
    assert len(labels(tmp_path)) == 26


def test_other_sizes_and_windows(archive: Path, tmp_path: Path):
    main(settings(archive, tmp_path, flare_size="M1.0", flare_window_hours=48.0, transfer="none"))
    found = labels(tmp_path)
    assert set(found.values()) == {"0", "X5.4", "M1.0"}
    assert found["1429 06T00"] == "X5.4"


@pytest.mark.parametrize("changes", [{}, {"image_format": "png"}, {"transfer": "copy"}])
def test_equal_bytes_for_one_and_two_workers_and_a_second_run(archive: Path, tmp_path: Path, changes, monkeypatch):
    monkeypatch.setattr(image_screening, "BATCH", 3)
    main(settings(archive, tmp_path / "a", **changes))
    main(settings(archive, tmp_path / "b", n_jobs=2, **changes))
    first = outputs(tmp_path / "a")
    assert first == outputs(tmp_path / "b")
    main(settings(archive, tmp_path / "a", **changes))
    assert outputs(tmp_path / "a") == first


STOP_IN_THE_SECOND_BATCH = """
import os, sys
sys.path.insert(0, {repository!r})
import tyro
from general_code import generate_dataset, image_screening
screen, batches = image_screening._screen_batch, []
def stop(*arguments):
    batches.append(arguments)
    if len(batches) == 2:
        os.kill(os.getpid(), {how:d})
    return screen(*arguments)
image_screening._screen_batch = stop
generate_dataset.main(tyro.cli(generate_dataset.UserDefinitions))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130),
                                             (signal.SIGTERM, 143)])
def test_killed_or_interrupted_run_goes_on_to_the_same_bytes(tmp_path: Path, how, status):
    write_archive(tmp_path, hours=2)
    user = settings(tmp_path, tmp_path / "b", image_format="png", png_pixels=64)
    main(settings(tmp_path, tmp_path / "a", image_format="png", png_pixels=64))
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in vars(user).items() if name != "as_published"]
    code = STOP_IN_THE_SECOND_BATCH.format(repository=str(SCRIPT.parents[1]), how=how)
    stopped = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert stopped.returncode == status, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert not (tmp_path / "b" / "Labels.txt").exists()
    result = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=True)
    assert f"known from an earlier run: {image_screening.BATCH}" in result.stdout
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")


# ---------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(("changes", "message"), [
    ({"flare_size": "Z9"}, "flare_size: flare class 'Z9' is not like C1.0"),
    ({"flare_window_hours": 0.0}, "flare_window_hours: expected a number above 0"),
    ({"flare_window_hours": float("nan")}, "flare_window_hours"),
    ({"max_longitude_deg": -1.0}, "max_longitude_deg"), ({"max_nans": -1}, "max_nans: expected a number from 0"),
    ({"png_gauss_per_level": 0.0}, "png_gauss_per_level"), ({"png_pixels": 0}, "png_pixels"),
    ({"n_jobs": 0}, "n_jobs"), ({"image_dir": Path("nowhere")}, "image_dir: expected a folder of"),
    ({"srs_dir": Path("nowhere")}, "srs_dir: expected a folder"),
    ({"events_dir": Path("nowhere")}, "event_list: expected a list at"),
    ({"max_longitude_deg": 0.001}, "no image of .* is left within .* outside the limits"),
])
def test_mistakes_end_with_one_line(archive: Path, tmp_path: Path, changes, message):
    with pytest.raises(SystemExit, match=message) as error:
        main(settings(archive, tmp_path, **changes))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "Labels.txt").exists()


@pytest.mark.parametrize("changes", [{"dataset_dir": "active_regions"}, {"dataset_dir": "active_regions/new"},
                                     {"dataset_dir": "SRS"}, {"dataset_dir": "Events"},
                                     {"label_file": "active_regions/Labels.txt"},
                                     {"label_file": "same", "dataset_dir": "same"}, {"event_list": "Events"},
                                     {"label_file": "eventList.txt", "event_list": "eventList.txt"}])
def test_inputs_are_never_outputs(archive: Path, tmp_path: Path, changes):
    with pytest.raises(SystemExit, match="never changes|would be overwritten|, too; name|found a folder"):
        main(settings(archive, tmp_path, **{name: archive / value for name, value in changes.items()}))


def test_files_of_the_input_and_in_the_way_are_left_alone(archive: Path, tmp_path: Path):
    image = sorted((archive / "active_regions").rglob("*.fits"))[0]
    before = image.read_bytes()
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit, match="label_file .* lies in, image_dir .* which this stage never changes"):
        main(settings(archive, tmp_path, label_file=image))
    with pytest.raises(SystemExit, match="dataset_dir: expected a folder, or nothing yet"):
        main(settings(archive, tmp_path, dataset_dir=tmp_path / "file"))
    assert image.read_bytes() == before


def test_bad_images_are_listed_and_the_rest_used(tmp_path: Path):
    write_archive(tmp_path, hours=24)
    folder = tmp_path / "active_regions" / "1428"
    images = sorted(folder.iterdir())
    images[0].write_bytes(b"")
    images[1].write_bytes(images[1].read_bytes()[:3000])
    (folder / "notes.txt").write_text("x")
    (tmp_path / "out" / "dataset" / "1428").mkdir(parents=True)
    occupied = tmp_path / "out" / "dataset" / "1428" / f"1428_{images[2].name}"
    occupied.write_bytes(b"something else")
    main(settings(tmp_path, tmp_path / "out"))
    reasons = excluded(tmp_path / "out").set_index("input")["reason"]
    assert reasons[f"1428/{images[0].name}"] == reasons[f"1428/{images[1].name}"] == "unreadable image"
    assert reasons[f"1428/{images[2].name}"] == "another file in its place"
    assert reasons["1428/notes.txt"] == "not a magnetogram's file name"
    assert occupied.read_bytes() == b"something else"
    assert not any(key.startswith(("1428 06", "1428 07", "1428 08")) for key in labels(tmp_path / "out"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write to read-only folders")
def test_read_only_source(tmp_path: Path):
    write_archive(tmp_path, hours=24)
    folders = [tmp_path / "active_regions", *(tmp_path / "active_regions").iterdir()]
    for folder in folders:
        folder.chmod(0o555)
    main(settings(tmp_path, tmp_path / "out"))
    for folder in folders:
        folder.chmod(0o755)
    assert labels(tmp_path / "out")


def test_a_name_that_is_no_text_is_listed(tmp_path: Path):
    write_archive(tmp_path, hours=24)
    try:
        (tmp_path / "active_regions" / "1428" / os.fsdecode(b"1428_\xff.fits")).touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    main(settings(tmp_path, tmp_path / "out"))
    assert excluded(tmp_path / "out").set_index("input")["reason"][r"1428/1428_\udcff.fits"] == (
        "not a magnetogram's file name")


def test_images_of_an_earlier_run_are_counted(archive: Path, tmp_path: Path, capsys):
    main(settings(archive, tmp_path))
    assert "an earlier run's" not in capsys.readouterr().out
    (tmp_path / "dataset" / "1428" / "notes.txt").touch()
    main(settings(archive, tmp_path, max_longitude_deg=30.0, label_file=tmp_path / "Labels_30.txt"))
    number = 26 - len((tmp_path / "Labels_30.txt").read_text().splitlines())
    assert 0 < number < 26
    assert f"{number} files in {tmp_path / 'dataset'} are not in this label file (an earlier run's)" in (
        capsys.readouterr().out)
    assert (tmp_path / "dataset_summary_Labels_30.png").exists()
    main(settings(archive, tmp_path, image_format="png"))
    assert "an earlier run's" not in capsys.readouterr().out, "names count without their extension"


def test_two_runs_into_one_data_set_are_refused(archive: Path, tmp_path: Path):
    with output_lock(tmp_path / "dataset"), pytest.raises(SystemExit, match="another run is writing '.*dataset'"):
        main(settings(archive, tmp_path))


def test_too_little_room_for_png_images_is_said_before_any_is_made(archive: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(stage_files.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 999, 1))
    with pytest.raises(SystemExit, match="not enough space in .* for PNG images .* missing"):
        main(settings(archive, tmp_path, image_format="png"))
    assert not list(tmp_path.rglob("*.png"))


def test_sources_are_not_changed(tmp_path: Path):
    write_archive(tmp_path, hours=24)

    def state():
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*")
                if path.is_file() and "out" not in path.parts}

    before = state()
    main(settings(tmp_path, tmp_path / "out"))
    assert state() == before


def test_full_disk_while_png_images_are_made(archive: Path, tmp_path: Path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_screening, "write_png", full)
    with pytest.raises(SystemExit, match=r"dataset is full: .* MB still to write, .* [GM]B free, .* [GM]B missing"):
        main(settings(archive, tmp_path, image_format="png"))


def test_script_from_another_folder_with_defaults(tmp_path: Path):
    write_archive(tmp_path / "data", hours=24)
    result = subprocess.run([sys.executable, SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len((tmp_path / "data" / "Labels.txt").read_text().splitlines()) == 7
    assert (tmp_path / "data" / "eventList.txt").exists()


def test_help_is_for_people():
    result = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "how long after the image a flare counts [h]" in " ".join(result.stdout.replace("│", " ").split())


# ---------------------------------------------------------------------------- observed data


def test_observed_images(shared_data: Path, noaa_archive: Path, tmp_path: Path):
    user = UserDefinitions(
        image_dir=shared_data / "active_regions", srs_dir=noaa_archive / "SRS", events_dir=noaa_archive / "Events",
        event_list=tmp_path / "eventList.txt", dataset_dir=tmp_path / "dataset", label_file=tmp_path / "Labels.txt",
        n_jobs=1)
    main(user)
    found = dict(line.split(",") for line in user.label_file.read_text().splitlines())
    image = "{}_hmi.M_720s.{}_TAI.1.magnetogram.fits"
    assert found[image.format("1158", "20110214_000000")] == "M2.2"  # X2.2 of 15 February 01:56 is 26 h away
    assert found[image.format("1158", "20110214_020000")] == "X2.2"
    assert found[image.format("1429", "20120306_142400")] == "X5.4"
    assert found[image.format("2205", "20141106_180000")] == "X1.6"
    assert found[image.format("1375", "20111217_060000")] == "0"
    out = excluded(tmp_path)
    assert out[out["reason"] == "outside the limits"]["input"].str[:4].tolist() == ["1423"]
    # 1376 has rows on 15 and 18 December, so its image of the 17th lies in a hole and is interpolated
    assert out[out["reason"] == "no position"]["input"].str[:4].tolist() == ["1379", "1424", "2561"]
    assert image.format("1376", "20111217_060000") in found
    assert len(found) == 45


@pytest.mark.parametrize("as_published", [False, True])
def test_shares_of_flaring_images_by_published_split(shared_data: Path, noaa_archive: Path, tmp_path: Path,
                                                     as_published):
    write_names(shared_data / "published" / "ARList.txt", tmp_path / "names.txt", every=10)  # every second hour
    user = UserDefinitions(
        image_dir=tmp_path / "names.txt", srs_dir=noaa_archive / "SRS", events_dir=noaa_archive / "Events",
        event_list=shared_data / "published" / "eventList.txt", dataset_dir=tmp_path / "dataset",
        label_file=tmp_path / "Labels.txt", as_published=as_published)
    main(user)
    table = split_table(user.label_file, shared_data / "published")
    print(table.to_string(index=False, float_format="{:.4f}".format))  # with pytest -s: beside the published numbers
    shares, published = table.iloc[:, 7], table.iloc[:, 8]
    assert published.round(4).tolist() == [0.1965, 0.2063, 0.2273]
    assert (abs(shares - published) < 0.005).all()
    assert table.iloc[:, 1].tolist() == [1256, 157, 157]
