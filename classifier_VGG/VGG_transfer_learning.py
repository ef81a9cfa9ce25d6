"""Forecast flares from magnetograms by VGG16 with a new last layer (transfer learning), and judge the forecast.

Reads
    train_file, validation_file, test_file    header `filename,class`; `NNNN/name` and 0/1, of stage 6
    dataset_dir        NNNN/*.fits [gauss] or NNNN/*.png (8-bit grey), rectangles from 32x32 pixels on
    weights            Keras' own ImageNet file, a Keras model or weight file with fc1 and fc2, or random numbers
    event_list         `YYYY MM DD,HHMM,NNNN,C5.7`, for the persistence rows; without it they are "not available"

Writes to `output_dir`
    VGG_model{suffix}.keras         (n, 224, 224, 1) grey levels 0..255 to the probabilities of no flare, flare
    VGG_model{suffix}.keras.json    settings (gauss_range!) and counts, for whoever uses the model
    head_VGG{suffix}_epoch_NNN.keras, history{suffix}.csv, training{suffix}.json   one head an epoch; loss and scores
    other_training{suffix}_.../     heads of other, or of unknown, settings or images, set aside
    VGGClassifierStats_trainvaltest{suffix}.txt, .json      scores of test, validation, training beside the baselines
    predictions_VGG{suffix}.csv     filename,class,probability,decision,split
    training_curves{suffix}.png, scores_VGG{suffix}.png, roc_..., reliability_...
    cache_dir/features_*/           4096 numbers an image; weights.json: what is known of files of weights
    cache_dir/inputs_*/, forecasts_*/   of mode end_to_end: resized FITS images, log odds of a flare of each image

Input: FITS in gauss, resized to 224x224 (bilinear, anti-aliased), -gauss_range..gauss_range to 0..255, clipped; PNG
levels resized the same way. mode cached: the frozen network once per image, then the head alone. mode end_to_end:
images through the whole network in each epoch, as published. Both train the same head. Adam, cross-entropy, class
weights 1 and N0/N1. The epoch of largest validation TSS is taken; the test images choose nothing.

Usage
    python classifier_VGG/VGG_transfer_learning.py
    python classifier_VGG/VGG_transfer_learning.py --weights random --epochs 2

References
    Simonyan and Zisserman 2015, arXiv:1409.1556 (VGG16); Boucheron et al. 2023, Scientific Data 10, 825.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root
from classifier_VGG.device import prepare_device
from classifier_VGG.output_files import head_file, output_files
from general_code.stage_files import OptionalPath, UserError, given, refuse_inputs, require_file, require_folder
from general_code.stage_run import resolve_jobs, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    """Settings; every one can be overridden for one run, e.g. `--epochs 20`."""

    train_file: Path = Path("results/VGG/Train_Data_by_AR.csv")  # images to train on
    validation_file: Path = Path("results/VGG/Validation_Data_by_AR.csv")  # images that choose the epoch
    test_file: Path = Path("results/VGG/Test_Data_by_AR.csv")  # images that only judge
    dataset_dir: Path = Path("data/dataset")  # folder of NNNN/name
    image_format: Literal["fits", "png"] = "fits"  # extension of the images
    suffix: str = ""  # added to the names of the outputs
    weights: str = "imagenet"  # of VGG16: imagenet, path of a file, or random (scores mean nothing)
    mode: Literal["cached", "end_to_end"] = "cached"  # network once per image, or in every epoch as published
    extract_dtype: Literal["float32", "bfloat16"] = "float32"  # arithmetic of the frozen network
    cache_dtype: Literal["float32", "float16"] = "float32"  # mode cached only: 16 or 8 kB an image on disk
    event_list: OptionalPath = Path("data/eventList.txt")  # flares for the persistence rows; "": none
    output_dir: Path = Path("results/VGG")  # folder of all outputs
    cache_dir: Path = Path("results/VGG/cache")  # folder of cached features, or of resized FITS images
    epochs: int = 5  # passes over the training images
    batch_size: int = 64  # images a step
    learning_rate: float = 0.001  # of Adam
    seed: int = 0  # of head, order, bootstrap and random weights
    gauss_range: float = 5978.7  # FITS only: field that becomes 255; minus it becomes 0 [G]
    n_jobs: int = -1  # processes that read FITS; -1: all cores
## End User Definitions


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the stage."""
    check_settings(user)
    outputs = output_files(user.output_dir, user.suffix)
    inputs = [user.train_file, user.validation_file, user.test_file, user.dataset_dir, user.event_list]
    inputs += [Path(user.weights)] if user.weights not in ("imagenet", "random") else []
    heads = (head_file(user.output_dir, user.suffix, epoch) for epoch in range(1, user.epochs + 1))
    refuse_inputs([*outputs.values(), *heads], inputs)
    with stage_run(user, output=outputs["model"], inputs=inputs) as run:
        prepare_device(run)
        from classifier_VGG import vgg_experiment as experiment  # TensorFlow takes seconds to import
        from classifier_VGG.vgg_judgement import judge

        run.say(settings_text(user))
        images = experiment.read_images(user, run)
        source = experiment.choose_weights(user, run)
        experiment.require_model_space(source, outputs["model"])
        with experiment.open_mode(user, images, source, run) as mode:
            images = experiment.usable_images(images, mode, run)
            checkpoints, best, choice = experiment.train(user, images, source, mode, run)
            head = checkpoints.load(best)
            rows = experiment.forecast(user, head, images, source, mode)
        judge(user, rows, source, checkpoints.history, best, choice, run)
        # last: until the sidecar is written at the end of the run, the earlier calibration stands beside the model
        experiment.save_model(user, source, head, outputs["model"], run)


def settings_text(user: UserDefinitions) -> str:
    """Name the settings that this run uses.

    Parameters
    ----------
    user : UserDefinitions
        All of it.

    Returns
    -------
    str
        One line.
    """
    images = f"FITS images (+-{user.gauss_range:g} G)" if user.image_format == "fits" else "PNG images"
    kept = (f", features kept in {user.cache_dtype} in {user.cache_dir}" if user.mode == "cached" else
            f", resized images kept in {user.cache_dir}" if user.image_format == "fits" else "")
    return (f"Mode {user.mode}: {images} in batches of {user.batch_size}, network in {user.extract_dtype}{kept}; "
            f"{user.epochs} epochs of Adam, learning rate {user.learning_rate:g}, seed {user.seed}")


def check_settings(user: UserDefinitions) -> None:
    """Raise UserError for settings that cannot be.

    Parameters
    ----------
    user : UserDefinitions
        All of it.
    """
    for name in ("train_file", "validation_file", "test_file"):
        require_file(getattr(user, name), name)
    require_folder(user.dataset_dir, "dataset_dir")
    for name in ("epochs", "batch_size"):
        if getattr(user, name) < 1:
            raise UserError(f"{name}: expected a number from 1, got {getattr(user, name)}")
    for name in ("learning_rate", "gauss_range"):
        if not 0 < getattr(user, name) < float("inf"):
            raise UserError(f"{name}: expected a number above 0, got {getattr(user, name)}")
    if user.seed < 0:
        raise UserError(f"seed: expected a number from 0, got {user.seed}")
    if set(user.suffix) & set('/\\:*?"<>|[]'):
        raise UserError(f"suffix: expected letters that a file name may have, got '{user.suffix}'")
    if given(user.event_list) and user.event_list.is_dir():
        raise UserError(f"event_list: expected a file, '{user.event_list}' is a folder; name a list, or \"\" for none")
    resolve_jobs(user.n_jobs)


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
