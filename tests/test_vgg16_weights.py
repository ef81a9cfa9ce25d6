"""Weights of VGG16: drawn, read from every file Keras writes, and the user's files never lost."""

import hashlib

import h5py
import keras
import numpy as np
import pytest
from vgg_lab import NARROW

from classifier_VGG import vgg16_weights
from classifier_VGG.vgg16_network import assemble, backbone_outputs, build_backbone, new_head
from classifier_VGG.vgg16_weights import LAYERS, random_weights, read_weights, weight_source
from general_code.stage_files import UserError

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning",  # Keras' variables under numpy 2
                                        "ignore:.*HDF5 file:UserWarning")


@pytest.fixture(scope="module")
def narrow():
    """Weights of a narrow network."""
    return random_weights(3, **NARROW)


@pytest.fixture(scope="module")
def narrow_model(narrow):
    """Backbone and head in one model."""
    return assemble(build_backbone(narrow), new_head(64, 0, 1e-3))


def published_network(widths, dense, top=True):
    """Return VGG16 as in keras.applications, but narrower, with the 1000-way layer or without dense layers."""
    layers = [keras.Input((224, 224, 3))]
    for block, (width, depth) in enumerate(zip(widths, (2, 2, 3, 3, 3), strict=True), start=1):
        layers += [keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=f"block{block}_conv{number}")
                   for number in range(1, depth + 1)]
        layers.append(keras.layers.MaxPooling2D(name=f"block{block}_pool"))
    if top:
        layers += [keras.layers.Flatten(name="flatten"), keras.layers.Dense(dense, activation="relu", name="fc1"),
                   keras.layers.Dense(dense, activation="relu", name="fc2"),
                   keras.layers.Dense(1000, activation="softmax", name="predictions")]
    return keras.Sequential(layers)


def test_the_full_network_has_the_published_number_of_parameters_and_drawn_weights_depend_on_the_seed_alone():
    sizes = {name: (kernel.shape, bias.shape) for name, (kernel, bias) in random_weights(0).items()}
    total = sum(int(np.prod(shape)) for pair in sizes.values() for shape in pair)
    assert total + 2 * 4096 + 2 == 134_268_738
    assert tuple(sizes) == LAYERS
    first, second, other = (random_weights(seed, **NARROW) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name][0], second[name][0]) for name in LAYERS)
    assert not np.array_equal(first["fc2"][0], other["fc2"][0])


def test_the_network_is_that_of_keras_applications(narrow):
    published = published_network((4, 8, 8, 16, 16), 64)
    for name in LAYERS:
        published.get_layer(name).set_weights(narrow[name])
    outputs = keras.Model(published.inputs, published.get_layer("fc2").output)
    grey = np.random.default_rng(0).uniform(0, 255, (3, 224, 224)).astype(np.float32)
    colour = keras.applications.vgg16.preprocess_input(np.repeat(grey[..., np.newaxis], 3, axis=-1))
    assert np.allclose(backbone_outputs(build_backbone(narrow), grey), outputs.predict_on_batch(colour), rtol=1e-5,
                       atol=1e-5)


def test_bfloat16_is_close_to_float32_and_given_as_float32(narrow):
    grey = np.random.default_rng(0).uniform(0, 255, (3, 224, 224)).astype(np.float32)
    exact = backbone_outputs(build_backbone(narrow), grey)
    for dtype in ("bfloat16", "mixed_bfloat16"):
        rounded = backbone_outputs(build_backbone(narrow, dtype), grey)
        assert rounded.dtype == np.float32
        assert 0 < np.linalg.norm(rounded - exact) / np.linalg.norm(exact) < 0.03


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.weights.h5", "with_top.h5", "with_top.keras",
                                  "with_top.weights.h5", "legacy.h5"])
def test_every_kind_of_file_gives_the_same_weights(narrow, narrow_model, tmp_path, name):
    path = tmp_path / name
    model = narrow_model
    if name.startswith("with_top"):
        model = published_network((4, 8, 8, 16, 16), 64)
        for layer in LAYERS:
            model.get_layer(layer).set_weights(narrow[layer])
    if name == "legacy.h5":  # the arrangement of the published file
        with h5py.File(path, "w") as file:
            for layer in LAYERS:
                for letter, array in zip("Wb", narrow[layer], strict=True):
                    file[f"{layer}/{layer}_{letter}_1:0"] = array
    elif ".weights." in name:
        model.save_weights(path)
    else:
        model.save(path)
    for layer, (kernel, bias) in read_weights(path).items():
        assert np.array_equal(kernel, narrow[layer][0])
        assert np.array_equal(bias, narrow[layer][1])


