"""Where weights come from: what is known of them without reading, and the user's files never lost."""

import hashlib

import keras
import numpy as np
import pytest
from vgg_lab import NARROW

import classifier_VGG.weight_source as weight_source_module
from classifier_VGG.vgg16_network import build_backbone
from classifier_VGG.vgg16_weights import KERAS_FILE, random_weights
from classifier_VGG.weight_source import imagenet_file, weight_source
from general_code.stage_files import UserError

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning",  # Keras' variables under numpy 2
                                        "ignore:.*HDF5 file:UserWarning")


def refuse_call(*_, **__):
    """Stand for a function that must not be called."""
    raise AssertionError("called: Keras would delete the user's file, a rerun would read half a GB")


def test_random_weights_say_so_and_differ_by_seed(tmp_path):
    first, second = (weight_source("random", seed, tmp_path / "notes", print) for seed in (0, 1))
    assert first.random
    assert first.note.digest != second.note.digest
    assert first.note[1:] == (4096, 4 * (134_268_738 - 8_194))
    assert not (tmp_path / "notes").exists()


def test_a_file_is_known_by_its_numbers_and_read_when_they_are_needed(tmp_path, monkeypatch):
    weights, notes = random_weights(3, **NARROW), tmp_path / "cache" / "weights.json"
    model = build_backbone(weights)
    model.save(tmp_path / "a.keras")
    model.save(tmp_path / "b.h5")
    first, second = (weight_source(str(tmp_path / name), 0, notes, print) for name in ("a.keras", "b.h5"))
    assert first.note == second.note
    assert first.note.width == 64
    assert first.note.n_bytes == 4 * model.count_params()
    monkeypatch.setattr("classifier_VGG.weight_source.read_weights", refuse_call)
    assert weight_source(str(tmp_path / "a.keras"), 0, notes, print).note == first.note
    assert np.array_equal(first.load()["fc2"][0], weights["fc2"][0]), "read before"
    notes.write_text("damaged")
    with pytest.raises(AssertionError):
        weight_source(str(tmp_path / "a.keras"), 0, notes, print)


def test_a_setting_that_names_no_file_is_said(tmp_path):
    with pytest.raises(UserError, match="expected \"imagenet\", \"random\" or a file"):
        weight_source(str(tmp_path / "nothing.h5"), 0, tmp_path / "notes", print)


# ---------------------------------------------------------------------------- ImageNet


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """An empty folder in place of ~/.keras."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


def test_a_file_of_another_content_is_refused_and_stays(keras_home, monkeypatch):
    monkeypatch.setattr(keras.utils, "get_file", refuse_call)
    keras_home.mkdir(parents=True)
    path = keras_home / KERAS_FILE
    path.write_bytes(b"the user's own")
    with pytest.raises(UserError, match="left as it is.*move it away"):
        imagenet_file(print)
    assert path.read_bytes() == b"the user's own"


def test_the_right_file_is_used_without_calling_keras(keras_home, monkeypatch):
    monkeypatch.setattr(keras.utils, "get_file", refuse_call)
    monkeypatch.setattr(weight_source_module, "KERAS_MD5", hashlib.md5(b"weights").hexdigest())
    keras_home.mkdir(parents=True)
    (keras_home / KERAS_FILE).write_bytes(b"weights")
    assert imagenet_file(print) == keras_home / KERAS_FILE


def test_without_a_network_the_message_says_where_to_put_the_file(keras_home, monkeypatch):
    def fail(*_, **__):
        raise Exception("URL fetch failure on https://...: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(UserError) as caught:
        imagenet_file(print)
    assert str(keras_home / KERAS_FILE) in str(caught.value)
    assert "--weights PATH" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_download_is_moved_into_place_when_it_is_whole(keras_home, monkeypatch):
    def download(name, url, file_hash, cache_dir, cache_subdir):
        assert url == weight_source_module.KERAS_URL
        assert not (keras_home / KERAS_FILE).exists()
        (keras_home / name).write_bytes(b"weights")
        return str(keras_home / name)

    monkeypatch.setattr(weight_source_module, "KERAS_MD5", hashlib.md5(b"weights").hexdigest())
    monkeypatch.setattr(keras.utils, "get_file", download)
    imagenet_file(print)
    assert [path.name for path in keras_home.iterdir()] == [KERAS_FILE]


def test_a_disk_too_small_for_the_download_is_said_before_it(keras_home, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 10**8}))
    monkeypatch.setattr(keras.utils, "get_file", refuse_call)
    with pytest.raises(UserError, match="for the download of the ImageNet weights: 0.55 GB needed"):
        imagenet_file(print)
