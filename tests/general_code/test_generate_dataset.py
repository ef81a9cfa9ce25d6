"""Stage 3 whole: on a small synthetic archive, on the observed one, killed, interrupted, and with bad input."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from general_code.dataset import pixels
from general_code.generate_dataset import UserDefinitions, main
from general_code.images.label_file import label_target
from general_code.images.magnetograms import NOT_NORTH_UP, read_magnetogram
from general_code.images.names import dataset_name
from general_code.stage import files as stage_files
from general_code.stage.run import output_lock
from tests.benchmarks.benchmark_labels import split_table, write_names
from tests.general_code.dataset.test_pixels import write_field
from tests.general_code.noaa.test_archive import write_summary
from tests.general_code.noaa.test_event_list import write_report

SCRIPT = Path(__file__).resolve().parents[2] / "general_code" / "generate_dataset.py"
START = np.datetime64("2012-03-06", "s")
HOUR = np.timedelta64(3600, "s")


def write_archive(folder: Path, hours: int = 6, nans: int = 0) -> None:
    """Write four days of two regions (1429 moves 13 degrees a day and has no row on the third), every `hours` hours."""
    for day in range(4):
        rows = [f"1428 S17E{40 - 13 * day:02d}   300  0070 Hsx  01   01 Alpha"]
        if day != 2:
            rows.append(f"1429 N18W{30 + 13 * day:02d}   {300 + 13 * 4}  1270 Ekc  16   56 Beta-Gamma-Delta")
        write_summary(folder / "SRS", f"2012030{6 + day}", *rows)
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


def rows(out: Path) -> dict[str, str]:
    """Return labels by name, in the order of the label file."""
    return dict(line.split(",") for line in (out / "Labels.txt").read_text().splitlines())


def labels(out: Path) -> dict[str, str]:
    """Return labels by region and day-hour, in the order of the label file."""
    return {f"{name[:4]} {name[22:24]}T{name[25:27]}": label for name, label in rows(out).items()}


def excluded(out: Path) -> pd.Series:
    """Return the reasons of a run's exclusions, by input."""
    return pd.read_csv(out / "Labels.txt.excluded.csv", dtype=str, index_col="input")["reason"]


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
    assert list(found.items())[:8] == list(flaring.items())
    assert found["1429 06T00"] == "0"  # X5.4 comes 24 h 24 min later
    assert {key: label for key, label in found.items() if label == "M1.0"} == dict.fromkeys(
        ["1428 08T18", "1428 09T00", "1428 09T06", "1428 09T12"], "M1.0")
    rest = [key for key, label in found.items() if label == "0"]
    assert rest == sorted(rest)
    assert len(found) == 16 + 12  # 1428 to the 9th; 1429 on the 6th to the 8th, the 8th interpolated


def test_latency_and_scale_reach_labels_event_list_and_sidecar(archive: Path, tmp_path: Path, capsys):
    main(settings(archive, tmp_path, max_nans=2, latency_minutes=30.0, flare_scale="modern", transfer="none"))
    found = labels(tmp_path)
    # with the window from 30 min on, X5.4 at 24 h 24 min labels the first image and no more that 24 min before it
    flaring = {"1429 06T00": "X7.7", "1429 06T18": "X7.7", "1429 07T00": "M1.4"}
    assert {key: found[key] for key in flaring} == flaring
    assert found["1428 06T06"] == "C1.7" and found["1428 07T00"] == "C1.4", "B9.9 of GOES-15 is C1.4"
    assert (tmp_path / "eventList.txt").read_text().splitlines()[0] == "2012 03 06,2210,1428,C1.2,G15"
    said = capsys.readouterr().out
    assert "Modern scale: classes of GOES-15 and earlier are divided by 0.7\n" in said
    assert "with a flare >= C1.0 within 24 h, from 30 min after the image, modern scale" in said
    assert label_target(tmp_path / "Labels.txt") == ("C1.0", 24.0, 30.0, "modern")


