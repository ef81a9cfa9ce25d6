"""Stage 7: two ways to the same head, what each setting makes void, interruption, outputs, and what users get wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest

from classifier_SVM.AR_Classifier_weighted import UserDefinitions as ClassifierDefinitions
from classifier_SVM.AR_Classifier_weighted import main as train_classifier
from classifier_SVM.Forecast_AR import UserDefinitions as ForecastDefinitions
from classifier_SVM.Forecast_AR import main as forecast
from classifier_VGG import VGG_transfer_learning as stage
from classifier_VGG.network import training, vgg16
from classifier_VGG.network.inputs import InputSettings, input_batches
from classifier_VGG.network.vgg16 import assemble, forecast_with_vgg, new_head
from classifier_VGG.VGG_transfer_learning import UserDefinitions, main
from general_code.stage import run as stage_run
from general_code.stage.files import UserError
from tests.feature_dataset import wait_for
from tests.vgg_lab import REGIONS, WIDTH, make_dataset, random_backbone, refuse, settings

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras' variables under numpy 2
REPOSITORY = Path(__file__).resolve().parents[2]
EPOCHS = 3
IMAGES = 48
SPLITS = {"training": "train", "validation": "validation", "test": "test"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory, narrow_network):
    """Images, lists (some with another last label), two narrow networks, and the stage run on FITS by default."""
    folder = tmp_path_factory.mktemp("vgg")
    make_dataset(folder)
    for split in ("training", "validation"):
        text = (folder / f"{split}.csv").read_text()
        (folder / f"{split}_relabelled.csv").write_text(text[:-2] + f"{1 - int(text[-2])}\n")
    for name, seed in (("narrow", 3), ("other", 4)):
        random_backbone(seed).save(folder / f"{name}.keras")
    main(settings(folder))
    return folder


@pytest.fixture
def copy(lab, tmp_path, monkeypatch):
    """Settings over a copy of the outputs; what the stage does after training is skipped."""
    for name in ("VGG", "cache"):
        shutil.copytree(lab / name, tmp_path / name, ignore=shutil.ignore_patterns("forecasts_*"))
    for step in ("save_model", "evaluate"):
        monkeypatch.setattr(stage, step, lambda *_, **__: None)
    return lambda **changes: settings(lab, **({"output_dir": tmp_path / "VGG", "cache_dir": tmp_path / "cache"}
                                              | changes))


def training_folder(lab, suffix=""):
    """Return the folder of the one training of a suffix."""
    (folder,) = (lab / "VGG" / f"VGG_training{suffix}").iterdir()
    return folder


def head(lab, suffix="", epoch=EPOCHS):
    """Return an epoch's head."""
    return keras.saving.load_model(training_folder(lab, suffix) / f"head_epoch_{epoch:03}.keras")


def difference(*heads):
    """Return the largest difference of two heads' weights."""
    return max(np.abs(one - two).max() for one, two in zip(*(each.get_weights() for each in heads), strict=True))


def table(lab, name, suffix=""):
    """Return the history or the predictions of a run."""
    return pd.read_csv(lab / "VGG" / f"{name}{suffix}.csv")


def noted(lab, name="VGGClassifierStats_trainvaltest.json"):
    """Return the evaluation of a run, or what another JSON file holds."""
    return json.loads((lab / "VGG" / name).read_text())


def run_elsewhere(user, **options):
    """Start stage 7 with the narrow network in a process of its own."""
    flags = [f"--{name.replace('_', '-')}={'' if value == Path() else value}" for name, value in dict(user).items()]
    return subprocess.Popen([sys.executable, "-m", "tests.vgg_lab", *flags], cwd=REPOSITORY, **options)


def quiet_lists(lab, folder, *splits):
    """Write copies of lists, without flares in those of some splits; return them as settings."""
    for split in SPLITS:
        text = (lab / f"{split}.csv").read_text()
        (folder / f"{split}.csv").write_text(text.replace(",1\n", ",0\n") if split in splits else text)
    return {f"{word}_file": folder / f"{split}.csv" for split, word in SPLITS.items()}


