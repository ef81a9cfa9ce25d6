"""Stage 4 as a user runs it: equal bytes however it is run, killed or resumed; every bad input with its own reason."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from classifier_SVM.BuildMasterFeatureSet_mp import BYTES_A_ROW, main
from classifier_SVM.feature_rows import row_of_image, rows_of_chunk
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, read_feature_table
from classifier_SVM.FunctionsP3 import FEATURE_VERSION
from general_code.magnetograms import gauss_to_grey, write_magnetogram
from tests import plain_features
from tests.feature_dataset import (
    IMAGES,
    SCRIPT,
    command,
    exclusions,
    field,
    image_name,
    link_dataset,
    make_dataset,
    settings,
    wait_for,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Return the folder of a data set that is not to be changed."""
    return link_dataset(tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def undisturbed(dataset) -> bytes:
    """Return the table that one process makes without interruption."""
    main(settings(dataset, "undisturbed.csv"))
    return (dataset / "results" / "undisturbed.csv").read_bytes()


# ---------------------------------------------------------------------------- the table


def test_the_table_has_features_class_flare_class_and_name(dataset, undisturbed):
    rows = [line.split(",") for line in undisturbed.decode().splitlines()]
    assert [row[31] for row in rows] == sorted(image_name(number) for number in range(IMAGES))
    assert all(row[29:31] == (["1", "C4.7"] if int(row[31][25:31]) % 2 else ["0", "0"]) for row in rows)
    for row in rows:
        assert row[:29] == [repr(float(text)) for text in row[:29]]
    for row in rows[::5]:
        expected = plain_features.image_features(field(int(row[31][25:31]) % 24))
        np.testing.assert_allclose(np.array(row[:29], dtype=float), expected, rtol=1e-9, atol=1e-9)
    table = read_feature_table(dataset / "results" / "undisturbed.csv")
    assert table.shape == (IMAGES, 32) and tuple(table.columns[:29]) == FEATURE_NAMES


def test_started_from_another_folder_on_two_processes_it_writes_the_same_bytes(dataset, undisturbed, tmp_path):
    done = subprocess.run(command(dataset, "two.csv", "--n-jobs", "2", "--chunk-files", "3"), cwd=tmp_path,
                          capture_output=True, text=True, check=True)
    assert (dataset / "results" / "two.csv").read_bytes() == undisturbed
    assert f"Wrote {IMAGES} rows of 29 features" in done.stdout
    assert done.stdout.rstrip().endswith("Nothing was left out.")
    assert "images/s" in done.stderr
    assert json.loads((dataset / "results" / "two.csv.json").read_text())["counts"]["rows written"] == IMAGES
    assert not list(tmp_path.iterdir())


def test_help_shows_every_setting_with_its_comment():
    text = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True).stdout
    for setting in ("--label-file", "--dataset-dir", "--feature-file", "--image-format", "--n-jobs",
                    "--dask-scheduler", "--chunk-files", "--resume"):
        assert setting in text
    assert "all cores" in text


def test_png_images_count_grey_levels_from_128(tmp_path):
    folder = make_dataset(tmp_path, 3, "png")
    (folder / "Labels.txt").write_text((folder / "Labels.txt").read_text().replace(".png", ".fits"))
    main(settings(folder, image_format="png"))
    table = read_feature_table(folder / "results" / "features.csv")
    assert sorted(table["filename"]) == sorted(image_name(number, "png") for number in range(3))
    expected = plain_features.image_features(gauss_to_grey(field(1), 10.0) - 128.0)
    row = table.loc[table["filename"] == image_name(1, "png"), list(FEATURE_NAMES)].to_numpy()[0]
    np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:`apply_async` is deprecated:DeprecationWarning")  # joblib's own backend calls it
