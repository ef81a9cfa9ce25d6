"""The steps of stage 7: what each setting makes void, the baselines beside the forecast, the device."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from vgg_lab import NARROW, make_dataset, refuse, settings

from classifier_VGG import image_rows, vgg_experiment, vgg_forecast, vgg_judgement, vgg_modes
from classifier_VGG.device import prepare_device
from classifier_VGG.vgg16_network import build_backbone
from classifier_VGG.vgg16_weights import random_weights
from classifier_VGG.VGG_transfer_learning import main, settings_text
from general_code import stage_run
from general_code.stage_files import UserError
from general_code.stage_run import StageRun

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras' variables under numpy 2
IMAGES = {"training": (0, 1, 8, 9, 16, 17, 24, 25), "validation": (0, 1, 2), "test": range(8)}  # lines of the lists


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Few images, two narrow networks, and the stage run once."""
    folder = tmp_path_factory.mktemp("vgg")
    for split, path in make_dataset(folder).items():
        header, *lines = path.read_text().splitlines(keepends=True)
        path.write_text(header + "".join(lines[number] for number in IMAGES[split]))
    for name, seed in (("narrow", 3), ("other", 4)):
        build_backbone(random_weights(seed, **NARROW)).save(folder / f"{name}.keras")
    main(settings(folder, epochs=1))
    return folder


@pytest.fixture
def copy(lab, tmp_path, monkeypatch):
    """Settings over a copy of the outputs; what the stage does after training is left out."""
    for name in ("VGG", "cache"):
        shutil.copytree(lab / name, tmp_path / name)
    monkeypatch.setattr(vgg_experiment, "save_model", lambda *_: None)
    monkeypatch.setattr(vgg_judgement, "judge", lambda *_: None)
    folders = {"output_dir": tmp_path / "VGG", "cache_dir": tmp_path / "cache"}
    return lambda **changes: settings(lab, **(folders | {"epochs": 1} | changes))


@pytest.mark.parametrize(("changes", "cache_is_void"), [
    ({"gauss_range": 3000.0}, True), ({"extract_dtype": "bfloat16"}, True), ({"cache_dtype": "float16"}, True),
    ({"seed": 1}, False), ({"learning_rate": 0.02}, False), ({"batch_size": 5}, False),
    ({"mode": "end_to_end"}, True)])
def test_a_setting_that_changes_the_numbers_makes_void_what_was_computed(copy, capsys, changes, cache_is_void):
    main(copy(**changes))
    out = capsys.readouterr().out
    assert f"images ({'+-3000' if 'gauss_range' in changes else '+-5978.7'} G)" in out
    assert f"{0 if cache_is_void else 19} of 19 images are in it" in out
    assert f"trained with other settings or images ({', '.join(changes)}); they are moved to" in out


def test_other_weights_and_another_preprocessing_make_everything_void(copy, lab, capsys, monkeypatch):
    main(copy(weights=str(lab / "other.keras")))
    out = capsys.readouterr().out
    assert "0 of 19 images are in it" in out
    assert "other settings or images (weights)" in out
    monkeypatch.setattr(image_rows, "VERSION", 99)
    main(copy(weights=str(lab / "other.keras")))
    out = capsys.readouterr().out
    assert "0 of 19 images are in it" in out
    assert "preprocessing_version 1, here 99" in out
    assert "other settings or images (preprocessing_version)" in out


@pytest.mark.parametrize("split", ["training", "validation"])
def test_another_label_makes_the_heads_void(copy, lab, tmp_path, capsys, split):
    text = (lab / f"{split}.csv").read_text()
    (tmp_path / "list.csv").write_text(text[:-2] + ("0\n" if text.endswith("1\n") else "1\n"))
    main(copy(**{"train_file" if split == "training" else f"{split}_file": tmp_path / "list.csv"}))
    out = capsys.readouterr().out
    assert "19 of 19 images are in it" in out
    assert f"other settings or images ({split} images)" in out


def test_the_same_settings_use_all_that_there_is(copy, capsys, monkeypatch):
    monkeypatch.setattr(vgg_experiment, "build_backbone", refuse)
    main(copy(test_file=copy().test_file, n_jobs=1))
    out = capsys.readouterr().out
    assert "Going on after epoch 1" in out
    assert "not used" not in out