@pytest.mark.parametrize(("image_format", "extract_dtype"), [("fits", "float32"), ("png", "bfloat16")])
def test_both_modes_train_the_same_head(lab, image_format, extract_dtype):
    epochs = EPOCHS if image_format == "fits" else 1
    common = {"image_format": image_format, "dataset_dir": lab / image_format, "extract_dtype": extract_dtype,
              "epochs": epochs}
    suffix, whole = ("", "_whole") if image_format == "fits" else ("_png", "_whole_png")
    if image_format == "png":
        main(settings(lab, suffix=suffix, **common))
    main(settings(lab, suffix=whole, mode="end_to_end", **common))
    for epoch in range(1, epochs + 1):
        assert difference(head(lab, suffix, epoch), head(lab, whole, epoch)) < 1e-5
    moved = difference(head(lab, suffix, epochs), new_head(WIDTH, 0, 0.01))
    assert moved > 1e-3, "the heads are equal because they learn the same, not because they learn nothing"
    assert np.allclose(table(lab, "history", suffix), table(lab, "history", whole), atol=1e-5, equal_nan=True)
    one, two = (table(lab, "predictions_VGG", each) for each in (suffix, whole))
    assert one["filename"].str.endswith(image_format).all()
    assert np.allclose(one["probability"], two["probability"], atol=1e-4)


def test_a_float16_cache_gives_nearly_the_same_probabilities(lab, tmp_path):
    main(settings(lab, suffix="_half", cache_dtype="float16", cache_dir=tmp_path))
    images = np.random.default_rng(0).uniform(100, 150, (16, 224, 224, 1)).astype(np.float32)
    one, two = (keras.saving.load_model(lab / "VGG" / f"VGG_model{suffix}.keras").predict_on_batch(images)
                for suffix in ("", "_half"))
    assert 0 < np.abs(one - two).max() < 2e-3
    assert [path.stat().st_size for path in tmp_path.glob("features_*/rows.bin")] == [IMAGES * WIDTH * 2]


# ---------------------------------------------------------------------------- outputs


def test_outputs_are_those_of_the_contract(lab):
    names = ["history.csv", "VGG_model.keras", "VGG_model.keras.json", "VGG_model.keras.excluded.csv",
             "VGGClassifierStats_trainvaltest.txt", "VGGClassifierStats_trainvaltest.json", "predictions_VGG.csv",
             "training_curves.png", "scores_VGG.png", "roc_VGG.png", "reliability_VGG.png"]
    assert all((lab / "VGG" / name).is_file() for name in names)
    assert {path.name for path in training_folder(lab).iterdir()} == {
        "settings.json", "history.csv", *(f"head_epoch_{epoch:03}.keras" for epoch in range(1, EPOCHS + 1))}
    predictions = table(lab, "predictions_VGG")
    assert list(predictions.columns) == ["filename", "class", "probability", "decision", "split"]
    assert predictions["split"].value_counts().to_dict() == {"training": 32, "validation": 8, "test": 8}
    forecasts = noted(lab)["splits"]["test"]["forecasts"]
    assert {"climatology", "persistence 24 h", "persistence 48 h"} <= set(forecasts)
    assert forecasts["persistence 24 h"] == "not available"
    assert table(lab, "history")["loss"].is_monotonic_decreasing, "the network learns what makes these images flare"


def test_the_assembled_model_is_the_best_epochs_head_on_the_network(lab):
    best = noted(lab, "VGG_model.keras.json")["counts"]["best_epoch"]
    model = keras.saving.load_model(lab / "VGG" / "VGG_model.keras")
    assert type(model.optimizer) is keras.optimizers.Adam
    assert [layer.name for layer in model.layers if layer.trainable and layer.weights] == ["flare"]
    images = np.random.default_rng(0).uniform(100, 150, (4, 224, 224, 1)).astype(np.float32)
    expected = assemble(random_backbone(3), head(lab, epoch=best)).predict_on_batch(images)
    assert np.allclose(model.predict_on_batch(images), expected, atol=1e-6)
    scores = table(lab, "history")["val_TSS"]
    assert scores[best - 1] == scores.max()


