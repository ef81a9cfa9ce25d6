"""Weights of VGG16: drawn, or read from every file that Keras writes, and refused when they cannot serve."""

import h5py
import keras
import numpy as np
import pytest
from vgg_lab import NARROW

from classifier_VGG.vgg16_network import assemble, backbone_outputs, build_backbone, new_head
from classifier_VGG.vgg16_weights import LAYERS, kernel_shapes, random_weights, read_weights, weights_digest
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


def write_legacy(path, weights):
    """Write weights in the arrangement of the published file; return the path."""
    with h5py.File(path, "w") as file:
        for layer, pair in weights.items():
            for letter, array in zip("Wb", pair, strict=True):
                file[f"{layer}/{layer}_{letter}_1:0"] = array
    return path


def test_the_full_network_has_the_published_number_of_parameters_and_drawn_weights_depend_on_the_seed_alone():
    sizes = kernel_shapes()
    total = sum(int(np.prod(shape)) + shape[-1] for shape in sizes.values())
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
    rounded = backbone_outputs(build_backbone(narrow, "bfloat16"), grey)
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
    if name == "legacy.h5":
        write_legacy(path, narrow)
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
    with pytest.raises(UserError, match="block3_conv2 has a kernel of shape"):
        read_weights(write_legacy(tmp_path / "odd.h5", narrow | {
            "block3_conv2": (narrow["block3_conv2"][0][..., :1, :], narrow["block3_conv2"][1])}))


def test_numbers_that_are_none_are_refused_since_a_relu_would_hide_them(tmp_path, narrow):
    for layer, place, number in (("block3_conv2", 0, np.nan), ("fc1", 1, np.inf)):
        pair = [array.copy() for array in narrow[layer]]
        pair[place].flat[5] = number
        with pytest.raises(UserError, match=f"NaN or infinite numbers in {layer}; the file is damaged"):
            read_weights(write_legacy(tmp_path / f"{layer}.h5", narrow | {layer: pair}))


def test_dense_layers_of_another_top_are_not_taken_for_fc1_and_fc2(tmp_path):
    model = published_network((4, 8, 8, 16, 16), 64, top=False)
    for layer in (keras.layers.Flatten(), keras.layers.Dense(32), keras.layers.Dense(2)):
        model.add(layer)
    model.save_weights(tmp_path / "other_top.weights.h5")
    with pytest.raises(UserError, match="have 32 and 2 outputs, expected VGG16's fc1 and fc2 of equal width"):
        read_weights(tmp_path / "other_top.weights.h5")


def test_the_digest_is_that_of_the_numbers(narrow):
    digest = weights_digest(narrow)
    assert digest == weights_digest({name: tuple(map(np.array, pair)) for name, pair in narrow.items()})
    assert digest != weights_digest(narrow | {"fc2": (narrow["fc2"][0], narrow["fc2"][1] + 1)})
    assert digest != weights_digest(narrow | {"fc2": (narrow["fc2"][0].T, narrow["fc2"][1])})


def test_a_network_that_says_nothing_is_refused(narrow):
    dead = narrow | {"fc2": (narrow["fc2"][0], np.full(64, -1e6, np.float32))}
    with pytest.raises(UserError, match="gives 0 for each of 64 features of 3 images.*--weights"):
        backbone_outputs(build_backbone(dead), np.full((3, 224, 224), 128, np.float32))