def test_the_observed_images_have_the_golden_features_however_they_are_run(shared_data, tmp_path):
    """Tolerance: the order of summation leaves 1e-14; feature 4, the smallest gradient, is zero up to rounding."""
    from distributed import LocalCluster

    golden = pd.read_csv(shared_data / "golden_features.csv", header=None).sort_values(29, ignore_index=True)
    for name in golden[29]:
        path = tmp_path / "dataset" / name[:4] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(shared_data / "active_regions" / name[:4] / name[5:])
    (tmp_path / "Labels.txt").write_text("".join(f"{name},C1.0\n" for name in golden[29]))
    for jobs in (1, 2):
        main(settings(tmp_path, f"{jobs}.csv", n_jobs=jobs))
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        main(settings(tmp_path, "dask.csv", dask_scheduler=cluster.scheduler_address))
    tables = [(tmp_path / "results" / name).read_bytes() for name in ("1.csv", "2.csv", "dask.csv")]
    assert tables[0] == tables[1] == tables[2]
    table = read_feature_table(tmp_path / "results" / "1.csv")
    assert table["filename"].tolist() == golden[29].tolist()
    expected = golden[range(29)].to_numpy(dtype=float)
    tolerance = np.where(np.arange(29) == 3, 1e-9, 1e-9 * np.abs(expected))
    assert (np.abs(table[list(FEATURE_NAMES)].to_numpy() - expected) <= tolerance).all()


# ---------------------------------------------------------------------------- interrupted and resumed


def test_a_second_start_computes_nothing(dataset, undisturbed, capsys, monkeypatch):
    monkeypatch.setattr("classifier_SVM.chunk_runners.rows_of_chunk", None)
    main(settings(dataset, "undisturbed.csv"))
    assert "Already finished: nothing to compute" in capsys.readouterr().out
    assert (dataset / "results" / "undisturbed.csv").read_bytes() == undisturbed


def count_computed(monkeypatch) -> list[str]:
    """Return a list that gets the name of each image computed from now on, in this process."""
    computed = []

    def counted(paths):
        computed.extend(Path(path).name for path in paths)
        return rows_of_chunk(paths)

    monkeypatch.setattr("classifier_SVM.chunk_runners.rows_of_chunk", counted)
    return computed


def test_only_new_and_changed_images_are_computed(tmp_path, monkeypatch):
    folder = make_dataset(tmp_path, 6)
    main(settings(folder))
    make_dataset(tmp_path / "more", 9)
    for number in (7, 8):
        name = image_name(number)
        shutil.copy(tmp_path / "more" / "dataset" / name[:4] / name, folder / "dataset" / name[:4] / name)
    write_magnetogram(folder / "dataset" / image_name(2)[:4] / image_name(2), field(99))
    labels = (tmp_path / "more" / "Labels.txt").read_text().replace("C4.7", "M1.0")
    (folder / "Labels.txt").write_text(labels)
    computed = count_computed(monkeypatch)
    main(settings(folder))
    assert sorted(computed) == sorted(image_name(number) for number in (2, 7, 8))
    main(settings(folder, "fresh.csv"))
    table = (folder / "results" / "features.csv").read_bytes()
    assert table == (folder / "results" / "fresh.csv").read_bytes() and b"M1.0" in table
    assert exclusions(folder / "results" / "features.csv") == {
        Path(image_name(6)).stem: ("label without an image", "")}


def test_resume_false_and_another_version_compute_all_again(tmp_path, monkeypatch, capsys):
    folder = make_dataset(tmp_path, 3)
    main(settings(folder))
    computed = count_computed(monkeypatch)
    main(settings(folder, resume=False))
    assert len(computed) == 3
    monkeypatch.setattr("classifier_SVM.BuildMasterFeatureSet_mp.FEATURE_VERSION", FEATURE_VERSION + "+")
    main(settings(folder))
    assert len(computed) == 6 and "other feature definitions: not used" in capsys.readouterr().out