def test_end_to_end_keeps_its_forecasts(copy, capsys, monkeypatch):
    main(copy(mode="end_to_end"))
    real, seen = vgg_modes.backbone_outputs, []
    monkeypatch.setattr(vgg_modes, "backbone_outputs", lambda *both: (seen.append(len(both[1])), real(*both))[1])
    main(copy(mode="end_to_end"))
    assert not seen


def test_a_network_that_says_nothing_is_an_error(copy, lab):
    weights = random_weights(3, **NARROW)
    weights["fc2"][1][:] = -1e6
    build_backbone(weights).save(lab / "dead.keras")
    with pytest.raises(SystemExit, match="gives 0 for each of 64 features"):
        main(copy(weights=str(lab / "dead.keras")))
    weights["fc1"][0][3, 5] = np.nan
    build_backbone(weights).save(lab / "nan.keras")
    with pytest.raises(SystemExit, match="NaN or infinite numbers in fc1"):
        main(copy(weights=str(lab / "nan.keras")))


def forecast_of(lab, model):
    """Return the forecast of an image by a model."""
    with (model.parent / "forecast.log").open("w") as log:
        return vgg_forecast.forecast_with_vgg(model, sorted((lab / "fits" / "1158").iterdir())[:1], StageRun(log))


@pytest.mark.parametrize("stopped", ["judge", "sidecar"])
def test_a_stop_leaves_no_model_that_is_used_with_the_calibration_of_another(lab, tmp_path, monkeypatch, stopped):
    """Copies have other times than the originals, and are as good."""
    shutil.copytree(lab / "VGG", tmp_path / "VGG", copy_function=shutil.copyfile)
    model = tmp_path / "VGG" / "VGG_model.keras"
    before, first = model.read_bytes(), forecast_of(lab, model)["decision_value"][0]

    def stop(*_, **__):
        raise KeyboardInterrupt

    user = settings(lab, epochs=1, output_dir=tmp_path / "VGG", learning_rate=0.02)
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(*((vgg_judgement, "judge") if stopped == "judge" else (stage_run, "_write_sidecar")), stop)
        main(user)
    assert (model.read_bytes() == before) == (stopped == "judge")
    if stopped == "sidecar":
        with pytest.raises(UserError, match=r"is not the one that '.*VGG_model.keras.json' is about") as caught:
            forecast_of(lab, model)
        assert "\n" not in str(caught.value)
    main(user)
    assert forecast_of(lab, model)["decision_value"][0] != first


def test_persistence_counts_the_labelled_size_in_the_event_list(lab, tmp_path):
    (lab / "training.csv.json").write_text(json.dumps({"counts": {"flare_size": "M1.0"}}))
    (tmp_path / "events.txt").write_text("2011 02 14,2000,1158,C5.0\n2011 02 15,0030,1158,M2.0\n"
                                         "2011 02 15,0040,1160,X1.0\n")
    main(settings(lab, epochs=1, event_list=tmp_path / "events.txt"))
    report = json.loads((lab / "VGG" / "VGGClassifierStats_trainvaltest.json").read_text())
    assert report["flare_size"] == "M1.0"
    scores = report["splits"]["test"]["forecasts"]["persistence 24 h"]
    # images of 1158 every 12 minutes from 00:00, of which 0, 3 and 6 flare; the M2.0 is known from number 3 on
    assert scores["TPR"] == pytest.approx(2 / 3)
    assert scores["TNR"] == pytest.approx(2 / 5)
    assert not any("No sidecar tells" in remark for remark in report["remarks"])
    text = (lab / "VGG" / "VGGClassifierStats_trainvaltest.txt").read_text()
    assert text.startswith("Epoch 1 of 1, the one of largest validation TSS")
    assert text.count("validation: ") == 1


def test_the_opening_line_names_what_the_run_uses(lab):
    png = settings_text(settings(lab, image_format="png", mode="end_to_end"))
    assert not any(word in png for word in ("5978.7", "cache", "kept"))
    fits = settings_text(settings(lab))
    assert "+-5978.7 G" in fits
    assert "features kept in float32" in fits
    assert "resized images kept in" in settings_text(settings(lab, mode="end_to_end"))


def test_a_gpu_gets_memory_as_it_is_needed(tmp_path, monkeypatch):
    import tensorflow as tf

    grown, card = [], SimpleNamespace(name="GPU:0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [card] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda *call: grown.append(call))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: {"device_name": "Card"})
    with (tmp_path / "log").open("w") as log:
        run = StageRun(log)
        prepare_device(run)
    assert grown == [(card, True)]
    assert run.counts["devices"] == ["Card"]
