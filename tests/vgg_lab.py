"""A small data set of bipoles, lists and a narrow VGG16 for the tests of stages 6 and 7."""

from pathlib import Path

import numpy as np

from classifier_VGG.image_lists import list_name
from classifier_VGG.VGG_transfer_learning import UserDefinitions
from general_code.image_names import dataset_name
from general_code.magnetograms import gauss_to_grey, write_magnetogram, write_png

REGIONS = {"training": ("1170", "1180", "1190", "1200"), "validation": ("1160",), "test": ("1158",)}
IMAGES_A_REGION = 8
NARROW = {"block_widths": (4, 8, 8, 16, 16), "dense_width": 64}  # VGG16's depth at a thousandth of its work


def bipole(strength, rng):
    """Return a noisy bipole of the given strength [G]."""
    y, x = np.mgrid[-1:1:64j, -1:1:80j]
    field = np.exp(-((x - 0.2) ** 2 + y**2) * 15) - np.exp(-((x + 0.2) ** 2 + y**2) * 15)
    return strength * field + rng.normal(0, 10, field.shape)


def image_names(region):
    """Return the names of a region's images, 12 minutes apart."""
    start = np.datetime64("2011-02-15T00:00:00") + np.timedelta64(int(region) - 1158, "D")
    return [dataset_name(region, start + np.timedelta64(720 * number, "s"), 1, "fits")
            for number in range(IMAGES_A_REGION)]


def make_dataset(folder):
    """Write FITS and PNG images (strong ones flare) and the three lists; return the lists' paths by split."""
    rng, lists = np.random.default_rng(7), {}
    for split, regions in REGIONS.items():
        lines = ["filename,class\n"]
        for region in regions:
            (folder / "fits" / region).mkdir(parents=True)
            (folder / "png" / region).mkdir(parents=True)
            for number, name in enumerate(image_names(region)):
                flares = (number + int(region)) % 3 == 0
                field = bipole(3000 if flares else 600, rng)
                write_magnetogram(folder / "fits" / region / name, field)
                write_png(folder / "png" / region / name.replace(".fits", ".png"), gauss_to_grey(field, 25.0))
                lines.append(f"{list_name(name)},{int(flares)}\n")
        lists[split] = folder / f"{split}.csv"
        lists[split].write_text("".join(lines))
    return lists


def settings(lab, **changes):
    """Return settings for a folder of `make_dataset` with a network in `narrow.keras`."""
    values = {"train_file": lab / "training.csv", "validation_file": lab / "validation.csv",
              "test_file": lab / "test.csv", "dataset_dir": lab / "fits", "weights": str(lab / "narrow.keras"),
              "event_list": Path(""), "output_dir": lab / "VGG", "cache_dir": lab / "cache", "epochs": 3,
              "batch_size": 12, "learning_rate": 0.01, "n_jobs": 1}
    return UserDefinitions(**(values | changes))


def refuse(*_, **__):
    """Stand for a function that must not be called."""
    raise AssertionError("called again")
