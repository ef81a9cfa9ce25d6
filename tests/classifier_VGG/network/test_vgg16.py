"""VGG16: set up whatever the user's Keras is, weights from every kind of file, and the user's files never lost."""

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from classifier_VGG.network import vgg16
from classifier_VGG.network.vgg16 import assemble, backbone_outputs, build_backbone, new_head, weight_source
from general_code.stage.files import UserError
from tests.vgg_lab import WIDTH, narrow_vgg16, random_backbone, refuse

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning",  # Keras' variables under numpy 2
                                        "ignore:.*HDF5 file:UserWarning")
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def grey():
    """Three images."""
    return np.random.default_rng(0).uniform(0, 255, (3, 224, 224)).astype(np.float32)


@pytest.fixture(scope="module")
def backbone(narrow_network):
    """A narrow network of seed 3."""
    return random_backbone(3)


def layers(model):
    """Return the weights of VGG16's layers by name."""
    return {layer.name: layer.get_weights() for layer in model.layers if layer.name.startswith(("block", "fc"))
            and layer.weights}


def published(backbone, **changes):
    """Return VGG16 as in keras.applications, with a backbone's weights."""
    model = narrow_vgg16(**changes)
    for name in layers(model):
        model.get_layer(name).set_weights(layers(backbone)[name])
    return model


def save(model, path):
    """Save a model, or its weights alone where the name says so."""
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)


def filled(path):
    """Return the network with the weights of a file."""
    return build_backbone(weight_source(str(path), 0, print))


