"""Time stage 7 on an accelerator: FITS to cached features, network against its matrix limit, both ways of training.

Needs the backend of --backend alone, and takes less than 4 minutes on a GPU; on two cores a minute with few images.

Usage
-----
    python tests/benchmarks/benchmark_vgg_gpu.py --backend jax
    python tests/benchmarks/benchmark_vgg_gpu.py --images 16 --training-images 16 --batch 8 --matrix 1024   # on a CPU
    python tests/benchmarks/benchmark_vgg_gpu.py --backend torch --features-file gpu.npy
    python tests/benchmarks/benchmark_vgg_gpu.py --features-file gpu.npy     # elsewhere: the same input, compared
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # repository root

import numpy as np

from classifier_VGG.network.inputs import InputSettings, input_batches
from classifier_VGG.network.vgg16 import (
    IMAGES_ON,
    backbone_outputs,
    build_backbone,
    device_kind,
    prepare_keras,
    weight_source,
)
from general_code.stage.files import is_set
from general_code.stage.run import Jobs, OptionalPath, Settings, command_line, resolve_jobs
from tests.benchmarks.benchmark_vgg import GAUSS_RANGE, IMAGE_FLOP, Bench, bipole, fastest, matrix_rate, write_images


class UserDefinitions(Settings):
    backend: Literal["tensorflow", "torch", "jax"] = "tensorflow"  # of Keras
    images: int = 8192  # FITS of 600x600 pixels to extract features from
    training_images: int = 4096  # PNG that five epochs are trained on, cached and end to end
    jobs: Jobs = -1  # threads that read images; -1: all cores
    batch: int = 0  # images a batch; 0: as stage 7
    matrix: int = 8192  # size of the matrices whose product is the limit
    features_file: OptionalPath = ""  # .npy for bfloat16 features of 16 images; if it exists, it is only compared with


def main(user: UserDefinitions) -> None:
    """Measure and print the table, or compare."""
    start = time.perf_counter()
    print(f"{prepare_keras(user.backend)}, {os.cpu_count()} cores", flush=True)
    weights = weight_source("random", 0, print)
    if user.features_file.is_file():
        compare(weights, np.load(user.features_file))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, max(user.images, user.training_images), distinct=32)
        rows = [row for dtype in ("float32", "bfloat16") for row in measure(user, folder, weights, dtype)]
    print(f"\n{'what':<62}{'measured':>12}   wanted on a GPU")
    for what, value, wanted in rows:
        print(f"{what:<62}{value:>12}   {wanted}")
    print(f"{time.perf_counter() - start:.0f} s")


def measure(user, folder, weights, dtype):
    """Return rows of the table: the network, and for bfloat16, as the goals are, everything else."""
    batch, jobs = user.batch or IMAGES_ON[device_kind()], resolve_jobs(user.jobs)
    backbone = build_backbone(weights, dtype)
    if is_set(user.features_file):
        np.save(user.features_file, backbone_outputs(backbone, synthetic_images(16)))
    grey = np.resize(synthetic_images(16), (batch, 224, 224))
    network = batch / fastest(lambda: backbone_outputs(backbone, grey), 7)
    limit = matrix_rate(user.matrix, dtype, products=10) / IMAGE_FLOP
    rows = [(f"network, {dtype}, {batch} images a batch, images/s", f"{network:,.0f}", ""),
            (f"  of what {user.matrix}^2 matrix products in {dtype} allow", f"{network / limit:.2f}",
             ">= .35 (torch or jax)" if dtype == "bfloat16" else "")]
    if dtype == "float32":
        return rows
    bench = Bench(folder, np.arange(user.images) % 3 // 2, backbone, batch, jobs)
    settings = InputSettings(folder, "fits", GAUSS_RANGE, batch, jobs)
    names = [f"{number}.fits" for number in range(user.images)]
    reading = user.images / fastest(lambda: list(map(len, input_batches(names, settings))), 1)
    start = time.perf_counter()
    with bench.features("fits", "float16"):
        extraction = user.images / (time.perf_counter() - start)
    small = Bench(folder, np.arange(user.training_images) % 3 // 2, backbone, batch, jobs)
    whole, cached = (small.train(mode)[0] for mode in (small.end_to_end(), small.features(dtype="float16")))
    return [*rows, (f"input: FITS to grey levels by {jobs} threads, images/s", f"{reading:,.0f}", ""),
            ("FITS to cached features, images/s", f"{extraction:,.0f}", ">= 2,500 (16 cores)"),
            ("  of the smaller of input and network", f"{extraction / min(reading, network):.2f}", ">= .85"),
            (f"5 epochs of {user.training_images:,} PNG end to end [s]", f"{whole:.1f}", ""),
            ("  times that of cached, extraction included", f"{whole / cached:.2f}", ">= 4.5")]


def synthetic_images(count):
    """Return grey levels of bipoles of growing strength."""
    rng = np.random.default_rng(0)
    return np.stack([127.5 + bipole(110 * (number + 1) / count, 224, rng)
                     for number in range(count)]).astype(np.float32)


def compare(weights, values):
    """Print how the features of another device differ from those computed here in float32."""
    exact = backbone_outputs(build_backbone(weights), synthetic_images(16))
    print(f"relative difference from float32 here {np.linalg.norm(values - exact) / np.linalg.norm(exact):.2e}, "
          f"largest {np.abs(values - exact).max():.3g} of {np.abs(exact).max():.3g}")


if __name__ == "__main__":
    main(command_line(UserDefinitions, __doc__))
