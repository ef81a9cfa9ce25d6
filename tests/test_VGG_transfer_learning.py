"""Stage 7: two ways to the same head, the cache, interruption, outputs, and what users get wrong."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from feature_dataset import wait_for
from vgg_lab import NARROW, make_dataset, refuse, settings

from classifier_SVM.Forecast_AR import UserDefinitions as ForecastDefinitions
from classifier_SVM.Forecast_AR import main as forecast
from classifier_VGG import vgg_experiment, vgg_forecast, vgg_modes, weight_source
from classifier_VGG.vgg16_network import assemble, build_backbone, new_head
from classifier_VGG.vgg16_weights import kernel_shapes, random_weights
from classifier_VGG.VGG_transfer_learning import main
from general_code.stage_run import StageRun

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras' variables under numpy 2
SCRIPT = Path(__file__).resolve().parents[1] / "classifier_VGG" / "VGG_transfer_learning.py"
EPOCHS = 3


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Images, lists, and a narrow network in the arrangement of the full one."""
    folder = tmp_path_factory.mktemp("vgg")
    make_dataset(folder)
    build_backbone(random_weights(3, **NARROW)).save(folder / "narrow.keras")
    return folder


def heads(lab, suffix, epoch=EPOCHS):
    """Return weights and bias of an epoch's head."""
    return keras.saving.load_model(lab / "VGG" / f"head_VGG{suffix}_epoch_{epoch:03}.keras").get_weights()


def history(lab, suffix):
    """Return the history."""
    return pd.read_csv(lab / "VGG" / f"history{suffix}.csv")


def probabilities(lab, suffix, images):
    """Return what the assembled model says of images."""
    return keras.saving.load_model(lab / "VGG" / f"VGG_model{suffix}.keras").predict_on_batch(images)


