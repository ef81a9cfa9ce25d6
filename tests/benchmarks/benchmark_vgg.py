"""Time stage 7: input, extraction, both ways of training, the head's epoch over 759,357 rows.

Usage
-----
    python tests/benchmarks/benchmark_vgg.py            # some minutes on two idle cores; 3 GB of disk for a while
    python tests/benchmarks/benchmark_vgg.py --images 32 --head-rows 50000 --repeats 1
"""

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # repository root

import keras
import numpy as np
import tyro
from joblib import Parallel, delayed

from classifier_VGG.backbone_cache import RowCache, image_files
from classifier_VGG.head_training import HeadTrainer, class_weights, epoch_order
from classifier_VGG.image_input import gauss_to_input, input_batches
from classifier_VGG.vgg16_network import backbone_outputs, build_backbone, new_head
from classifier_VGG.vgg16_weights import random_weights
from general_code.magnetograms import gauss_to_grey, write_magnetogram, write_png

IMAGE_FLOP = 30.94e9  # to fc2: 15.35e9 multiply-adds in convolutions, 0.12e9 in fc1 and fc2
TRAINING_ROWS = 759_357  # of the published data set
GAUSS_RANGE = 5978.7


@dataclass(frozen=True)
class UserDefinitions:
    """Sizes of the measurement."""

    images: int = 64  # passed through VGG16; a batch is half of them
    fits_images: int = 64  # of 600x600 pixels
    head_rows: int = 200_000  # of 4096 float16 on disk; the epoch's time is given for 759,357
    repeats: int = 3  # the fastest counts
    jobs: int = 2  # processes that read FITS


def main(user: UserDefinitions) -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = measure_input(user, folder) + measure_network(user, folder) + measure_head(user, folder)
    print(f"\n{'what':<66}{'measured':>16}   wanted")
    for what, value, wanted in rows:
        print(f"{what:<66}{value:>16}   {wanted}")