def write_legacy(path, weights):
    """Write weights in the arrangement of the published file."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, pair in weights.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}_{letter}_1:0".encode() for letter in "Wb"]
            for letter, array in zip("Wb", pair, strict=True):
                group[f"{layer}_{letter}_1:0"] = array


@pytest.mark.parametrize("configuration", [
    {"image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1, "backend": "torch"},
    {"floatx": "float17", "backend": "theano", "image_dim_ordering": "th"}, None])
def test_the_users_keras_configuration_decides_nothing(tmp_path, configuration):
    """In a process of its own: Keras reads its configuration once."""
    home = tmp_path / "home"
    home.mkdir()
    if configuration is not None:
        (home / "keras.json").write_text(json.dumps(configuration))
    code = ("from classifier_VGG.network.vgg16 import prepare_keras; print(prepare_keras());"
            "import os, keras.config as c;"
            "print(c.backend(), c.floatx(), c.epsilon(), c.image_data_format(), c.dtype_policy().name,"
            "os.environ['KERAS_HOME'], os.environ['KERAS_BACKEND'])")
    users = {"KERAS_HOME": str(home), "KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "x", "PYTHONPATH": str(REPOSITORY)}
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | users
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, text=True, capture_output=True)
    lines = done.stdout.splitlines()
    assert lines[-1:] == [f"tensorflow float32 1e-07 channels_last float32 {home} jax"], done.stderr[-500:]
    assert "with tensorflow on the CPU" in lines[0]
    assert done.stderr == "", "no line of TensorFlow's own"
    assert (home / "keras.json").exists() == (configuration is not None), "nothing is written into a home"


@pytest.mark.parametrize(("installed", "message"), [
    (("tensorflow",), "backend: jax is not installed in this Python, only tensorflow; set --backend, or install it"),
    ((), "only none of them"), (("jax",), "backend: this process uses tensorflow already; start a new one for jax")])
def test_a_backend_that_cannot_be_used_is_refused_in_one_line(monkeypatch, installed, message):
    monkeypatch.setattr(vgg16, "find_spec", lambda name: True if name in installed else None)
    with pytest.raises(UserError, match=message) as caught:
        vgg16.prepare_keras("jax")
    assert "\n" not in str(caught.value)


def test_the_network_is_that_of_keras_applications(backbone, grey):
    model = published(backbone)
    outputs = keras.Model(model.inputs, model.get_layer("fc2").output)
    colour = keras.applications.vgg16.preprocess_input(np.repeat(grey[..., np.newaxis], 3, axis=-1))
    assert np.allclose(backbone_outputs(backbone, grey), outputs.predict_on_batch(colour), rtol=1e-5, atol=1e-5)


def test_the_full_network_has_the_published_number_of_parameters(monkeypatch):
    monkeypatch.setattr(keras.applications, "VGG16", keras.applications.vgg16.VGG16)
    none = vgg16.WeightSource("none", "none", lambda network: None, False)
    model = assemble(build_backbone(none), new_head(vgg16.FEATURES, 0, 1e-3))
    assert model.count_params() == vgg16.PARAMETERS == 134_268_738


def test_bfloat16_is_close_to_float32_and_given_as_float32(backbone, grey):
    exact, rounded = backbone_outputs(backbone, grey), backbone_outputs(random_backbone(3, "bfloat16"), grey)
    assert rounded.dtype == np.float32
    assert 0 < np.linalg.norm(rounded - exact) / np.linalg.norm(exact) < 0.03
    assert keras.config.dtype_policy().name == "float32"


def test_random_weights_depend_on_the_seed_alone(backbone):
    same, other = random_backbone(3), random_backbone(4)
    for name, (kernel, bias) in layers(backbone).items():
        assert np.array_equal(kernel, layers(same)[name][0])
        assert not np.array_equal(kernel, layers(other)[name][0])
        assert not bias.any()
        spread = kernel.std() * np.sqrt(np.prod(kernel.shape[:-1]) / 2) * (64 if name == "block1_conv1" else 1)
        assert spread == pytest.approx(1, abs=0.2)
    first, second, third = (vgg16.head_digest(new_head(8, seed, 1e-3)) for seed in (1, 1, 2))
    assert first == second != third


def test_a_network_that_says_nothing_is_refused(backbone, grey):
    dead = keras.models.clone_model(backbone)
    dead.get_layer("fc2").set_weights([np.zeros((WIDTH, WIDTH)), np.full(WIDTH, -1e6)])
    with pytest.raises(UserError, match=f"gives 0 for each of {WIDTH} features of 3 images.*--weights"):
        vgg16.require_features(backbone_outputs(dead, grey))
    assert not vgg16.require_features(backbone_outputs(dead, grey[:1])).any(), "one image may well have no features"


# ---------------------------------------------------------------------------- weight files


@pytest.mark.parametrize("name", ["whole.keras", "whole.h5", "whole.weights.h5", "published.h5", "published.keras",
                                  "published.weights.h5", "legacy.h5"])
def test_every_kind_of_file_gives_the_same_weights(backbone, tmp_path, name):
    path = tmp_path / name
    if name == "legacy.h5":
        write_legacy(path, layers(backbone))
    else:
        save(assemble(backbone, new_head(WIDTH, 0, 1e-3)) if name.startswith("whole") else published(backbone), path)
    read = layers(filled(path))
    for layer, pair in layers(backbone).items():
        assert all(np.array_equal(*both) for both in zip(pair, read[layer], strict=True))


@pytest.mark.parametrize("name", ["text.h5", "text.keras", "text.weights.h5", "text.bin", "notop.keras", "notop.h5",
                                  "notop.weights.h5", "other_top.weights.h5", "odd.h5"])
def test_files_that_cannot_serve_are_refused_in_one_line(backbone, tmp_path, name):
    path = tmp_path / name
    if name.startswith("text"):
        path.write_text("no weights")
    elif name == "odd.h5":
        kernel, bias = layers(backbone)["block3_conv2"]
        write_legacy(path, layers(backbone) | {"block3_conv2": (kernel[..., :1, :], bias)})
    else:
        model = published(backbone, include_top=False)
        top = [keras.layers.Flatten(), keras.layers.Dense(32), keras.layers.Dense(2)]
        save(keras.Sequential([*model.layers, *top]) if name.startswith("other") else model, path)
    with pytest.raises(UserError, match="expected VGG16 with its dense layers fc1 and fc2, as in vgg16_") as caught:
        filled(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("layer", "place", "number"), [("block3_conv2", 0, np.nan), ("fc1", 1, np.inf)])
def test_numbers_that_are_none_are_refused_since_a_relu_would_hide_them(backbone, tmp_path, layer, place, number):
    weights = copy.deepcopy(layers(backbone))
    weights[layer][place].flat[5] = number
    write_legacy(tmp_path / "a.h5", weights)
    with pytest.raises(UserError, match=f"got none, NaN or infinite numbers for {layer}; the file"):
        filled(tmp_path / "a.h5")


def test_sources_differ_by_their_weights(backbone, tmp_path):
    backbone.save(tmp_path / "a.keras")
    sources = [weight_source(name, seed, print) for name in ("random", str(tmp_path / "a.keras")) for seed in (0, 1)]
    assert len({source.digest for source in sources}) == 3
    assert [source.random for source in sources] == [True, True, False, False]
    with pytest.raises(UserError, match="expected \"imagenet\", \"random\" or a file"):
        weight_source(str(tmp_path / "nothing.h5"), 0, print)


# ---------------------------------------------------------------------------- ImageNet


@pytest.fixture
def keras_file(tmp_path, monkeypatch):
    """The place of Keras' file, whose content is "weights", in an empty folder for ~/.keras; and no network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(keras.utils, "get_file", refuse)
    monkeypatch.setattr(vgg16, "KERAS_MD5", hashlib.md5(b"weights").hexdigest())
    return tmp_path / "keras" / "models" / vgg16.KERAS_FILE


def test_the_right_file_is_used_and_one_of_another_content_is_refused_and_stays(keras_file):
    keras_file.parent.mkdir(parents=True)
    keras_file.write_bytes(b"weights")
    assert str(keras_file) in weight_source("imagenet", 0, print).description
    keras_file.write_bytes(b"the user's own")
    with pytest.raises(UserError, match="left as it is.*move it away"):
        weight_source("imagenet", 0, print)
    assert keras_file.read_bytes() == b"the user's own"


def test_without_a_network_the_message_says_where_to_put_the_file(keras_file):
    with pytest.raises(UserError, match="the download failed .*--weights PATH") as caught:
        weight_source("imagenet", 0, print)
    assert str(keras_file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_download_is_moved_into_place_when_it_is_whole(keras_file, monkeypatch):
    def download(name, url, file_hash, cache_dir, cache_subdir):
        assert url == vgg16.KERAS_URL
        assert not keras_file.exists()
        keras_file.with_name(name).write_bytes(b"weights")
        return str(keras_file.with_name(name))

    monkeypatch.setattr(keras.utils, "get_file", download)
    weight_source("imagenet", 0, print)
    assert list(keras_file.parent.iterdir()) == [keras_file]


def test_a_disk_too_small_for_the_download_is_reported_before_it(keras_file, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 10**8}))
    with pytest.raises(UserError, match="for the download of the ImageNet weights: 0.55 GB needed"):
        weight_source("imagenet", 0, print)