@pytest.fixture(scope="module")
def cached(lab):
    """The stage run on FITS in its default way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(lab)
        main(settings(lab, suffix="_cached"))
    return lab


# ---------------------------------------------------------------------------- equality


@pytest.mark.parametrize(("image_format", "extract_dtype"), [("fits", "float32"), ("png", "bfloat16")])
def test_both_ways_train_the_same_head(lab, cached, image_format, extract_dtype):
    epochs = EPOCHS if image_format == "fits" else 1
    common = {"image_format": image_format, "dataset_dir": lab / image_format, "extract_dtype": extract_dtype,
              "epochs": epochs}
    if image_format == "png":
        main(settings(lab, suffix="_cached2", **common))
    main(settings(lab, suffix="_whole", mode="end_to_end", **common))
    suffix = "_cached" if image_format == "fits" else "_cached2"
    for epoch in range(1, epochs + 1):
        for one, two in zip(heads(lab, suffix, epoch), heads(lab, "_whole", epoch), strict=True):
            assert np.abs(one - two).max() < 1e-5
    moved = np.abs(heads(lab, suffix, epochs)[0] - new_head(64, 0, 0.01).get_weights()[0]).max()
    assert moved > 1e-3, "the heads are equal because they learn the same, not because they learn nothing"
    assert np.allclose(history(lab, suffix), history(lab, "_whole"), atol=1e-5, equal_nan=True)


def test_a_float16_cache_gives_nearly_the_same_probabilities(lab, cached):
    main(settings(lab, suffix="_half", cache_dtype="float16"))
    images = np.random.default_rng(0).uniform(100, 150, (16, 224, 224, 1)).astype(np.float32)
    difference = np.abs(probabilities(lab, "_cached", images) - probabilities(lab, "_half", images)).max()
    assert 0 < difference < 2e-3
    sizes = {path.parent.name: path.stat().st_size for path in (lab / "cache").glob("features_*/rows.bin")}
    assert 48 * 64 * 2 in sizes.values()


# ---------------------------------------------------------------------------- outputs


def test_outputs_are_those_of_the_contract(cached):
    output = cached / "VGG"
    names = {"history_cached.csv", "VGG_model_cached.keras", "VGG_model_cached.keras.json",
             "VGG_model_cached.keras.excluded.csv", "VGGClassifierStats_trainvaltest_cached.txt",
             "VGGClassifierStats_trainvaltest_cached.json", "predictions_VGG_cached.csv", "training_curves_cached.png",
             "scores_VGG_cached.png", "roc_VGG_cached.png", "reliability_VGG_cached.png"}
    names |= {f"head_VGG_cached_epoch_{epoch:03}.keras" for epoch in range(1, EPOCHS + 1)}
    assert names <= {path.name for path in output.iterdir()}
    table = pd.read_csv(output / "predictions_VGG_cached.csv")
    assert list(table.columns) == ["filename", "class", "probability", "decision", "split"]
    assert table["split"].value_counts().to_dict() == {"training": 32, "validation": 8, "test": 8}
    report = json.loads((output / "VGGClassifierStats_trainvaltest_cached.json").read_text())
    assert {"climatology", "persistence 24 h", "persistence 48 h"} <= set(report["splits"]["test"]["forecasts"])
    assert report["splits"]["test"]["forecasts"]["persistence 24 h"] == "not available"
    assert "this choice is noisy" in (output / "VGGClassifierStats_trainvaltest_cached.txt").read_text()


def test_the_assembled_model_is_the_best_epochs_head_on_the_network(cached):
    sidecar = json.loads((cached / "VGG" / "VGG_model_cached.keras.json").read_text())
    best = sidecar["counts"]["best_epoch"]
    head = keras.saving.load_model(cached / "VGG" / f"head_VGG_cached_epoch_{best:03}.keras")
    model = keras.saving.load_model(cached / "VGG" / "VGG_model_cached.keras")
    assert type(model.optimizer) is keras.optimizers.Adam
    assert [layer.name for layer in model.layers if layer.trainable and layer.weights] == ["flare"]
    images = np.random.default_rng(0).uniform(100, 150, (4, 224, 224, 1)).astype(np.float32)
    expected = assemble(build_backbone(random_weights(3, **NARROW)), head).predict_on_batch(images)
    assert np.allclose(model.predict_on_batch(images), expected, atol=1e-6)
    validation = pd.read_csv(cached / "VGG" / "history_cached.csv")["val_TSS"]
    assert validation[best - 1] == validation.max()


def test_the_network_learns_what_makes_these_images_flare(cached):
    assert history(cached, "_cached")["loss"].is_monotonic_decreasing


def test_forecast_ar_says_what_the_stage_said(cached):
    region = cached / "fits" / "1158"
    forecast(ForecastDefinitions(model=cached / "VGG" / "VGG_model_cached.keras",
                                 images=(region, cached / "png" / "1158"), forecast_file=cached / "forecast.csv"))
    table = pd.read_csv(cached / "forecast.csv")
    assert table["refused"].notna().sum() == 8, "PNG images are refused by a model for FITS"
    table["filename"] = table["filename"].map(lambda path: Path(path).name)
    both = table.merge(pd.read_csv(cached / "VGG" / "predictions_VGG_cached.csv"), on="filename")
    assert len(both[both["split"] == "test"]) == 8
    assert np.allclose(both["probability_x"], both["probability_y"], atol=1e-5)
    assert (both["decision_x"] == both["decision_y"]).all()


def test_images_are_forecast_in_their_order_by_as_many_processes_as_told(cached, tmp_path, monkeypatch, capsys):
    jobs, real = [], vgg_forecast.input_batches
    monkeypatch.setattr(vgg_forecast, "input_batches", lambda *all: (jobs.append(all[-1]), real(*all))[1])
    good, other = sorted((cached / "fits" / "1158").iterdir())[:2]
    png, broken = next((cached / "png" / "1158").iterdir()), tmp_path / "broken.fits"
    broken.write_bytes(b"not an image")
    with (tmp_path / "log").open("w") as log:
        model, run = cached / "VGG" / "VGG_model_cached.keras", StageRun(log)
        table = vgg_forecast.forecast_with_vgg(model, [png, good, broken, other], run, n_jobs=1)
        single = vgg_forecast.forecast_with_vgg(model, [other], run, n_jobs=2)
    assert jobs == [1, 2]
    assert [text.partition(":")[0] for text in table["refused"]] == ["image format", "", "image broken", ""]
    assert table["probability"].isna().tolist() == [True, False, True, False]
    assert single["decision_value"][0] == pytest.approx(table["decision_value"][3], abs=1e-5)
    out = capsys.readouterr().out
    assert out.count("No figure is drawn for a VGG16 model") == 1
    assert "on the CPU" in out


# ---------------------------------------------------------------------------- cache and interruption


def test_a_rerun_computes_nothing_and_changes_nothing(cached, monkeypatch, capsys):
    before = {path.name: path.read_bytes() for path in (cached / "VGG").glob("*_cached*")
              if path.suffix in (".csv", ".txt", ".png")}
    model = (cached / "VGG" / "VGG_model_cached.keras").stat()
    monkeypatch.setattr(vgg_modes, "backbone_outputs", refuse)
    monkeypatch.setattr(vgg_experiment, "build_backbone", refuse)
    monkeypatch.setattr(weight_source, "read_weights", refuse)
    main(settings(cached, suffix="_cached"))
    out = capsys.readouterr().out
    assert "48 of 48 images are in it, 0 to compute" in out
    assert "VGG_model_cached.keras: as it is" in out
    assert (cached / "VGG" / "VGG_model_cached.keras").stat().st_mtime_ns == model.st_mtime_ns
    assert f"Going on after epoch {EPOCHS}" in out
    after = {name: (cached / "VGG" / name).read_bytes() for name in before}
    assert after == before


@pytest.mark.parametrize("loss", ["gone", "another"])
def test_a_model_that_is_not_of_the_head_is_written_again(cached, loss):
    path = cached / "VGG" / "VGG_model_cached.keras"
    content = path.read_bytes()
    path.unlink()
    if loss == "another":
        path.write_bytes(b"of a run that was killed before its sidecar")
    main(settings(cached, suffix="_cached"))
    assert len(path.read_bytes()) == len(content)


def test_new_images_cost_only_themselves_and_changed_ones_too(cached, monkeypatch):
    seen = []

    def count(backbone, grey):
        seen.append(len(grey))
        return np.zeros((len(grey), 64), np.float32)

    shutil.copytree(cached / "fits", cached / "copy")
    sorted((cached / "copy" / "1170").iterdir())[0].touch()
    monkeypatch.setattr(vgg_modes, "backbone_outputs", count)
    main(settings(cached, suffix="_touched", dataset_dir=cached / "copy", epochs=1))
    assert seen == [1]


def test_a_cache_of_other_weights_is_not_used_and_named(cached, capsys):
    build_backbone(random_weights(4, **NARROW)).save(cached / "other.keras")
    main(settings(cached, suffix="_other", weights=str(cached / "other.keras"), epochs=1))
    out = capsys.readouterr().out
    assert "0 of 48 images are in it, 48 to compute" in out
    assert "Not used: cache" in out
    assert "weights sha256-" in out


def test_an_interrupted_extraction_goes_on_at_the_next_batch(lab, cached, monkeypatch):
    real, seen = vgg_modes.backbone_outputs, []

    def interrupt_in_third_batch(backbone, grey):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(grey))
        return real(backbone, grey)

    changes = {"suffix": "_stop", "cache_dir": lab / "stopped"}
    monkeypatch.setattr(vgg_modes, "backbone_outputs", interrupt_in_third_batch)
    with pytest.raises(SystemExit) as caught:
        main(settings(lab, **changes))
    assert caught.value.code == 130
    seen.clear()
    monkeypatch.setattr(vgg_modes, "backbone_outputs", lambda *both: (seen.append(len(both[1])), real(*both))[1])
    main(settings(lab, **changes))
    assert sum(seen) == 48 - 24
    assert np.allclose(history(lab, "_stop"), history(lab, "_cached"), atol=1e-5, equal_nan=True)
    for one, two in zip(heads(lab, "_stop"), heads(lab, "_cached"), strict=True):
        assert np.abs(one - two).max() < 1e-5


def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(lab, cached, capsys):
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in vars(settings(lab)).items()
                 if name not in ("epochs", "suffix", "event_list")]
    command = [sys.executable, str(SCRIPT), *arguments, "--event-list=", "--suffix=_killed"]
    with (lab / "killed.log").open("w") as log:
        process = subprocess.Popen([*command, "--epochs=100000"], cwd=lab, stdout=log, stderr=log)
    try:
        wait_for((lab / "VGG" / "head_VGG_killed_epoch_002.keras").exists, process)
    except AssertionError as error:
        pytest.fail(f"{error}\n{(lab / 'killed.log').read_text()}")
    finally:
        process.kill()
        process.wait()
    done = len(history(lab, "_killed"))
    main(settings(lab, suffix="_killed", epochs=done + 2))
    assert "Going on after epoch" in capsys.readouterr().out
    main(settings(lab, suffix="_alive", epochs=done + 2))
    assert np.allclose(history(lab, "_killed"), history(lab, "_alive"), atol=1e-6, equal_nan=True)
    for one, two in zip(heads(lab, "_killed", done + 2), heads(lab, "_alive", done + 2), strict=True):
        assert np.abs(one - two).max() < 1e-6


# ---------------------------------------------------------------------------- bad input


def edited(lab, split, change, name):
    """Write a changed copy of a list; return its path."""
    path = lab / name
    path.write_text(change((lab / f"{split}.csv").read_text()))
    return path


@pytest.mark.parametrize(("image_format", "mode"), [("fits", "cached"), ("fits", "end_to_end"), ("png", "end_to_end")])
def test_unusable_images_are_left_out_with_their_reasons(lab, cached, mode, image_format, monkeypatch):
    folder = lab / f"bad_{image_format}_{mode}"
    shutil.copytree(lab / image_format, folder)
    first, second = sorted((folder / "1170").iterdir())[:2]
    first.unlink()
    second.write_bytes(b"not an image")
    changes = {"suffix": f"_bad_{mode}_{image_format}", "dataset_dir": folder, "image_format": image_format,
               "mode": mode, "epochs": 1, "cache_dir": lab / f"bad_{mode}"}
    main(settings(lab, **changes, batch_size=1))
    monkeypatch.setattr(vgg_experiment, "build_backbone", refuse)
    main(settings(lab, **changes, batch_size=1))
    excluded = pd.read_csv(lab / "VGG" / f"VGG_model{changes['suffix']}.keras.excluded.csv")
    assert dict(zip(excluded["input"], excluded["reason"], strict=True)) == {
        f"1170/{first.name}": "image missing", f"1170/{second.name}": "image broken"}
    assert len(pd.read_csv(lab / "VGG" / f"predictions_VGG{changes['suffix']}.csv")) == 46


def test_a_test_set_of_one_class_has_scores_that_are_not_defined(lab, cached, capsys):
    quiet = edited(lab, "test", lambda text: text.replace(",1\n", ",0\n"), "quiet.csv")
    main(settings(lab, suffix="_quiet", test_file=quiet, epochs=1))
    report = json.loads((lab / "VGG" / "VGGClassifierStats_trainvaltest_quiet.json").read_text())
    assert report["splits"]["test"]["forecasts"]["VGG16, decision at 0.5"]["TSS"] == "not defined"
    assert "one class only or empty" in capsys.readouterr().out


def test_a_validation_set_of_one_class_leaves_the_last_epoch(lab, cached, capsys):
    quiet = edited(lab, "validation", lambda text: text.replace(",1\n", ",0\n"), "quiet_validation.csv")
    main(settings(lab, suffix="_noval", validation_file=quiet))
    assert "TSS not defined, HSS not defined\n" in capsys.readouterr().out
    assert json.loads((lab / "VGG" / "VGG_model_noval.keras.json").read_text())["counts"]["best_epoch"] == EPOCHS
    assert pd.read_csv(lab / "VGG" / "predictions_VGG_noval.csv")["probability"].isna().all()


@pytest.mark.parametrize(("changes", "message"), [
    ({"epochs": 0}, "epochs: expected a number from 1"),
    ({"batch_size": 0}, "batch_size: expected a number from 1"),
    ({"learning_rate": 0.0}, "learning_rate: expected a number above 0"),
    ({"gauss_range": float("nan")}, "gauss_range: expected a number above 0"),
    ({"seed": -1}, "seed: expected a number from 0"),
    ({"n_jobs": 0}, "n_jobs: expected -1"),
    ({"weights": "nowhere.keras"}, "weights: expected \"imagenet\", \"random\" or a file"),
    ({"dataset_dir": Path("nowhere")}, "dataset_dir: expected a folder"),
    ({"train_file": Path("nowhere.csv")}, "train_file: expected a file"),
    ({"suffix": "a/b"}, "suffix: expected letters"),
])
def test_settings_that_cannot_be_are_said_in_one_line(lab, changes, message):
    with pytest.raises(SystemExit, match=message) as caught:
        main(settings(lab, **changes))
    assert "\n" not in str(caught.value)


def test_training_images_of_one_class_are_an_error_before_the_network_runs(lab, monkeypatch):
    monkeypatch.setattr(vgg_modes, "backbone_outputs", refuse)
    quiet = edited(lab, "training", lambda text: text.replace(",1\n", ",0\n"), "quiet_training.csv")
    with pytest.raises(SystemExit, match="got 0 with and 32 without"):
        main(settings(lab, suffix="_one", train_file=quiet, cache_dir=lab / "unused"))


def test_a_disk_too_small_is_said_before_the_start(lab, monkeypatch):
    monkeypatch.setattr(vgg_modes, "backbone_outputs", refuse)
    for what, full in (("the cache of 48 images in float32", "full"), ("the model", "VGG")):
        monkeypatch.setattr("shutil.disk_usage", lambda folder, full=full: type(
            "usage", (), {"free": 1000 if full in str(folder) else 10**9}))
        with pytest.raises(SystemExit, match=f"for {what}: .* MB missing"):
            main(settings(lab, suffix="_full", cache_dir=lab / "full"))


@pytest.mark.parametrize("name", ["history.csv", "predictions_VGG.csv", "VGGClassifierStats_trainvaltest.txt",
                                  "training.json", "head_VGG_epoch_002.keras"])
def test_no_output_may_be_an_input(lab, name, tmp_path):
    (tmp_path / name).write_bytes((lab / "test.csv").read_bytes())
    with pytest.raises(SystemExit, match=f"{name}' is an input of this stage and would be overwritten"):
        main(settings(lab, test_file=tmp_path / name, output_dir=tmp_path))


# ---------------------------------------------------------------------------- random weights


def test_random_weights_shout(lab, capsys, monkeypatch):
    for drawn in (random_weights, kernel_shapes):  # test_pipeline runs the full network
        monkeypatch.setattr(weight_source, drawn.__name__, partial(drawn, **NARROW))
    few = edited(lab, "training", lambda text: "".join(text.splitlines(keepends=True)[:4]), "few.csv")
    one = {split: edited(lab, split, lambda text: "".join(text.splitlines(keepends=True)[:2]), f"one_{split}.csv")
           for split in ("validation", "test")}
    main(settings(lab, suffix="_random", weights="random", train_file=few, validation_file=one["validation"],
                  test_file=one["test"], epochs=1))
    out = capsys.readouterr().out
    assert out.count("THE WEIGHTS ARE RANDOM") >= 2
    report = json.loads((lab / "VGG" / "VGGClassifierStats_trainvaltest_random.json").read_text())
    assert report["remarks"][0].startswith("THE WEIGHTS ARE RANDOM")
    text = (lab / "VGG" / "VGGClassifierStats_trainvaltest_random.txt").read_text()
    assert text.startswith("THE WEIGHTS ARE RANDOM: THIS IS A TRIAL, ITS SCORES AND FORECASTS MEAN NOTHING")


def test_a_head_is_drawn_by_its_seed():
    first, second, other = (new_head(8, seed, 1e-3).get_weights()[0] for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
