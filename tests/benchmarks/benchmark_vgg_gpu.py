"""Time stage 7's network on an accelerator against its matrix limit, and compare its numbers with a CPU's.

Runs on any Keras backend: all of it is Keras alone.

Usage
-----
    python tests/benchmarks/benchmark_vgg_gpu.py --fits-dir data/dataset/1158 --features-file gpu.npz
    python tests/benchmarks/benchmark_vgg_gpu.py --reference gpu.npz     # elsewhere: the same input
    python tests/benchmarks/benchmark_vgg_gpu.py --backend jax
"""

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # repository root

import numpy as np
import pandas as pd

from classifier_VGG.network.inputs import InputSettings, RowCache, fill_rows
from classifier_VGG.network.vgg16 import backbone_outputs, build_backbone, prepare_keras, weight_source
from general_code.stage.files import is_set
from general_code.stage.run import OptionalPath, Settings, StageRun, command_line

IMAGE_FLOP = 30.94e9  # to fc2
DTYPES = ("float32", "bfloat16")


class UserDefinitions(Settings):
    backend: str = "tensorflow"  # of Keras
    fits_dir: OptionalPath = ""  # images to extract features from; "": none
    copies: int = 50  # links to each of them
    jobs: int = 16  # threads that read FITS
    batches: tuple[int, ...] = (64, 256)  # images a batch
    matrix: int = 8192  # size of the matrices whose product is the limit
    features_file: OptionalPath = ""  # .npz to write the features of 32 synthetic images to
    reference: OptionalPath = ""  # .npz of another machine to compare with; nothing else is done then


def main(user: UserDefinitions) -> None:
    """Measure and print, or compare."""
    print(f"{prepare_keras(user.backend)}, {os.cpu_count()} cores", flush=True)
    weights = weight_source("random", 0, print)
    if is_set(user.reference):
        compare(weights, user.reference)
        return
    limits = {dtype: matrix_rate(user.matrix, dtype) for dtype in ("float32", "bfloat16")}
    for dtype, rate in limits.items():
        print(f"{user.matrix}^2 matrix product in {dtype}: {rate / 1e12:.1f} TFLOP/s, "
              f"limit {rate / IMAGE_FLOP:,.0f} images/s", flush=True)
    features = {}
    for dtype in DTYPES:
        backbone = build_backbone(weights, dtype)
        features[dtype] = backbone_outputs(backbone, synthetic_images(32))
        for batch in user.batches:
            time_batches(backbone, dtype, batch, limits["float32" if dtype == "float32" else "bfloat16"])
        if is_set(user.fits_dir):
            time_extraction(user, backbone, dtype)
    if is_set(user.features_file):
        np.savez(user.features_file, **{name: array.astype(np.float32) for name, array in features.items()})


def synthetic_images(count):
    """Return grey levels of bipoles of growing strength."""
    y, x = np.mgrid[-1:1:224j, -1:1:224j]
    field = np.exp(-((x - 0.2) ** 2 + y**2) * 15) - np.exp(-((x + 0.2) ** 2 + y**2) * 15)
    rng = np.random.default_rng(0)
    return np.stack([127.5 + 120 * (number + 1) / count * field + rng.normal(0, 1, field.shape)
                     for number in range(count)]).astype(np.float32)


def median_time(function, repeats=9):
    """Return the median time of some calls after two for warming up [s]."""
    function()
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def matrix_rate(size, dtype):
    """Return the rate of matrix products of random numbers, ten at a time [FLOP/s]."""
    import keras

    left, right = (keras.random.normal((size, size), dtype=dtype, seed=seed) for seed in (1, 2))

    def products():
        value = left
        for _ in range(10):
            value = keras.ops.matmul(value, right) * 0.01
        np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(value[:1, :1], "float32")))

    return 10 * 2 * size**3 / median_time(products, 5)


def time_batches(backbone, dtype, batch, limit):
    """Print the rate of the forward pass, images going in and features out included."""
    grey = np.tile(synthetic_images(16), (batch // 16 + 1, 1, 1))[:batch]
    rate = batch / median_time(lambda: backbone_outputs(backbone, grey))
    print(f"VGG16 {dtype:>15}, batch {batch:>4}: {rate:>8,.0f} images/s, {rate * IMAGE_FLOP / 1e12:.1f} TFLOP/s, "
          f"{rate * IMAGE_FLOP / limit:.2f} of the limit", flush=True)


def time_extraction(user, backbone, dtype):
    """Print the rate of the whole way from FITS files to the cache."""
    with tempfile.TemporaryDirectory() as name:
        folder, names = Path(name), []
        for source in sorted(user.fits_dir.glob("*.fits")):
            for copy in range(user.copies):
                names.append(f"{copy:03}_{source.name}")
                (folder / names[-1]).symlink_to(source.resolve())
        images = pd.DataFrame({"source": names, "bytes": 1, "modified_ns": 1})
        settings = InputSettings(folder, "fits", 5978.7, 64, user.jobs)
        with (folder / "log").open("w") as log, RowCache(folder / "cache", {"kind": "features"},
                                                         backbone.output_shape[-1], "float16") as cache:
            start = time.perf_counter()
            rows = fill_rows(images, cache, settings, lambda grey: backbone_outputs(backbone, grey), StageRun(log))
            rate = int((rows >= 0).sum()) / (time.perf_counter() - start)
    print(f"extraction {dtype}, {len(names):,} FITS by {user.jobs} threads: {rate:,.0f} images/s", flush=True)


def compare(weights, reference):
    """Print how the features of another machine differ from those computed here in float32."""
    exact = backbone_outputs(build_backbone(weights), synthetic_images(32))
    with np.load(reference) as other:
        for name in other.files:
            print(f"{name:>15}: relative difference from float32 here {relative(other[name], exact):.2e}, "
                  f"largest {np.abs(other[name] - exact).max():.3g} of {np.abs(exact).max():.3g}")


def relative(values, exact):
    """Return |values - exact| / |exact|."""
    return np.linalg.norm(values - exact) / np.linalg.norm(exact)


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