def test_exclusions_and_counts(archive: Path, tmp_path: Path, capsys):
    main(settings(archive, tmp_path))
    counts = excluded(tmp_path).value_counts().to_dict()
    assert counts == {"no position": 2, "outside the limits": 4, "NaN pixels": 2, "flare without a region": 1,
                      "missing day": 1}
    sidecar = json.loads((tmp_path / "Labels.txt.json").read_text())
    expected = {"images": 26, "flares_after_midnight": 1, "labels_changed_by_midnight_rule": 4}
    assert expected.items() <= sidecar["counts"].items() and sidecar["excluded"] == counts
    printed = capsys.readouterr().out
    assert "labels that therefore differ from the published rule: 4" in printed
    assert ("Excluded without a position: 2 images, by an interpolated one: 0 (the published data set has both); "
            "positions interpolated: 4 of those kept") in printed
    assert "Excluded 8 images" in printed
    assert (tmp_path / "dataset_summary.png").exists()


@pytest.mark.parametrize("transfer", ["hardlink", "copy", "symlink", "none"])
def test_images_in_the_data_set(archive: Path, tmp_path: Path, transfer):
    main(settings(archive, tmp_path, transfer=transfer))
    names = sorted(rows(tmp_path))
    files = {path.name: path for path in (tmp_path / "dataset").rglob("*.fits")}
    assert len(names) == 26 and sorted(files) == ([] if transfer == "none" else names)
    for name, path in files.items():
        assert path.read_bytes() == (archive / "active_regions" / name[:4] / name[5:]).read_bytes()
        assert path.is_symlink() == (transfer == "symlink")


def test_png(archive: Path, tmp_path: Path):
    main(settings(archive, tmp_path, image_format="png", max_nans=5))
    files = sorted((tmp_path / "dataset").rglob("*.png"))
    assert len(files) == 28 and {path.name for path in files} == set(rows(tmp_path))
    field = read_magnetogram(files[0])  # grey level - 128
    source = read_magnetogram(archive / "active_regions" / "1428" / f"{files[0].stem[5:]}.fits")
    assert field.shape == (16, 16) and field.mean() * 25 == pytest.approx(source.mean(), abs=10)


def test_as_published(archive: Path, tmp_path: Path):
    main(settings(archive, tmp_path, as_published=True, max_nans=2))
    found = labels(tmp_path)
    assert [found[f"1429 {time}"] for time in ("06T00", "06T12", "07T00")] == ["X5.4", "C9.9", "C9.9"]  # a day early
    assert "1429 08T12" in found  # no row: kept
    assert "1428 10T00" not in found  # the last file, at 00:00:00
    assert excluded(tmp_path).value_counts()["last image of a region, at 00:00:00"] == 2
    assert (tmp_path / "eventList_as_published.txt").exists()
    assert not (tmp_path / "eventList.txt").exists()


def test_text_list_gives_the_same_labels_and_opens_nothing(archive: Path, tmp_path: Path, capsys):
    main(settings(archive, tmp_path / "a", max_nans=2))
    images = sorted((archive / "active_regions").rglob("*.fits"), reverse=True)
    (tmp_path / "names.txt").write_text("\n".join(f"{path.parent.name}/{path.name}" for path in images))
    capsys.readouterr()
    main(settings(archive, tmp_path / "b", image_dir=tmp_path / "names.txt"))
    assert (tmp_path / "a" / "Labels.txt").read_bytes() == (tmp_path / "b" / "Labels.txt").read_bytes()
    assert not (tmp_path / "b" / "dataset").exists()
    assert "max_nans is not checked" in capsys.readouterr().out


def test_other_limits_sizes_and_windows_reread_no_pixel(archive: Path, tmp_path: Path, monkeypatch):
    main(settings(archive, tmp_path))
    monkeypatch.setattr(pixels, "read_pixels", None)  # a call would raise
    main(settings(archive, tmp_path, max_longitude_deg=30.0, max_nans=2, label_file=tmp_path / "Labels2.txt"))
    main(settings(archive, tmp_path))
    assert len(labels(tmp_path)) == 26
    main(settings(archive, tmp_path, flare_size="M1.0", flare_window_hours=48.0, transfer="none"))
    found = labels(tmp_path)
    assert set(found.values()) == {"0", "X5.4", "M1.0"} and found["1429 06T00"] == "X5.4"


