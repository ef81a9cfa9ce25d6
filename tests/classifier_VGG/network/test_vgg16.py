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
from classifier_VGG.network.vgg16 import (
    VGG16,
    FrozenNetwork,
    assemble,
    backbone_outputs,
    build_backbone,
    new_head,
    weight_source,
)
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
    return build_backbone(weight_source(str(path), 0, print, vgg16.VGG16))


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
    published, (file,) = vgg16._publish("VGG16")
    none = vgg16.WeightSource(VGG16, "none", "none", lambda network: None, False)
    network = build_backbone(none)
    model = assemble(network, new_head(VGG16.features, 0, 1e-3))
    assert model.count_params() == VGG16.parameters == 134_268_738
    assert (published.input_shape[1:], file) == ((VGG16.pixels, VGG16.pixels, 3), VGG16[4:])
    assert vgg16.memory_needed(network) == (4 * (134_268_738 - 2 * 4097), 4 * 2 * 224 * 224 * 64)


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
    network = FrozenNetwork(lambda: dead, 2, print)
    with pytest.raises(UserError, match=f"gives 0 for each of {WIDTH} features of 3 images.*--weights"):
        network(grey)
    assert not network(grey[:1]).any(), "one image may well have no features"


# ---------------------------------------------------------------------------- memory


def error_of(name, text):
    """Return an error of a class of this name, as a backend raises it."""
    return type(name, (RuntimeError,), {})(text)


NO_MEMORY = [error_of("ResourceExhaustedError", "{{function_node __wrapped__Conv2D}} OOM when allocating tensor"),
             error_of("OutOfMemoryError", "CUDA out of memory. Tried to allocate 3.06 GiB."),
             error_of("XlaRuntimeError", "RESOURCE_EXHAUSTED: Failed to allocate 3289710592 bytes."),
             RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
             MemoryError()]


@pytest.fixture
def small_device(backbone, monkeypatch):
    """A function: the narrow network on a device that holds so many images; what it reports; sizes of its passes."""
    def network(fitting, error):
        passes, lines = [], []

        def outputs(model, images):
            passes.append(len(images))
            if len(images) > fitting:
                raise error
            return backbone_outputs(model, images)

        monkeypatch.setattr(vgg16, "backbone_outputs", outputs)
        return FrozenNetwork(lambda: backbone, 8, lines.append), lines, passes

    return network


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_too_little_memory_halves_the_images_of_a_pass_and_says_so(backbone, small_device, error):
    grey = np.random.default_rng(0).uniform(0, 255, (9, 224, 224)).astype(np.float32)
    network, lines, passes = small_device(3, error)
    assert np.allclose(network(grey), backbone_outputs(backbone, grey), rtol=1e-5, atol=1e-6)
    assert passes == [8, 4, 2, 2, 2, 2, 1]
    assert network(grey[:3]).shape == (3, WIDTH)
    assert passes[-2:] == [2, 1], "the next batch does not try again"
    assert lines[0].startswith("VGG16: 8 images at a time (extract_batch) take about ")
    assert [line.partition("has ")[2] for line in lines[1:]] == ["no memory for 8 images; going on with 4 at a time",
                                                                 "no memory for 4 images; going on with 2 at a time"]
    assert network(grey[:0]).shape == (0, WIDTH)


@pytest.mark.parametrize(("error", "kind", "message", "tried"), [
    (NO_MEMORY[1], UserError, "backend: the CPU has no memory for one image; stop other programs on it", [5, 2, 1]),
    (ValueError("not about memory"), ValueError, "not about memory", [5])])
def test_a_device_without_memory_for_one_image_ends_in_one_line_and_other_errors_stay(
        small_device, error, kind, message, tried):
    network, _, passes = small_device(0, error)
    with pytest.raises(kind, match=message):
        network(np.zeros((5, 224, 224), np.float32))
    assert passes == tried


def test_a_device_without_memory_for_the_weights_ends_in_one_line():
    def build():
        raise NO_MEMORY[2]

    network = FrozenNetwork(build, 0, print)
    assert network.images == 64, "on a CPU"
    with pytest.raises(UserError, match="backend: the CPU has no memory for the weights of the network; stop"):
        network(np.zeros((1, 224, 224), np.float32))



# ---------------------------------------------------------------------------- other applications


MODULES = {"EfficientNetV2B0": "efficientnet_v2", "MobileNet": "mobilenet"}  # preprocess inside, and outside


@pytest.fixture(scope="module", params=MODULES)
def other(request):
    """An application by name, and our network of it with random weights."""
    source = weight_source("random", 1, print, vgg16.find_backbone(request.param))
    return source.backbone, build_backbone(source)