def test_forecast_ar_says_what_the_stage_said(lab):
    forecast(ForecastDefinitions(model=lab / "VGG" / "VGG_model.keras", forecast_file=lab / "forecast.csv",
                                 images=(lab / "fits" / "1158",)))
    forecasts = pd.read_csv(lab / "forecast.csv")
    forecasts["filename"] = forecasts["filename"].map(lambda path: Path(path).name)
    both = forecasts.merge(table(lab, "predictions_VGG"), on="filename")
    assert len(both[both["split"] == "test"]) == 8
    assert np.allclose(both["probability_x"], both["probability_y"], atol=1e-5)
    assert (both["decision_x"] == both["decision_y"]).all()


def test_images_are_forecast_in_their_order(lab, tmp_path, run, capsys):
    good, other = sorted((lab / "fits" / "1158").iterdir())[:2]
    png, broken = next((lab / "png" / "1158").iterdir()), tmp_path / "broken.fits"
    broken.write_bytes(b"not an image")
    model = lab / "VGG" / "VGG_model.keras"
    four = forecast_with_vgg(model, [png, good, broken, other], run, n_jobs=1)
    single = forecast_with_vgg(model, [other], run, n_jobs=2)
    assert [text[:25] for text in four["refused"]] == ["image format: the model w", "", "not a readable FITS image", ""]
    assert four["probability"].isna().tolist() == [True, False, True, False]
    assert single["decision_value"][0] == pytest.approx(four["decision_value"][3], abs=1e-5)
    assert capsys.readouterr().out.count("No figure is drawn for a VGG16 model") == 1


@pytest.mark.parametrize(("write", "message"), [
    (lambda path: path.write_text("no model"), "is not a Keras model"),
    (lambda path: new_head(WIDTH, 0, 0.01).save(path), "as of VGG_transfer_learning.py")])
def test_a_file_that_is_no_model_of_this_stage_is_refused_in_one_line(lab, tmp_path, run, write, message):
    shutil.copyfile(lab / "VGG" / "VGG_model.keras.json", tmp_path / "VGG_model.keras.json")
    write(tmp_path / "VGG_model.keras")
    with pytest.raises(UserError, match=message) as caught:
        forecast_with_vgg(tmp_path / "VGG_model.keras", [], run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [{"gauss_range": "x"}, {"gauss_range": 0}, {"image_format": "gif"},
                                    {"backend": "theano"}, {"calibration": {"slope": 1.0}}, {"flare_size": [1]}, "{"])
def test_a_damaged_sidecar_of_a_model_is_refused_in_one_line(lab, tmp_path, run, damage):
    shutil.copyfile(lab / "VGG" / "VGG_model.keras", tmp_path / "VGG_model.keras")
    notes = noted(lab, "VGG_model.keras.json")
    for name, value in damage.items() if damage != "{" else ():
        notes["counts" if name in notes["counts"] else "settings"][name] = value
    (tmp_path / "VGG_model.keras.json").write_text(damage if damage == "{" else json.dumps(notes))
    with pytest.raises(UserError, match="VGG_model.keras.json' is missing or damaged") as caught:
        forecast_with_vgg(tmp_path / "VGG_model.keras", [], run)
    assert "\n" not in str(caught.value)


def test_the_log_odds_of_a_forecast_go_beyond_what_probabilities_hold(lab, tmp_path, run):
    model, notes = keras.saving.load_model(lab / "VGG" / "VGG_model.keras"), noted(lab, "VGG_model.keras.json")
    weights = model.layers[-1].get_weights()
    model.layers[-1].set_weights([1e5 * array for array in weights])
    model.save(tmp_path / "VGG_model.keras")
    notes["counts"]["model_made_of"]["head"] = vgg16.head_digest(model.layers[-1])
    (tmp_path / "VGG_model.keras.json").write_text(json.dumps(notes))
    images = sorted((lab / "fits" / "1158").iterdir())[:2]
    ours, other = (forecast_with_vgg(folder / "VGG_model.keras", images, run)["decision_value"]
                   for folder in (lab / "VGG", tmp_path))
    assert np.abs(other).min() > 100
    assert np.allclose(other, 1e5 * ours, rtol=1e-3)