def test_published_png_images_are_labelled_again_under_their_own_names(archive: Path, tmp_path: Path, capsys):
    main(settings(archive, tmp_path / "a", image_format="png"))
    published = tmp_path / "Lat60_Lon60_Nans0_png_16"
    for path in (tmp_path / "a" / "dataset").rglob("*.png"):
        (published / path.parent.name).mkdir(parents=True, exist_ok=True)
        path.rename(published / path.parent.name / path.name.replace(".png", "_16.png"))
    expected = (tmp_path / "a" / "Labels.txt").read_text().replace(".png,", "_16.png,")
    user = settings(archive, tmp_path / "b", image_dir=published, image_format="png", png_pixels=99)
    main(user)
    assert (tmp_path / "b" / "Labels.txt").read_text() == expected
    assert len(list((tmp_path / "b" / "dataset").rglob("*_16.png"))) == 26
    assert "taken as they are; png_pixels" in capsys.readouterr().out
    names = tmp_path / "names.txt"
    names.write_bytes("".join(f"{line[:4]}\\{line}\r\n" for line in expected.splitlines()).encode())
    for changes in ({"transfer": "none", "dataset_dir": published}, {"image_dir": names, "image_format": "fits"}):
        main(user.changed(label_file=tmp_path / "again.txt", **changes))
        assert (tmp_path / "again.txt").read_text() == expected
    with pytest.raises(SystemExit, match="there are .png images; set --image-format png"):
        main(user.changed(image_format="fits"))
    with pytest.raises(SystemExit, match="NNNN folders are in '.*Lat60_Lon60_Nans0_png_16'"):
        main(user.changed(image_dir=tmp_path))


@pytest.mark.parametrize("place", ["run[1]", "a$HOME", "Dropbox (Uni) ä", "-!*"])
def test_any_path_is_a_path(tmp_path: Path, monkeypatch, place):
    write_archive(tmp_path / place / "data", hours=24)
    monkeypatch.chdir(tmp_path / place)
    main(UserDefinitions(n_jobs=1))
    assert len(labels(tmp_path / place / "data")) == 7
    assert (tmp_path / place / "data" / "eventList.txt").exists()


def test_compressed_images_keep_their_ending_and_what_contradicts_a_header_is_reported(tmp_path: Path, capsys):
    write_archive(tmp_path, hours=24)
    for path in (tmp_path / "active_regions").rglob("*.fits"):
        write_field(path, header=[("CROTA2", 179.9)])
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for _ in range(2):
        main(settings(tmp_path, tmp_path))
        assert f"Warning: 7 images: {NOT_NORTH_UP}" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "dataset").rglob("*.gz")} == set(rows(tmp_path))
    main(settings(tmp_path, tmp_path / "png", image_format="png"))
    assert len(list((tmp_path / "png" / "dataset").rglob("*.magnetogram.png"))) == 7


@pytest.mark.parametrize("changes", [{}, {"image_format": "png"}, {"transfer": "copy"}])
def test_equal_bytes_for_one_and_two_workers_and_a_second_run(archive: Path, tmp_path: Path, changes, monkeypatch):
    monkeypatch.setattr(pixels, "BATCH", 3)
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
from general_code import generate_dataset
from general_code.dataset import pixels
screen, batches = pixels._screen_batch, []
def stop(*arguments):
    batches.append(arguments)
    if len(batches) == 2:
        os.kill(os.getpid(), {how:d})
    return screen(*arguments)
pixels._screen_batch = stop
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
    assert stopped.returncode == status and "Traceback" not in stopped.stderr, stopped.stderr
    assert not (tmp_path / "b" / "Labels.txt").exists()
    result = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=True)
    assert f"known from an earlier run: {pixels.BATCH}" in result.stdout
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b")


@pytest.mark.parametrize(("changes", "message"), [
    ({"image_dir": Path("nowhere")}, "image_dir: expected a folder of"),
    ({"srs_dir": Path("nowhere")}, "srs_dir: expected a folder"),
    ({"events_dir": Path("nowhere")}, "events_dir: expected a folder at 'nowhere'"),
    ({"events_dir": ""}, "event_list: expected a list at .* neither: no events_dir is set"),
    ({"max_longitude_deg": 0.001}, "no image of .* is left within .* outside the limits"),
    ({"as_published": True, "latency_minutes": 5.0}, "as_published: .* got latency_minutes 5 and flare_scale as_rep"),
    ({"as_published": True, "flare_scale": "modern"}, "leave them at 0 and as_reported, or as_published at False"),
    ({"dataset_dir": Path(__file__)}, "dataset_dir: expected a folder, or nothing yet")])
def test_errors_end_with_one_line(archive: Path, tmp_path: Path, changes, message):
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