def test_files_that_cannot_serve_are_refused_with_the_reason(tmp_path, narrow):
    (tmp_path / "text.h5").write_text("no weights")
    (tmp_path / "text.keras").write_text("no weights")
    for name in ("text.h5", "text.keras"):
        with pytest.raises(UserError, match="not a Keras model or weight file"):
            read_weights(tmp_path / name)
    published_network((4, 8, 8, 16, 16), 64, top=False).save_weights(tmp_path / "notop.weights.h5")
    with pytest.raises(UserError, match="layers fc1, fc2 are missing"):
        read_weights(tmp_path / "notop.weights.h5")
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        for layer, (kernel, bias) in narrow.items():
            file[f"{layer}/{layer}_W_1:0"] = kernel[..., :1, :] if layer == "block3_conv2" else kernel
            file[f"{layer}/{layer}_b_1:0"] = bias
    with pytest.raises(UserError, match="block3_conv2 has a kernel of shape"):
        read_weights(tmp_path / "odd.h5")
    with pytest.raises(UserError, match="expected \"imagenet\", \"random\" or a file"):
        weight_source(str(tmp_path / "nothing.h5"), 0, print)


def test_random_weights_say_so_and_differ_by_seed():
    first, second = (weight_source("random", seed, print) for seed in (0, 1))
    assert first.random
    assert first.digest != second.digest


def test_a_users_file_is_known_by_its_content(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"1")
    (tmp_path / "b.h5").write_bytes(b"1")
    (tmp_path / "c.h5").write_bytes(b"2")
    digests = [weight_source(str(tmp_path / name), 0, print).digest for name in ("a.h5", "b.h5", "c.h5")]
    assert digests[0] == digests[1] != digests[2]


# ---------------------------------------------------------------------------- ImageNet


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """An empty folder in place of ~/.keras."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


def refuse_call(*_, **__):
    """Stand for a function that must not be called."""
    raise AssertionError("Keras was called: it would delete the user's file")


def test_a_file_of_another_content_is_refused_and_stays(keras_home, monkeypatch):
    monkeypatch.setattr(keras.utils, "get_file", refuse_call)
    keras_home.mkdir(parents=True)
    path = keras_home / vgg16_weights.KERAS_FILE
    path.write_bytes(b"the user's own")
    with pytest.raises(UserError, match="left as it is.*move it away"):
        weight_source("imagenet", 0, print)
    assert path.read_bytes() == b"the user's own"


def test_the_right_file_is_used_without_calling_keras(keras_home, monkeypatch):
    monkeypatch.setattr(keras.utils, "get_file", refuse_call)
    monkeypatch.setattr(vgg16_weights, "KERAS_MD5", hashlib.md5(b"weights").hexdigest())
    keras_home.mkdir(parents=True)
    (keras_home / vgg16_weights.KERAS_FILE).write_bytes(b"weights")
    assert not weight_source("imagenet", 0, print).random


def test_without_a_network_the_message_says_where_to_put_the_file(keras_home, monkeypatch):
    def fail(*_, **__):
        raise Exception("URL fetch failure on https://...: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(UserError) as caught:
        weight_source("imagenet", 0, print)
    assert str(keras_home / vgg16_weights.KERAS_FILE) in str(caught.value)
    assert "--weights PATH" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_download_is_moved_into_place_when_it_is_whole(keras_home, monkeypatch):
    def download(name, url, file_hash, cache_dir, cache_subdir):
        assert url == vgg16_weights.KERAS_URL
        assert not (keras_home / vgg16_weights.KERAS_FILE).exists()
        (keras_home / name).write_bytes(b"weights")
        return str(keras_home / name)

    monkeypatch.setattr(vgg16_weights, "KERAS_MD5", hashlib.md5(b"weights").hexdigest())
    monkeypatch.setattr(keras.utils, "get_file", download)
    weight_source("imagenet", 0, print)
    assert [path.name for path in keras_home.iterdir()] == [vgg16_weights.KERAS_FILE]