@pytest.mark.skipif(not find_spec("jax"), reason="JAX is not installed")
def test_jax_gives_the_numbers_of_tensorflow(lab):
    user = settings(lab, backend="jax", output_dir=lab / "jax" / "VGG", cache_dir=lab / "jax", extract_batch=20)
    assert run_elsewhere(user, env=os.environ | {"KERAS_BACKEND": "jax"}).wait() == 0
    (cache,) = (lab / "jax").glob("features_*")
    ours, other = (np.fromfile(folder / "rows.bin", np.float32) for folder in (lab / "cache" / cache.name, cache))
    assert np.linalg.norm(other - ours) < 1e-4 * np.linalg.norm(ours)
    assert np.allclose(*(table(place, "history") for place in (lab, lab / "jax")), atol=1e-3, equal_nan=True)
    best = [noted(place, "VGG_model.keras.json")["counts"]["best_epoch"] for place in (lab, lab / "jax")]
    assert best[0] == best[1]
    assert np.allclose(*(table(place, "predictions_VGG")["probability"] for place in (lab, lab / "jax")), atol=1e-3)


def test_without_named_lists_those_of_the_output_folder_with_its_suffix_are_used(lab, copy, tmp_path, capsys):
    user = {"train_file": "", "validation_file": "", "test_file": "", "suffix": "_M", "output_dir": tmp_path / "run[1]"}
    with pytest.raises(SystemExit, match=r"train_file: .*Train_Data_by_AR_M.csv"):
        main(copy(**user))
    for split, word in SPLITS.items():
        shutil.copyfile(lab / f"{split}.csv", tmp_path / "run[1]" / f"{word.capitalize()}_Data_by_AR_M.csv")
    main(copy(**user))
    out = capsys.readouterr().out
    assert f"training images: 32 in {tmp_path}/run[1]/Train_Data_by_AR_M.csv" in out
    assert f"test images: 8 in {tmp_path}/run[1]/Test_Data_by_AR_M.csv" in out


def test_size_and_window_of_the_labels_are_kept_and_shown(lab, tmp_path, run, capsys):
    lists = quiet_lists(lab, tmp_path)
    (tmp_path / "training.csv.json").write_text(json.dumps({"counts": {"flare_size": "M1.0",
                                                                       "flare_window_hours": 12.0}}))
    (tmp_path / "events.txt").write_text("2011 02 14,2000,1158,C5.0\n2011 02 15,0030,1158,M2.0\n"
                                         "2011 02 15,0040,1160,X1.0\n")
    main(settings(lab, epochs=1, event_list=tmp_path / "events.txt", output_dir=tmp_path / "VGG", **lists))
    assert "M1.0 or larger within 12 h" in capsys.readouterr().out
    report = noted(tmp_path)
    assert (report["flare_size"], report["flare_window_hours"]) == ("M1.0", 12.0)
    # images of 1158 every 12 minutes from 00:00, of which 0, 3 and 6 flare; the M2.0 is known from number 3 on
    scores = report["splits"]["test"]["forecasts"]["persistence 24 h"]
    assert (scores["TPR"], scores["TNR"]) == pytest.approx((2 / 3, 2 / 5))
    assert not any("do not record" in remark for remark in report["remarks"])
    forecast_with_vgg(tmp_path / "VGG" / "VGG_model.keras", sorted((lab / "fits" / "1158").iterdir())[:1], run)
    assert "trained on fits images, flares M1.0 or larger within 12 h" in capsys.readouterr().out


# ---------------------------------------------------------------------------- other applications and their features


@pytest.fixture(scope="module")
def mobile(lab):
    """Settings for MobileNet, which drops in training, and the run that wrote its features."""
    changes = {"backbone": "MobileNet", "weights": "random", "epochs": 1}
    main(settings(lab, suffix="_mobile", write_features=lab / "new" / "embeddings.csv", **changes))
    return changes