def test_an_image_named_as_label_file_is_left_alone(archive: Path, tmp_path: Path):
    image = next((archive / "active_regions").rglob("*.fits"))
    before = image.read_bytes()
    with pytest.raises(SystemExit, match="label_file .* lies in, image_dir .* which this stage never changes"):
        main(settings(archive, tmp_path, label_file=image))
    assert image.read_bytes() == before


def test_bad_images_are_listed_and_the_rest_used(tmp_path: Path):
    write_archive(tmp_path, hours=24)
    folder = tmp_path / "active_regions" / "1428"
    images = sorted(folder.iterdir())
    images[0].write_bytes(b"")
    images[1].write_bytes(images[1].read_bytes()[:3000])
    (folder / "notes.txt").write_text("x")
    not_text = folder / os.fsdecode(b"1428_\xff.fits")
    with suppress(OSError):  # some file systems take no such name
        not_text.touch()
    occupied = tmp_path / "out" / "dataset" / "1428" / f"1428_{images[2].name}"
    occupied.parent.mkdir(parents=True)
    occupied.write_bytes(b"something else")

    def sources():
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*")
                if path.is_file() and "out" not in path.parts}

    before = sources()
    main(settings(tmp_path, tmp_path / "out"))
    assert sources() == before
    reasons = excluded(tmp_path / "out")
    assert reasons[f"1428/{images[0].name}"] == reasons[f"1428/{images[1].name}"] == "unreadable image"
    assert reasons[f"1428/{images[2].name}"] == "another file in its place"
    for name in ("notes.txt", r"1428_\udcff.fits")[:1 + not_text.exists()]:
        assert reasons[f"1428/{name}"] == "not a magnetogram's file name"
    assert occupied.read_bytes() == b"something else"
    assert not any(key.startswith(("1428 06", "1428 07", "1428 08")) for key in labels(tmp_path / "out"))


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
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="not enough space .* for PNG images .* miss"):
        patch.setattr(stage_files.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 999, 1))
        main(settings(archive, tmp_path, image_format="png"))
    assert not list(tmp_path.rglob("*.png"))
    monkeypatch.setattr(pixels, "write_png", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(SystemExit, match="the disk is full, .* free some and start again, what is done is kept"):
        main(settings(archive, tmp_path, image_format="png"))


def test_observed_images(shared_data: Path, noaa_archive: Path, tmp_path: Path):
    main(settings(noaa_archive, tmp_path, image_dir=shared_data / "active_regions"))
    found = rows(tmp_path)
    image = "{}_hmi.M_720s.{}_TAI.1.magnetogram.fits"
    assert found[image.format("1158", "20110214_000000")] == "M2.2"  # X2.2 of 15 February 01:56 is 26 h away
    assert found[image.format("1158", "20110214_020000")] == "X2.2"
    assert found[image.format("1429", "20120306_142400")] == "X5.4"
    assert found[image.format("2205", "20141106_180000")] == "X1.6"
    assert found[image.format("1375", "20111217_060000")] == "0"
    reasons = excluded(tmp_path)
    assert reasons.index[reasons == "outside the limits"].str[:4].tolist() == ["1423"]
    # 1376 has rows on 15 and 18 December, so its image of the 17th lies in a hole and is interpolated
    assert reasons.index[reasons == "no position"].str[:4].tolist() == ["1379", "1424", "2561"]
    assert image.format("1376", "20111217_060000") in found
    assert len(found) == 45


@pytest.mark.parametrize("as_published", [False, True])
def test_shares_of_flaring_images_by_published_split(shared_data: Path, noaa_archive: Path, tmp_path: Path,
                                                     as_published):
    write_names(shared_data / "published" / "ARList.txt", tmp_path / "names.txt", every=10)  # every second hour
    main(settings(noaa_archive, tmp_path, image_dir=tmp_path / "names.txt", as_published=as_published,
                  event_list=shared_data / "published" / "eventList.txt"))
    table = split_table(tmp_path / "Labels.txt", shared_data / "published")
    print(table.to_string(index=False, float_format="{:.4f}".format))  # with pytest -s: beside the published numbers
    shares, published = table.iloc[:, 7], table.iloc[:, 8]
    assert published.round(4).tolist() == [0.1965, 0.2063, 0.2273]
    assert (abs(shares - published) < 0.005).all()
    assert table.iloc[:, 1].tolist() == [1256, 157, 157]