def test_an_application_gives_what_keras_gives_in_front_of_its_classifier(other, grey, tmp_path):
    """The reference is Keras' own network, fed by the module's own preprocessing; the weights travel in a file."""
    found, network = other
    published = getattr(keras.applications, found.name)(weights=None)
    for ours, weight in zip(network.weights, published.weights, strict=False):
        weight.assign(ours)
    published.save(tmp_path / "whole.keras")
    colour = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    colour = getattr(keras.applications, MODULES[found.name]).preprocess_input(colour)
    front = keras.Model(published.input, [layer for layer in published.layers if layer.weights][-1].input)
    expected = front.predict_on_batch(colour).reshape(3, -1)
    assert expected.shape == (3, found.features)
    assert np.abs(expected).max() > 1e-3
    read = build_backbone(weight_source(str(tmp_path / "whole.keras"), 0, print, found))
    for each in (network, read):
        assert np.allclose(backbone_outputs(each, grey), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    inputs = grey[:2, ..., np.newaxis]
    assert np.allclose(network(inputs, training=True), network(inputs), rtol=1e-5), "it drops and normalizes alike"
    assert found.parameters == assemble(network, new_head(found.features, 0, 1e-3)).count_params()
    assert found.url.endswith(found.file)


def test_bfloat16_is_for_the_layers_after_the_preprocessing(other):
    """Grey levels would be rounded to half ones: fields below 12 G would be gone."""
    network = build_backbone(weight_source("random", 1, print, other[0]), "bfloat16")
    levels = np.full((2, 224, 224), 127.5, np.float32)
    levels[1, :, 100:] += 0.2
    assert not np.array_equal(*backbone_outputs(network, levels))


def test_weights_of_another_application_are_refused_in_one_line(other, backbone, tmp_path):
    found, _ = other
    published(backbone).save(tmp_path / "VGG16.keras")
    published(backbone).save_weights(tmp_path / "VGG16.weights.h5")
    write_legacy(tmp_path / "VGG16.h5", layers(backbone))
    for name in ("VGG16.keras", "VGG16.weights.h5", "VGG16.h5"):
        with pytest.raises(UserError, match=f"weights '.*{name}': expected {found.name}, as in ") as caught:
            build_backbone(weight_source(str(tmp_path / name), 0, print, found))
        assert "\n" not in str(caught.value)


def test_imagenet_weights_of_an_application_are_read_as_keras_reads_them(other, tmp_path, monkeypatch):
    found, _ = other
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    path = tmp_path / "models" / found.file
    path.parent.mkdir()
    published = getattr(keras.applications, found.name)(weights=None)
    published.save(path)
    for kind in ("md5", "sha256"):  # Keras has either
        known = found._replace(digest=hashlib.new(kind, path.read_bytes()).hexdigest())
        source = weight_source("imagenet", 0, print, known)
        assert source.digest == known.digest
    ours = build_backbone(source).weights
    assert all(np.array_equal(*pair) for pair in zip(ours, published.weights, strict=False))


def test_an_efficientnet_without_imagenets_scaling_is_refused_rather_than_scaled_once_more(tmp_path):
    keras.applications.EfficientNetB0(weights=None).save(tmp_path / "plain.keras")
    source = weight_source(str(tmp_path / "plain.keras"), 0, print, vgg16.find_backbone("EfficientNetB0"))
    with pytest.raises(UserError, match="expected EfficientNetB0.*preprocessing is not .* as for ImageNet's weights"):
        build_backbone(source)


@pytest.mark.parametrize(("name", "near"), [("resnet50", "ResNet50, "), ("VGG-16", "VGG16, "), ("x", "ConvNeXtBase, ")])
def test_an_application_that_does_not_exist_is_one_line_with_suggestions(name, near):
    with pytest.raises(UserError, match=f"backbone: expected .* got '{name}'.*did you mean {near}.*[?]") as caught:
        vgg16.find_backbone(name)
    assert "\n" not in str(caught.value)


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
    monkeypatch.setattr(vgg16, "VGG16", vgg16.VGG16._replace(digest=hashlib.md5(b"weights").hexdigest()))
    return tmp_path / "keras" / "models" / vgg16.VGG16.file


def imagenet():
    """Return the source that the fixture prepared."""
    return weight_source("imagenet", 0, print, vgg16.VGG16)


def test_the_right_file_is_used_and_one_of_another_content_is_refused_and_stays(keras_file):
    keras_file.parent.mkdir(parents=True)
    keras_file.write_bytes(b"weights")
    assert str(keras_file) in imagenet().description
    keras_file.write_bytes(b"the user's own")
    with pytest.raises(UserError, match="left as it is.*move it away"):
        imagenet()
    assert keras_file.read_bytes() == b"the user's own"


def test_without_a_network_the_message_says_where_to_put_the_file(keras_file):
    with pytest.raises(UserError, match="the download failed .*--weights PATH") as caught:
        imagenet()
    assert str(keras_file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_download_is_moved_into_place_when_it_is_whole(keras_file, monkeypatch):
    def download(name, url, file_hash, cache_dir, cache_subdir):
        assert url == vgg16.VGG16.url
        assert not keras_file.exists()
        keras_file.with_name(name).write_bytes(b"weights")
        return str(keras_file.with_name(name))

    monkeypatch.setattr(keras.utils, "get_file", download)
    imagenet()
    assert list(keras_file.parent.iterdir()) == [keras_file]


def test_a_disk_too_small_for_the_download_is_reported_before_it(keras_file, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 10**8}))
    with pytest.raises(UserError, match="for the download of the ImageNet weights: 0.55 GB needed"):
        imagenet()
