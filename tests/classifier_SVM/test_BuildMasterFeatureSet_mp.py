"""Stage 4 as a user runs it: equal bytes however it is run, killed or resumed; every bad input with its own reason."""

import errno
import gzip
import json
import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

from classifier_SVM.BuildMasterFeatureSet_mp import BYTES_A_ROW, exclude_odd_names, main
from classifier_SVM.feature_table.workers import row_of_image
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, read_feature_table
from general_code.images.magnetograms import gauss_to_grey, write_magnetogram
from tests import plain_features
from tests.feature_dataset import (
    IMAGES,
    command,
    exclusions,
    field,
    image_name,
    image_number,
    image_path,
    label_dataset,
    make_dataset,
    settings,
    start,
)


def test_the_table_has_features_class_flare_class_and_name(dataset, undisturbed):
    rows = [line.split(",") for line in undisturbed.decode().splitlines()]
    assert [row[31] for row in rows] == sorted(image_name(number) for number in range(IMAGES))
    assert all(row[29:31] == (["1", "C4.7"] if image_number(row[31]) % 2 else ["0", "0"]) for row in rows)
    for row in rows:
        assert row[:29] == [repr(float(text)) for text in row[:29]]
    for row in rows[::5]:
        expected = plain_features.image_features(field(image_number(row[31]) % 24))
        np.testing.assert_allclose(np.array(row[:29], dtype=float), expected, rtol=1e-9, atol=1e-9)
    table = read_feature_table(dataset / "results" / "undisturbed.csv")
    assert table.shape == (IMAGES, 32) and tuple(table.columns[:29]) == FEATURE_NAMES


def test_started_from_another_folder_on_two_processes_it_writes_the_same_bytes(dataset, undisturbed, tmp_path):
    done = subprocess.run(command(dataset, "two.csv", "--n-jobs", "2", "--chunk-files", "3"), cwd=tmp_path,
                          capture_output=True, text=True, check=True)
    assert (dataset / "results" / "two.csv").read_bytes() == undisturbed
    assert f"Wrote {IMAGES} rows of 29 features" in done.stdout
    assert done.stdout.rstrip().endswith("Nothing was excluded.") and "images/s" in done.stderr
    counts = json.loads((dataset / "results" / "two.csv.json").read_text())["counts"]
    assert counts["rows written"] == IMAGES and counts["image_pixels"] == [40, 44]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("image_format", "ending", "labelled"), [
    ("png", "_224.png", "_224.png"), ("png", "_224.png", ".fits"), ("png", ".PNG", "_224.png"), ("png", ".png", ""),
    ("fits", ".fits.gz", ".fits"), ("fits", ".FITS", "_224.png")])
def test_images_are_matched_by_what_their_names_say(tmp_path, image_format, ending, labelled):
    """The published PNG images have their size in the name; a folder may be called anything."""
    folder = make_dataset(tmp_path / "run[1] a$HOME ü", 3, image_format)
    for number in range(3):
        path = image_path(folder, number, f".{image_format}")
        if ending.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
        path.rename(image_path(folder, number, ending))
    label_dataset(folder, 3, labelled)
    main(settings(folder, image_format=image_format))
    table = read_feature_table(folder / "results" / "features.csv")
    assert table["filename"].tolist() == sorted(image_name(number, ending) for number in range(3))
    assert table["class"].tolist() == [0, 1, 0] and not exclusions(folder / "results" / "features.csv")
    image = gauss_to_grey(field(1), 10.0) - 128.0 if image_format == "png" else field(1)
    row = table.loc[table["class"] == 1, list(FEATURE_NAMES)].to_numpy()[0]
    np.testing.assert_allclose(row, plain_features.image_features(image), rtol=1e-9, atol=1e-9)


def count_computed(monkeypatch) -> list[str]:
    """Return a list that gets the name of each image computed from now on, in this process."""
    computed = []

    def counted(path, remarks):
        computed.append(path.name)
        return row_of_image(path, remarks)

    monkeypatch.setattr("classifier_SVM.feature_table.workers.row_of_image", counted)
    return computed


