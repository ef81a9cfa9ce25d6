"""A small data set of bipoles, lists and a narrow VGG16 for the tests of stages 6 and 7.

`python -m tests.vgg_lab ...` starts stage 7 with the narrow network.
"""

import keras
import numpy as np
import pytest
from keras.applications.vgg16 import preprocess_input  # noqa: F401  looked for beside the application

from classifier_VGG import VGG_transfer_learning as stage
from classifier_VGG.network import vgg16
from classifier_VGG.network.vgg16 import build_backbone, weight_source
from general_code.images.magnetograms import gauss_to_grey, write_magnetogram, write_png
from general_code.images.names import dataset_name
from general_code.stage.run import command_line

REGIONS = {"training": ("1170", "1180", "1190", "1200"), "validation": ("1160",), "test": ("1158",)}
IMAGES_A_REGION = 8
BLOCKS = ((4, 2), (8, 2), (8, 3), (16, 3), (16, 3))  # width and depth: a thousandth of VGG16's work
WIDTH = 64  # of fc1 and fc2


def narrow_vgg16(weights=None, input_tensor=None, classes=1000, include_top=True):
    """Stand for keras.applications.VGG16: the same layers, but narrow."""
    image = keras.Input((224, 224, 3)) if input_tensor is None else input_tensor
    values = image
    for block, (width, depth) in enumerate(BLOCKS, start=1):
        for number in range(1, depth + 1):
            values = keras.layers.Conv2D(width, 3, padding="same", activation="relu",
                                         name=f"block{block}_conv{number}")(values)
        values = keras.layers.MaxPooling2D(name=f"block{block}_pool")(values)
    if include_top:
        values = keras.layers.Flatten(name="flatten")(values)
        for name in ("fc1", "fc2"):
            values = keras.layers.Dense(WIDTH, activation="relu", name=name)(values)
        values = keras.layers.Dense(classes, activation="softmax", name="predictions")(values)
    return keras.Model(keras.utils.get_source_inputs(image), values)


def narrow(patch):
    """Replace the full network."""
    patch.setattr(keras.applications, "VGG16", narrow_vgg16)
    narrower = vgg16.VGG16._replace(features=WIDTH)
    patch.setattr(vgg16, "VGG16", narrower)
    patch.setattr(stage, "VGG16", narrower)
    patch.setattr("general_code.evaluation.scores.MIN_REGIONS", 1)  # these sets are small


def random_backbone(seed, dtype="float32"):
    """Return the network with weights drawn by a seed."""
    return build_backbone(weight_source("random", seed, print, vgg16.VGG16), dtype)


def bipole(strength, rng):
    """Return a noisy bipole of the given strength [G]."""
    y, x = np.mgrid[-1:1:64j, -1:1:80j]
    field = np.exp(-((x - 0.2) ** 2 + y**2) * 15) - np.exp(-((x + 0.2) ** 2 + y**2) * 15)
    return strength * field + rng.normal(0, 10, field.shape)


def make_dataset(folder):
    """Write FITS and PNG images, 12 minutes apart (strong ones flare), and the three lists."""
    rng = np.random.default_rng(7)
    for split, regions in REGIONS.items():
        lines = ["filename,class\n"]
        for region in regions:
            (folder / "fits" / region).mkdir(parents=True)
            (folder / "png" / region).mkdir(parents=True)
            start = np.datetime64("2011-02-15T00:00:00") + np.timedelta64(int(region) - 1158, "D")
            for number in range(IMAGES_A_REGION):
                name = dataset_name(region, start + np.timedelta64(12 * number, "m"), 1, "fits")
                flares = (number + int(region)) % 3 == 0
                field = bipole(3000 if flares else 600, rng)
                write_magnetogram(folder / "fits" / region / name, field)
                write_png(folder / "png" / region / name.replace(".fits", ".png"), gauss_to_grey(field, 25.0))
                lines.append(f"{region}/{name},{int(flares)}\n")
        (folder / f"{split}.csv").write_text("".join(lines))


def settings(lab, **changes):
    """Return settings for a folder of `make_dataset` with a network in `narrow.keras`."""
    values = {"train_file": lab / "training.csv", "validation_file": lab / "validation.csv",
              "test_file": lab / "test.csv", "dataset_dir": lab / "fits", "weights": str(lab / "narrow.keras"),
              "event_list": "", "output_dir": lab / "VGG", "cache_dir": lab / "cache", "epochs": 3,
              "batch_size": 12, "learning_rate": 0.01, "n_jobs": 1}
    return stage.UserDefinitions(**(values | changes))


def refuse(*_, **__):
    """Stand for a function that must not be called."""
    raise AssertionError("called again")


if __name__ == "__main__":
    narrow(pytest.MonkeyPatch())
    stage.main(command_line(stage.UserDefinitions, __doc__))