def test_the_progress_counts_what_is_left_out_as_it_comes_and_from_before(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("general_code.progress.SECONDS_BETWEEN_PLAIN_LINES", 0.0)
    folder = make_dataset(tmp_path, 5)
    images = [folder / "dataset" / image_name(number)[:4] / image_name(number) for number in range(5)]
    for path in (images[0], images[3]):
        path.write_bytes(b"")
    (folder / "Labels.txt").write_text((folder / "Labels.txt").read_text() + "no_such_image,0\n")
    main(settings(folder, chunk_files=1))
    counts = [int(line.split()[-3]) for line in capsys.readouterr().err.splitlines() if line.endswith("left out")]
    assert counts[0] == 2 and counts[1:] == [3] * (len(counts) - 1), "the label, and two images as they come"
    write_magnetogram(images[1], field(99))
    main(settings(folder))
    assert capsys.readouterr().err.splitlines()[-1].endswith("3 left out")


def test_the_space_for_what_is_still_to_be_computed_is_checked_before(tmp_path, monkeypatch):
    folder, asked = make_dataset(tmp_path, 4), []
    room = "classifier_SVM.BuildMasterFeatureSet_mp"
    monkeypatch.setattr(f"{room}.require_free_space", lambda folder, needed, purpose: asked.append(needed))
    main(settings(folder))
    main(settings(folder))
    assert asked == [8 * BYTES_A_ROW, 4 * BYTES_A_ROW]
    lines = (folder / "results" / "features.csv.rows").read_bytes().splitlines(keepends=True)
    assert max(map(len, lines)) < BYTES_A_ROW
    monkeypatch.undo()
    monkeypatch.setattr("general_code.stage_files.shutil.disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(SystemExit, match="not enough space in .* for the table of 4 images and the rows of 0"):
        main(settings(folder))


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_it_goes_on_where_it_was(dataset, undisturbed, sign, tmp_path, capsys):
    """Waiting for the end of the output is waiting for the worker processes, too: none is left behind."""
    output = f"{sign.name}.csv"
    rows = dataset / "results" / f"{output}.rows"
    process = subprocess.Popen(command(dataset, output, "--n-jobs", "2", "--chunk-files", "1"), cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: rows.is_file() and rows.read_bytes().count(b"\n") > 4, process)
    os.kill(process.pid, sign) if sign == signal.SIGKILL else os.killpg(process.pid, sign)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (-9 if sign == signal.SIGKILL else 130)
    assert "Traceback" not in errors
    assert not (dataset / "results" / output).exists()
    kept = rows.read_bytes().count(b"\n") - 1
    with rows.open("ab") as file:
        file.write(b"0badc0de\ta line that a kill cut sho")
    main(settings(dataset, output))
    assert f"Computing {IMAGES - kept} images; {kept} were computed before" in capsys.readouterr().out
    assert (dataset / "results" / output).read_bytes() == undisturbed


# ---------------------------------------------------------------------------- bad input


def test_each_bad_input_is_left_out_with_its_own_reason(tmp_path):
    folder = make_dataset(tmp_path, 14)
    images = [folder / "dataset" / image_name(number)[:4] / image_name(number) for number in range(14)]
    bad = field(0)
    bad[3, 4] = np.nan
    write_magnetogram(images[0], bad)
    write_magnetogram(images[1], np.full((40, 40), 5.0))
    write_magnetogram(images[2], field(0)[:1, :1])
    write_magnetogram(images[3], field(0)[:9, :9])
    write_magnetogram(images[4], field(0, (31, 600)))
    images[5].write_bytes(images[6].read_bytes()[:4000])
    images[6].write_bytes(b"")
    images[7].unlink()
    images[7].mkdir()
    write_infinite(images[8])
    images[9].write_text("SIMPLE  = a text, not an image")
    images[10].unlink()
    labels = (folder / "Labels.txt").read_text().splitlines()
    labels[11] = labels[11].replace("C4.7", "C4,7")
    (folder / "Labels.txt").write_text("\n".join([*labels, labels[12], "no_such_image.fits,0", "garbage"]))
    main(settings(folder))
    left_out = {name: reason for name, (reason, _) in exclusions(folder / "results" / "features.csv").items()}
    assert left_out == {
        image_name(0): "NaN pixels", image_name(1): "constant image", image_name(2): "smaller than 32x32",
        image_name(3): "smaller than 32x32", image_name(4): "smaller than 32x32",
        image_name(5): "not a readable FITS image", image_name(6): "the file is empty",
        image_name(7): "a folder, not a file", image_name(8): "infinite pixels",
        image_name(9): "not a readable FITS image", Path(image_name(10)).stem: "label without an image",
        "Labels.txt, line 12": "label not understood", image_name(11): "image without a label",
        Path(image_name(12)).stem: "label repeated", "no_such_image": "label without an image",
        "Labels.txt, line 17": "label not understood"}
    assert sorted(read_feature_table(folder / "results" / "features.csv")["filename"]) == sorted(
        [image_name(12), image_name(13)])


def test_without_a_single_row_an_earlier_table_stays_and_the_reasons_are_written(tmp_path):
    folder = make_dataset(tmp_path, 2)
    main(settings(folder))
    table = (folder / "results" / "features.csv").read_bytes()
    for number in range(2):
        write_magnetogram(folder / "dataset" / image_name(number)[:4] / image_name(number), np.full((40, 40), 5.0))
    with pytest.raises(SystemExit, match="no row for .*not one of the 2 images with a label has features"):
        main(settings(folder))
    assert (folder / "results" / "features.csv").read_bytes() == table
    reasons = {reason for reason, _ in exclusions(folder / "results" / "features.csv.failed").values()}
    assert reasons == {"constant image"}


def test_a_folder_that_must_not_be_entered_is_a_reason_not_the_end(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    path = tmp_path / "1000" / "image.fits"
    for question in ("exists", "is_file", "is_dir", "stat"):
        monkeypatch.setattr(Path, question, refuse)
    assert row_of_image(path) == "?cannot be reached\tcannot be reached (Permission denied)"


def write_infinite(path: Path) -> None:
    """Write a FITS image of real numbers with an infinite pixel."""
    from astropy.io import fits

    pixels = field(0)
    pixels[1, 2] = np.inf
    fits.PrimaryHDU(pixels).writeto(path, overwrite=True)


@pytest.mark.parametrize(("mode", "found"), [("RGB", "RGB"), ("I;16", "I;16"), ("1", "1")])
def test_a_png_of_another_mode_is_left_out(tmp_path, mode, found):
    path = tmp_path / "image.png"
    Image.new(mode, (40, 40)).save(path)
    assert row_of_image(path) == f"!expected an 8-bit grey PNG\texpected an 8-bit grey PNG (mode L), got mode {found}"


def test_a_file_that_cannot_be_read_now_is_tried_again_next_time(tmp_path, monkeypatch):
    folder = make_dataset(tmp_path, 2)
    with monkeypatch.context() as locked:
        locked.setattr("classifier_SVM.feature_rows.os.access",
                       lambda path, mode: mode == os.F_OK or path.name != image_name(1))
        main(settings(folder))
    assert exclusions(folder / "results" / "features.csv")[image_name(1)][0] == "no permission to read"
    computed = count_computed(monkeypatch)
    main(settings(folder))
    assert computed == [image_name(1)] and not exclusions(folder / "results" / "features.csv")


@pytest.mark.parametrize(("change", "message"), [
    ({"label_file": Path("none.txt")}, "label_file: expected a file at 'none.txt'"),
    ({"dataset_dir": Path("none")}, "dataset_dir: expected a folder"),
    ({"image_format": "png"}, "expected .png images, found none"),
    ({"n_jobs": 0}, "n_jobs: expected -1"),
    ({"chunk_files": 0}, "chunk_files: expected a number from 1, got 0"),
])
def test_settings_that_cannot_work_end_with_one_line(dataset, change, message):
    with pytest.raises(SystemExit, match=message) as ended:
        main(settings(dataset, "none.csv", **change))
    assert "\n" not in str(ended.value)


def test_an_output_that_is_an_input_is_refused(dataset):
    labels = (dataset / "Labels.txt").read_bytes()
    with pytest.raises(SystemExit, match="is an input of this stage"):
        main(settings(dataset, feature_file=dataset / "Labels.txt"))
    assert (dataset / "Labels.txt").read_bytes() == labels