def test_only_new_and_changed_images_are_computed(tmp_path, monkeypatch, capsys):
    folder = make_dataset(tmp_path, 6)
    main(settings(folder))
    for number, seed in ((2, 99), (7, 7), (8, 8)):
        write_magnetogram(image_path(folder, number), field(seed))
    labels = label_dataset(folder, 9) / "Labels.txt"
    labels.write_text(labels.read_text().replace("C4.7", "M1.0"))
    computed = count_computed(monkeypatch)
    main(settings(folder))
    assert sorted(computed) == sorted(image_name(number) for number in (2, 7, 8))
    table = (folder / "results" / "features.csv").read_bytes()
    main(settings(folder))
    assert len(computed) == 3 and "Already finished: nothing to compute" in capsys.readouterr().out
    main(settings(folder, "fresh.csv"))
    for name in ("features.csv", "fresh.csv"):
        assert (folder / "results" / name).read_bytes() == table and b"M1.0" in table
    assert exclusions(folder / "results" / "features.csv") == {image_name(6): ("label without an image", "")}


def test_resume_false_and_another_version_compute_all_again(tmp_path, monkeypatch, capsys):
    folder, computed = make_dataset(tmp_path, 3), count_computed(monkeypatch)
    main(settings(folder))
    main(settings(folder, resume=False))
    monkeypatch.setattr("classifier_SVM.BuildMasterFeatureSet_mp.ROWS_MADE_WITH", "other definitions")
    main(settings(folder))
    assert len(computed) == 9 and capsys.readouterr().out.count("other feature definitions: not used") == 1