def test_another_application_trains_the_same_head_in_both_modes_and_is_named(lab, mobile, run, capsys):
    """Its weights are random, of which everything warns."""
    main(settings(lab, suffix="_mobile_whole", mode="end_to_end", extract_batch=5, **mobile))
    assert difference(head(lab, "_mobile", 1), head(lab, "_mobile_whole", 1)) < 1e-5
    one, two = (table(lab, "predictions_VGG", suffix) for suffix in ("_mobile", "_mobile_whole"))
    assert np.allclose(one["probability"], two["probability"], atol=1e-4)
    text = (lab / "VGG" / "VGGClassifierStats_trainvaltest_mobile.txt").read_text()
    assert text.startswith(vgg16.MEANINGLESS)
    assert "MobileNet, RANDOM WEIGHTS" in text
    out = capsys.readouterr().out
    assert out.count(vgg16.MEANINGLESS) >= 2
    assert out.count("MobileNet: 5 images at a time (extract_batch) take about") == 1, "one network serves all"
    notes = noted(lab, "VGG_model_mobile.keras.json")
    assert notes["counts"]["model_made_of"]["backbone"] == "MobileNet"
    assert "backbone" not in noted(lab, "VGG_model.keras.json")["counts"]["model_made_of"], "stays valid"
    ours = forecast_with_vgg(lab / "VGG" / "VGG_model_mobile.keras", sorted((lab / "fits" / "1158").iterdir()), run)
    out = capsys.readouterr().out
    assert "MobileNet with weights random, seed 0, trained on fits images" in out
    assert vgg16.MEANINGLESS in out
    assert np.allclose(ours["probability"], one["probability"][one["split"] == "test"], atol=1e-4)


def test_stage_5_trains_with_the_features_of_a_network(lab, mobile, tmp_path):
    embeddings = pd.read_csv(lab / "new" / "embeddings.csv", index_col="filename")
    assert list(embeddings.columns) == [f"backbone_{number:04d}" for number in range(1, 1025)]
    assert len(embeddings) == IMAGES
    assert embeddings.index.is_monotonic_increasing
    names = [f"1158/{path.name}" for path in (lab / "fits" / "1158").iterdir()]
    (batch,) = input_batches(names, InputSettings(lab / "fits", "fits", 5978.7, 8, 1))
    network = vgg16.build_backbone(vgg16.weight_source("random", 0, print, vgg16.find_backbone("MobileNet")))
    rows = embeddings.loc[[name.removeprefix("1158/") for name in names]]
    assert np.allclose(rows, vgg16.backbone_outputs(network, batch.grey), rtol=1e-4, atol=1e-5)
    assert rows.std().max() > 1e-2, "images differ"
    labels = "".join((lab / f"{split}.csv").read_text().partition("\n")[2] for split in SPLITS)
    (tmp_path / "Labels.txt").write_text(re.sub("^.*/", "", labels, flags=re.MULTILINE).replace(",1\n", ",C5.0\n"))
    lists = {}
    for split, word in SPLITS.items():
        lists[f"{word}_ar_list"] = tmp_path / f"{word}.csv"
        lists[f"{word}_ar_list"].write_text("".join(f"{region}\n" for region in REGIONS[split]))
    train_classifier(ClassifierDefinitions(
        feature_file="", label_file=tmp_path / "Labels.txt", extra_feature_file=lab / "new" / "embeddings.csv",
        output_dir=tmp_path / "SVM", event_list="", **lists))
    predictions = pd.read_csv(tmp_path / "SVM" / "predictions_linear.csv")
    assert len(predictions) == IMAGES
    assert (predictions["class"] == predictions["decision"])[predictions["split"] == "test"].all()