def fastest(function, repeats):
    """Return the shortest time of some calls, after one for warming up [s]."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


# ---------------------------------------------------------------------------- input


def bipole(strength, pixels, rng):
    """Return a bipole with 8 G of noise."""
    y, x = np.mgrid[-1:1:pixels * 1j, -1:1:pixels * 1j]
    field = np.exp(-((x - 0.2) ** 2 + y**2) * 30) - np.exp(-((x + 0.2) ** 2 + y**2) * 30)
    return strength * field + rng.normal(0, 8, field.shape)


def published_input(path):
    """Read an image as the published notebook does: astropy, three channels, then the resize."""
    from astropy.io import fits
    from skimage.transform import resize

    with fits.open(path) as file:
        image = np.repeat(file[1].data[..., np.newaxis], 3, axis=-1).astype(np.float64)
    return gauss_to_input(resize(image, (224, 224, 3), order=1, anti_aliasing=True, preserve_range=True), GAUSS_RANGE)


def measure_input(user, folder):
    """Time FITS against the published path, and PNG."""
    rng, paths, pngs = np.random.default_rng(0), [], []
    for number in range(user.fits_images):
        paths.append(folder / f"{number}.fits")
        write_magnetogram(paths[-1], bipole(2000, 600, rng))
        pngs.append(folder / f"{number}.png")
        write_png(pngs[-1], gauss_to_grey(bipole(2000, 224, rng), 25.0))
    with Parallel(n_jobs=user.jobs) as workers:
        published = fastest(lambda: workers(delayed(published_input)(path) for path in paths), user.repeats)
    ours = fastest(lambda: list(input_batches(paths, "fits", GAUSS_RANGE, 16 * user.jobs, user.jobs)), user.repeats)
    png = fastest(lambda: list(input_batches(pngs, "png", GAUSS_RANGE, 32, user.jobs)), user.repeats)
    first = next(iter(input_batches(paths[:1], "fits", GAUSS_RANGE, 1, 1))).grey[0]
    difference = np.abs(first - published_input(paths[0])[..., 0]).max() * 2 * GAUSS_RANGE / 255
    return [("FITS 600x600 to input, images/s", f"{len(paths) / ours:.0f}", ""),
            ("  times the published path with as many processes", f"{published / ours:.2f}", ">= 4"),
            ("  largest difference from it [G]", f"{difference:.1e}", "<= 1e-3"),
            ("PNG 224x224 to input, images/s", f"{len(pngs) / png:.0f}", "")]


# ---------------------------------------------------------------------------- network


def matmul_rate():
    """Return the rate of a large float32 product [FLOP/s]."""
    import tensorflow as tf

    size = 4096
    left, right = tf.random.normal((size, size)), tf.random.normal((size, size))
    return 2 * size**3 / fastest(lambda: tf.matmul(left, right).numpy(), 5)


def has_bfloat16():
    """Tell whether the processor multiplies bfloat16 itself."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def measure_network(user, folder):
    """Time the forward pass, the extraction into the cache, and five epochs each way."""
    rng = np.random.default_rng(0)
    weights, batch = random_weights(0), max(user.images // 2, 1)
    names = [f"{number}.png" for number in range(user.images)]
    for name in names:
        write_png(folder / name, gauss_to_grey(bipole(rng.uniform(300, 3000), 224, rng), 25.0))
    grey = rng.uniform(0, 255, (batch, 224, 224)).astype(np.float32)
    backbone = build_backbone(weights)
    forward = batch / fastest(lambda: backbone_outputs(backbone, grey), user.repeats)
    peak = matmul_rate()
    caches = iter(range(1000))
    extraction = fastest(lambda: extract(backbone, folder, names, batch, f"cache{next(caches)}"), user.repeats)
    rounded = build_backbone(weights, "bfloat16")
    forward16 = batch / fastest(lambda: backbone_outputs(rounded, grey), user.repeats)
    wanted16 = ">= 1.8" if has_bfloat16() else "(no AVX512_BF16 or AMX here)"
    end_to_end, cached, difference = both_ways(backbone, folder, names, batch)
    return [("VGG16 to fc2, float32, images/s", f"{forward:.2f}", ""),
            ("  of the rate of a 4096x4096 tf.matmul", f"{forward * IMAGE_FLOP / peak:.2f}", ">= 0.85"),
            ("extraction into the cache, images/s", f"{user.images / extraction:.2f}", ""),
            ("  of the forward pass", f"{user.images / extraction / forward:.2f}", ">= 0.90"),
            ("bfloat16, times float32", f"{forward16 / forward:.2f}", wanted16),
            ("5 epochs end to end [s]", f"{end_to_end:.1f}", ""),
            ("5 epochs cached, extraction included [s]", f"{cached:.1f}", ""),
            ("  times faster", f"{end_to_end / cached:.2f}", ">= 4.5"),
            ("  largest difference of the heads' weights", f"{difference:.1e}", "<= 1e-5")]


def extract(backbone, folder, names, batch, cache_name):
    """Pass images into a new cache; return their features."""
    files = image_files(folder, names)
    with RowCache(folder / cache_name, {"kind": "features"}, backbone.output_shape[-1], "float32") as cache:
        for part in input_batches([folder / name for name in names], "png", GAUSS_RANGE, batch, 1):
            cache.append([files[place] for place in part.places], backbone_outputs(backbone, part.grey))
        cache.commit()
        return cache.values()


def both_ways(backbone, folder, names, batch):
    """Return the times of five epochs end to end and cached [s], and how much their heads differ."""
    from classifier_VGG.vgg16_network import assemble

    classes = np.arange(len(names)) % 3 // 2
    grey = next(iter(input_batches([folder / name for name in names], "png", GAUSS_RANGE, len(names), 1))).grey
    head, twin = (new_head(backbone.output_shape[-1], 0, 1e-3) for _ in range(2))
    model = assemble(backbone, head)
    start = time.perf_counter()
    for epoch in range(1, 6):
        order = epoch_order(len(names), 0, epoch)
        model.fit(grey[order][..., np.newaxis], np.eye(2, dtype=np.float32)[classes[order]], batch, 1, shuffle=False,
                  class_weight=class_weights(classes), verbose=0)
    end_to_end = time.perf_counter() - start
    start = time.perf_counter()
    trainer, rows = HeadTrainer(twin, extract(backbone, folder, names, batch, "timed"), batch), np.arange(len(names))
    for epoch in range(1, 6):
        trainer.train_epoch(rows, classes, class_weights(classes), epoch_order(len(names), 0, epoch))
    cached = time.perf_counter() - start
    difference = max(np.abs(one - two).max() for one, two in zip(head.get_weights(), twin.get_weights(), strict=True))
    return end_to_end, cached, difference


# ---------------------------------------------------------------------------- head


def measure_head(user, folder):
    """Time an epoch of the head over cached float16 rows."""
    rng, rows = np.random.default_rng(0), user.head_rows
    with (folder / "rows.bin").open("wb") as file:
        for start in range(0, rows, 10_000):
            block = rng.standard_normal((min(10_000, rows - start), 4096), dtype=np.float32)
            np.maximum(block, 0).astype(np.float16).tofile(file)
    features = np.memmap(folder / "rows.bin", np.float16, "r", shape=(rows, 4096))
    classes = (rng.random(rows) < 0.2).astype(np.int8)
    trainer = HeadTrainer(new_head(4096, 0, 1e-3), features, 64)

    def epoch():
        trainer.train_epoch(np.arange(rows), classes, class_weights(classes), epoch_order(rows, 0, 1))

    scaled = fastest(epoch, user.repeats) * TRAINING_ROWS / rows
    return [(f"head, one epoch of {TRAINING_ROWS:,} rows (from {rows:,}) [s]", f"{scaled:.1f}", "<= 15")]


if __name__ == "__main__":
    print(f"Keras {keras.__version__}, {os.cpu_count()} cores")
    main(tyro.cli(UserDefinitions, description=__doc__))