def test_the_progress_counts_what_is_excluded_as_it_comes_and_from_before(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("general_code.stage.run.SECONDS_BETWEEN_PLAIN_LINES", 0.0)
    folder = make_dataset(tmp_path, 5)
    for number in (0, 3):
        image_path(folder, number).write_bytes(b"")
    with (folder / "Labels.txt").open("a") as file:
        file.write("no_such_image,0\n")
    main(settings(folder, chunk_files=1))
    counts = [int(line.split()[-2]) for line in capsys.readouterr().err.splitlines() if line.endswith("excluded")]
    assert counts[0] == 2 and counts[1:] == [3] * (len(counts) - 1), "the label, and two images as they come"
    write_magnetogram(image_path(folder, 1), field(99))
    main(settings(folder))
    assert capsys.readouterr().err.splitlines()[-1].endswith("3 excluded")


def test_the_space_for_what_is_still_to_be_computed_is_checked_before(tmp_path, monkeypatch):
    folder, asked = make_dataset(tmp_path, 4), []
    monkeypatch.setattr("classifier_SVM.BuildMasterFeatureSet_mp.require_free_space",
                        lambda folder, needed, purpose: asked.append(needed))
    main(settings(folder))
    main(settings(folder))
    assert asked == [8 * BYTES_A_ROW, 4 * BYTES_A_ROW]
    lines = (folder / "results" / "features.csv.rows").read_bytes().splitlines(keepends=True)
    assert max(map(len, lines)) < BYTES_A_ROW
    monkeypatch.undo()
    monkeypatch.setattr("general_code.stage.files.shutil.disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(SystemExit, match="not enough space in .* for the table of 4 images and the rows of 0"):
        main(settings(folder))


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_killed_or_interrupted_it_goes_on_where_it_was(dataset, undisturbed, sign, tmp_path, capsys):
    """Waiting for the end of the output is waiting for the worker processes, too: none is left behind."""
    output = f"{sign.name}.csv"
    process, rows = start(dataset, output, tmp_path, "--n-jobs", "2")
    os.kill(process.pid, sign) if sign == signal.SIGKILL else os.killpg(process.pid, sign)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (-9 if sign == signal.SIGKILL else 130)
    assert "Traceback" not in errors and not (dataset / "results" / output).exists()
    kept = rows.read_bytes().count(b"\n") - 1
    with rows.open("ab") as file:
        file.write(b"0badc0de\ta line that a kill cut sho")
    main(settings(dataset, output))
    assert f"Computing {IMAGES - kept} images; computed before: {kept}\n" in capsys.readouterr().out
    assert (dataset / "results" / output).read_bytes() == undisturbed


def test_each_bad_input_is_excluded_with_its_own_reason(tmp_path, capsys):
    folder = make_dataset(tmp_path, 15)
    images = [image_path(folder, number) for number in range(15)]
    holed, infinite = field(0), field(0)
    holed[3, 4], infinite[1, 2] = np.nan, np.inf
    for path, pixels in zip(images, (holed, np.full((40, 40), 5.0), field(0)[:1, :1], field(0)[:9, :9],
                                     field(0, (31, 600))), strict=False):
        write_magnetogram(path, pixels)
    images[5].write_bytes(images[6].read_bytes()[:4000])
    images[6].write_bytes(b"")
    images[7].unlink()
    images[7].mkdir()
    fits.PrimaryHDU(infinite).writeto(images[8], overwrite=True)
    images[9].write_text("SIMPLE  = a text, not an image")
    images[10].unlink()
    write_magnetogram(images[14], field(0), [("CROTA2", 180.0)])
    labels = (folder / "Labels.txt").read_text().splitlines()
    labels[11] = labels[11].replace("C4.7", "C4,7")
    (folder / "Labels.txt").write_text("\n".join([*labels, labels[12], "no_such_image.fits,0", "garbage"]))
    main(settings(folder))
    small, unreadable, no_image = "smaller than 32x32", "not a readable FITS image", "label without an image"
    reasons = ["NaN pixels", "constant image", small, small, small, unreadable, "the file is empty",
               "a folder, not a file", "infinite pixels", unreadable, no_image, "image without a label",
               "label repeated"]
    excluded = {name.removesuffix(".fits"): reason
                for name, (reason, _) in exclusions(folder / "results" / "features.csv").items()}
    assert excluded == {Path(image_name(number)).stem: reason for number, reason in enumerate(reasons)} | {
        "Labels.txt, line 12": "label not understood", "no_such_image": no_image,
        "Labels.txt, line 18": "label not understood"}
    table = read_feature_table(folder / "results" / "features.csv")
    assert sorted(table["filename"]) == sorted(image_name(number) for number in (12, 13, 14))
    output = capsys.readouterr().out
    assert "Warning: 1 images: not north up" in output and "        3  smaller than 32x32" in output


def test_without_a_single_row_an_earlier_table_stays_and_the_reasons_are_written(tmp_path):
    folder, output = make_dataset(tmp_path, 1), tmp_path / "results" / "features.csv"
    main(settings(folder))
    table = output.read_bytes()
    write_magnetogram(image_path(folder, 0), np.full((40, 40), 5.0))
    with pytest.raises(SystemExit, match="no row for .*: 0 of 1 image with a label gave features"):
        main(settings(folder))
    assert output.read_bytes() == table
    assert exclusions(Path(f"{output}.failed"))[image_name(0)][0] == "constant image"


@pytest.mark.parametrize("error", [errno.EACCES, errno.EMFILE, errno.ESTALE, errno.EIO])
def test_a_file_that_cannot_be_read_now_is_tried_again_next_time(tmp_path, monkeypatch, error):
    folder = make_dataset(tmp_path, 2)

    def refuse(path, *mode, open=Path.open, **options):
        if path.name == image_name(1):
            raise OSError(error, os.strerror(error), str(path))
        return open(path, *mode, **options)

    with monkeypatch.context() as locked:
        locked.setattr(Path, "open", refuse)
        main(settings(folder))
    assert exclusions(folder / "results" / "features.csv")[image_name(1)][0] == "cannot be reached"
    computed = count_computed(monkeypatch)
    main(settings(folder))
    assert computed == [image_name(1)] and not exclusions(folder / "results" / "features.csv")


def test_names_that_a_table_cannot_hold_and_times_that_do_not_exist_are_excluded():
    excluded = []
    run = SimpleNamespace(exclude=lambda name, reason, subject: excluded.append((name, reason)))
    odd = ["a,b.fits", 'a"b.fits', "a;b.fits"]
    no_time = [image_name(1).replace("20110215", day) for day in ("00000101", "20110230", "20111301")]
    images = pd.DataFrame({"filename": ["a b.fits", *odd, image_name(1), *no_time, "ü.fits"]})
    assert exclude_odd_names(images, run)["filename"].tolist() == ["a b.fits", image_name(1), "ü.fits"]
    assert excluded == [*((name, "file name with a comma, semicolon or quote") for name in odd),
                        *((name, "no such time") for name in no_time)]


@pytest.mark.parametrize(("change", "message"), [
    ({"label_file": Path("none.txt")}, "label_file: expected a file at 'none.txt'"),
    ({"dataset_dir": Path("none")}, "dataset_dir: expected a folder"),
    ({"image_format": "png"}, "expected .png images in .*, found none; there are .fits images"),
    ({"feature_file": Path("Labels.txt")}, "is an input of this stage"),
])
def test_settings_that_cannot_work_end_with_one_line(dataset, change, message, monkeypatch):
    monkeypatch.chdir(dataset)
    labels = (dataset / "Labels.txt").read_bytes()
    with pytest.raises(SystemExit, match=message) as ended:
        main(settings(dataset, "none.csv", **change))
    assert "\n" not in str(ended.value) and (dataset / "Labels.txt").read_bytes() == labels