def test_a_device_without_memory_for_training_ends_in_one_line(lab, copy, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(keras.Model, "fit", fail)
    with pytest.raises(SystemExit, match="batch_size: the device has no memory for training on 12 images at a time"):
        main(copy(mode="end_to_end", suffix="_none"))


# ---------------------------------------------------------------------------- cache and interruption


def test_a_rerun_computes_nothing_and_changes_nothing(lab, monkeypatch, capsys):
    before = {path.name: path.read_bytes() for path in (lab / "VGG").iterdir()
              if path.suffix in (".csv", ".txt", ".png", ".keras")}
    monkeypatch.setattr(stage, "build_backbone", refuse)
    monkeypatch.setattr(training.HeadTrainer, "train_epoch", refuse)
    main(settings(lab, n_jobs=2))
    out = capsys.readouterr().out
    assert "not used" not in out
    assert f"{IMAGES} of {IMAGES} images are in it, 0 to compute" in out
    assert f"Continuing after epoch {EPOCHS}" in out
    assert "VGG_model.keras: unchanged" in out
    assert {name: (lab / "VGG" / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("loss", ["gone", "another"])
def test_a_model_that_is_not_of_the_head_is_written_again(lab, loss):
    path = lab / "VGG" / "VGG_model.keras"
    size = path.stat().st_size
    path.unlink()
    if loss == "another":
        path.write_bytes(b"of a run that was killed before its sidecar")
    main(settings(lab))
    assert path.stat().st_size == size


def test_a_changed_image_costs_only_itself(lab, copy, tmp_path, capsys):
    shutil.copytree(lab / "fits", tmp_path / "fits")
    sorted((tmp_path / "fits" / "1170").iterdir())[0].touch()
    main(copy(dataset_dir=tmp_path / "fits", epochs=1))
    assert f"{IMAGES - 1} of {IMAGES} images are in it, 1 to compute" in capsys.readouterr().out


def test_an_interrupted_extraction_continues_at_the_next_batch(lab, copy, tmp_path, monkeypatch, capsys):
    changes = {"output_dir": tmp_path / "stopped" / "VGG", "cache_dir": tmp_path / "stopped", "extract_batch": 12}
    real, batches = vgg16.backbone_outputs, iter(range(2))

    def stop_after_two(backbone, grey):
        if next(batches, None) is None:
            raise KeyboardInterrupt
        return real(backbone, grey)

    monkeypatch.setattr(vgg16, "backbone_outputs", stop_after_two)
    with pytest.raises(SystemExit) as caught:
        main(copy(**changes))
    assert caught.value.code == 130
    monkeypatch.setattr(vgg16, "backbone_outputs", real)
    main(copy(**changes))
    assert f"24 of {IMAGES} images are in it, {IMAGES - 24} to compute" in capsys.readouterr().out
    assert np.allclose(*(table(place, "history") for place in (tmp_path / "stopped", lab)), atol=1e-5, equal_nan=True)
    assert difference(head(tmp_path / "stopped"), head(lab)) < 1e-5


def test_a_killed_training_continues_and_ends_as_if_it_had_not_been(lab, capsys):
    with (lab / "killed.log").open("w") as log:
        process = run_elsewhere(settings(lab, suffix="_killed", epochs=100_000), stdout=log, stderr=log)
    try:
        wait_for(lambda: list((lab / "VGG").glob("VGG_training_killed/*/head_epoch_002.keras")), process)
    except AssertionError as error:
        pytest.fail(f"{error}\n{(lab / 'killed.log').read_text()}")
    finally:
        process.kill()
        process.wait()
    epochs = len(pd.read_csv(training_folder(lab, "_killed") / "history.csv")) + 2
    main(settings(lab, suffix="_killed", epochs=epochs))
    assert "Continuing after epoch" in capsys.readouterr().out
    main(settings(lab, suffix="_alive", epochs=epochs))
    assert np.allclose(*(table(lab, "history", name) for name in ("_killed", "_alive")), atol=1e-6, equal_nan=True)
    assert difference(head(lab, "_killed", epochs), head(lab, "_alive", epochs)) < 1e-6


@pytest.mark.parametrize("stopped", ["evaluate", "sidecar"])
def test_a_stop_leaves_no_model_that_is_used_with_the_calibration_of_another(lab, tmp_path, run, monkeypatch, stopped):
    """Copies have other times than the originals, and are as good."""
    shutil.copytree(lab / "VGG", tmp_path / "VGG", copy_function=shutil.copyfile)
    model, image = tmp_path / "VGG" / "VGG_model.keras", sorted((lab / "fits" / "1158").iterdir())[:1]

    def stop(*_, **__):
        raise KeyboardInterrupt

    before, first = model.read_bytes(), forecast_with_vgg(model, image, run)["decision_value"][0]
    user = settings(lab, epochs=1, output_dir=tmp_path / "VGG", learning_rate=0.02)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(*((stage, "evaluate") if stopped == "evaluate" else (stage_run, "_write_sidecar")), stop)
        main(user)
    assert (model.read_bytes() == before) == (stopped == "evaluate")
    if stopped == "sidecar":
        with pytest.raises(UserError, match=r"is not the one that '.*VGG_model.keras.json' is about") as caught:
            forecast_with_vgg(model, image, run)
        assert "\n" not in str(caught.value)
    main(user)
    assert forecast_with_vgg(model, image, run)["decision_value"][0] != first


# ---------------------------------------------------------------------------- what each setting makes void


@pytest.mark.parametrize(("changes", "in_cache"), [
    ({"gauss_range": 3000.0}, 0), ({"extract_dtype": "bfloat16"}, 0), ({"cache_dtype": "float16"}, 0),
    ({"seed": 1}, IMAGES), ({"learning_rate": 0.02}, IMAGES), ({"batch_size": 5}, IMAGES), ({"mode": "end_to_end"}, 0),
    ({"weights": "other.keras"}, 0), ({"train_file": "training_relabelled.csv"}, IMAGES),
    ({"validation_file": "validation_relabelled.csv"}, IMAGES)])
def test_what_changes_the_numbers_makes_void_what_was_computed(lab, copy, capsys, monkeypatch, changes, in_cache):
    monkeypatch.chdir(lab)
    main(copy(epochs=1, **changes))
    out = capsys.readouterr().out
    (name,) = changes
    named = {"train_file": "training images", "validation_file": "validation images"}.get(name, name)
    assert f"images ({'+-3000' if name == 'gauss_range' else '+-5978.7'} G)" in out
    assert f"{in_cache} of {IMAGES} images are in it" in out
    assert f"trained with other settings or images ({named})" in out


def test_heads_and_caches_of_version_0_2_0_are_named(copy, capsys):
    user = copy(epochs=1, gauss_range=4000.0)
    (user.output_dir / "training.json").write_text("{}")
    (user.cache_dir / "features_abc").mkdir()
    (user.cache_dir / "features_abc" / "cache.json").write_text("{}")
    (user.cache_dir / "inputs_abc").mkdir()
    (user.cache_dir / "inputs_abc" / "rows.bin").touch()
    main(user)
    assert capsys.readouterr().out.count("made by version 0.2.0") == 3


# ---------------------------------------------------------------------------- what users get wrong


@pytest.mark.parametrize(("image_format", "mode"), [("fits", "cached"), ("fits", "end_to_end"), ("png", "end_to_end")])
def test_unusable_images_are_excluded_with_their_reasons(lab, tmp_path, mode, image_format, monkeypatch):
    shutil.copytree(lab / image_format, tmp_path / "images")
    first, second = sorted((tmp_path / "images" / "1170").iterdir())[:2]
    first.unlink()
    second.write_bytes(b"not an image")
    user = settings(lab, dataset_dir=tmp_path / "images", image_format=image_format, mode=mode, epochs=1, batch_size=1,
                    output_dir=tmp_path / "VGG", cache_dir=tmp_path / "cache")
    main(user)
    monkeypatch.setattr(stage, "build_backbone", refuse)  # trainings and forecasts of both modes are kept
    main(user)
    excluded = pd.read_csv(tmp_path / "VGG" / "VGG_model.keras.excluded.csv")
    assert {Path(name).stem: reason for name, reason in zip(excluded["input"], excluded["reason"], strict=True)} == {
        first.stem: "image missing", second.stem: f"not a {'readable FITS' if image_format == 'fits' else 'PNG'} image"}
    assert len(table(tmp_path, "predictions_VGG")) == IMAGES - 2


@pytest.mark.parametrize(("step", "lost", "status"), [
    ("report_splits", "1200", r"1200/.*: no such file; it could be read when this run began; start again"),
    ("best_epoch", "1158", "dataset_dir: 8 test images could be read when this run began, and none of them now"),
    ("best_epoch", "1170", None)])
def test_images_that_go_during_a_run_have_no_forecast(lab, tmp_path, monkeypatch, step, lost, status):
    shutil.copytree(lab / "png", tmp_path / "png")
    before = getattr(stage, step)

    def lose(*arguments):
        shutil.rmtree(tmp_path / "png" / lost)
        return before(*arguments)

    monkeypatch.setattr(stage, step, lose)
    monkeypatch.setattr(training, "epoch_order", lambda images, *_: np.arange(images))
    user = settings(lab, dataset_dir=tmp_path / "png", image_format="png", mode="end_to_end", epochs=1, batch_size=4,
                    output_dir=tmp_path / "VGG", cache_dir=tmp_path / "cache")
    if status:
        with pytest.raises(SystemExit, match=status):
            main(user)
    else:
        main(user)
        assert len(table(tmp_path, "predictions_VGG")) == IMAGES - 8


def test_with_sets_of_one_class_scores_are_not_defined_and_the_last_epoch_is_taken(lab, tmp_path, capsys):
    main(settings(lab, output_dir=tmp_path / "VGG", **quiet_lists(lab, tmp_path, "validation", "test")))
    assert "TSS not defined, HSS not defined\n" in capsys.readouterr().out
    forecasts = noted(tmp_path)["splits"]["test"]["forecasts"]
    assert forecasts["VGG16, decision at 0.5"]["TSS"] == "not defined"
    assert noted(tmp_path, "VGG_model.keras.json")["counts"]["best_epoch"] == EPOCHS
    assert table(tmp_path, "predictions_VGG")["probability"].isna().all()


def test_numbers_are_above_0_and_weights_a_text_or_a_path():
    """`test_scripts` tries the other settings."""
    for name in ("epochs", "batch_size", "learning_rate", "gauss_range"):
        with pytest.raises(UserError, match=f"^{name}: expected a number above 0, got 0"):
            UserDefinitions(**{name: 0})
    with pytest.raises(UserError, match="^extract_batch: expected a number from 0, got -1"):
        UserDefinitions(extract_batch=-1)
    with pytest.raises(UserError, match="^weights: expected text, got None"):
        UserDefinitions(weights=None)
    assert UserDefinitions(weights=Path("my/weights.h5")).weights == "my/weights.h5"


@pytest.mark.parametrize(("changes", "message"), [
    ({"weights": "nowhere.keras"}, "weights: expected \"imagenet\", \"random\" or a file"),
    ({"dataset_dir": "nowhere"}, "dataset_dir: expected a folder"),
    ({"train_file": "nowhere.csv"}, "train_file: expected a file"),
    ({"image_format": "png"}, "dataset_dir: expected .png images in .*, found none; there are .fits images"),
    ({"train_file": "training.csv"}, "got 0 with and 32 without"),
    *[({"test_file": f"VGG/{name}"}, f"{name}' is an input of this stage and would be overwritten")
      for name in ("history.csv", "predictions_VGG.csv", "VGGClassifierStats_trainvaltest.txt")],
    ({"backbone": "ResNet5"}, "backbone: expected an application of Keras, got 'ResNet5'.*did you mean ResNet50"),
    ({"mode": "end_to_end", "write_features": "x.csv"}, "write_features: mode end_to_end keeps no features"),
    ({"write_features": "VGG"}, "'VGG' is a folder, expected a file to write"),
    ({"write_features": "training.csv/x.csv"}, "'training.csv/x.csv' cannot be written: folder"),
    ({"write_features": "training.csv", "train_file": "training.csv"}, "'training.csv' is an input of this stage"),
    ({"write_features": "VGG/history.csv"}, "write_features: 'VGG/history.csv' is another output of this stage")])
def test_inputs_that_cannot_serve_are_named_before_the_network_runs(lab, copy, tmp_path, monkeypatch, changes, message):
    quiet_lists(lab, tmp_path, "training")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stage, "build_backbone", refuse)
    with pytest.raises(SystemExit, match=message) as caught:
        main(copy(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("full", "what"), [("cache", "the cache of 48 images in float32"), ("VGG", "the model")])
def test_a_disk_too_small_is_reported_before_the_start(lab, tmp_path, monkeypatch, full, what):
    monkeypatch.setattr(vgg16, "backbone_outputs", refuse)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000 if full in str(folder) else 1e9))
    with pytest.raises(SystemExit, match=f"for {what}: .* missing"):
        main(settings(lab, output_dir=tmp_path / "VGG", cache_dir=tmp_path / "cache"))


def test_the_help_needs_no_keras(tmp_path):
    code = "import runpy, sys; sys.argv = ['x', '--help']\n" \
           f"try: runpy.run_path({stage.__file__!r}, run_name='__main__')\n" \
           "except SystemExit: pass\nprint([name for name in ('keras', 'tensorflow') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.stdout.endswith("[]\n"), done.stderr

