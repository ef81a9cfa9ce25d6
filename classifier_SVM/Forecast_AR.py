"""Forecast whether active regions will flare, from their images and a trained model.

Reads
    model          `…_model.json` or `…_model.pickle` of AR_Classifier_weighted, or a `.keras` of VGG_transfer_learning.
                   Opening a pickle runs what is in it: only name one that you trust; the JSON holds the same numbers.
    images         FITS [G] or 8-bit PNG magnetograms, or folders of them
    srs_dir, events_dir, event_list    NOAA's archives, for a model that was trained with activity features

Writes
    forecast_file  CSV with header, one row an image, by path:
      filename                 path of the image
      region, time             as its name tells (TAI), or empty
      probability              calibrated probability of a flare, 0..1; empty where not defined
      decision                 the classifier's own 0/1, by the sign of the decision value. The classes are balanced in
                               training: a flare is forecast from a probability on that is well below 0.5; the run says
                               from which, so that "probability 16 %, decision 1" is no contradiction
      decision_value           what it decides by: above 0 is a flare
      outside_training_range   features beyond those of the training images: the forecast is an extrapolation
      refused                  why there is no forecast (then all before is empty)
    beside it      for one image and a model of features a figure (`.png`; one of an earlier run is removed), `.json`
                   (settings, counts), `.excluded.csv` (refusals), `.log`
Every image is opened, also for a model that uses activity features alone: one that no features can be computed from is
refused.

Usage
    python classifier_SVM/Forecast_AR.py --images data/dataset/1158
    python classifier_SVM/Forecast_AR.py --model my_model.pickle --images x.fits y.fits
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # repository root

from classifier_SVM.activity_sources import FLARE_SOURCES, compare_sources
from classifier_SVM.FeaturesetTools import FEATURE_NAMES
from classifier_SVM.image_forecast import (
    activity_of_images,
    features_of_file,
    find_image_files,
    forecast_images,
    write_image_figure,
)
from classifier_SVM.model_file import FlareModel, load_model
from general_code.image_names import parse_image_names
from general_code.stage_files import OptionalPath, UserError, atomic_write, given
from general_code.stage_run import StageRun, read_sidecar, resolve_jobs, stage_main, stage_run


## User Definitions
@dataclass(frozen=True)
class UserDefinitions:
    """Settings; every one can be overridden for one run, e.g. `--images x.fits y.fits`."""

    model: Path = Path("results/SVM/ARClassifierStats_weighted_trainvaltest_linear_model.json")  # or .pickle, .keras
    images: tuple[Path, ...] = ()  # FITS or PNG files, or folders of them
    forecast_file: Path = Path("results/forecast.csv")  # output; the figure of a single image goes beside it
    srs_dir: OptionalPath = Path("")  # region summaries, for a model with activity features
    events_dir: OptionalPath = Path("")  # event reports, for a model with activity features
    event_list: OptionalPath = Path("")  # flares besides those of the reports; "": none
    event_list_delay_minutes: float = 60.0  # a listed flare is known so long after its maximum [min]
    n_jobs: int = -1  # processes; -1: all cores
## End User Definitions


PARALLEL_FROM = 8  # images; fewer are done before other processes have started
COLUMNS = ("filename", "region", "time", "probability", "decision", "decision_value", "outside_training_range",
           "refused")


@stage_main
def main(user: UserDefinitions) -> None:
    """Run the forecast."""
    files = find_image_files(user.images)
    if user.model.suffix == ".keras" and not user.model.is_file():
        raise UserError(f"model: no file at '{user.model}' (from {Path.cwd()}); set --model")
    loaded = None if user.model.suffix == ".keras" else load_model(user.model)
    if not user.event_list_delay_minutes >= 0:
        raise UserError(f"event_list_delay_minutes: expected 0 or more, got {user.event_list_delay_minutes}")
    _check_outputs(user, files)
    with stage_run(user, output=user.forecast_file, inputs=[user.model, *user.images]) as run:
        _remove_earlier_figure(user.forecast_file)
        if loaded is None:
            from classifier_VGG.vgg_forecast import forecast_with_vgg  # loads TensorFlow

            table = forecast_with_vgg(user.model, files, run, resolve_jobs(user.n_jobs))
        else:
            table = _forecast(user, *loaded, files, run)
        table = _with_names(table, files)
        for row in table[table["refused"] != ""].itertuples():
            run.exclude(row.filename, "image refused", row.refused)
        with atomic_write(user.forecast_file) as file:
            table[list(COLUMNS)].to_csv(file, index=False, lineterminator="\n")
        _say_forecasts(table, user, run)


def _check_outputs(user: UserDefinitions, files: list[Path]) -> None:
    """Raise UserError when the figure or another file beside the forecast would replace the model or an image."""
    if user.forecast_file.suffix.lower() != ".csv":
        raise UserError(f"forecast_file: expected a name that ends in .csv, got '{user.forecast_file}'")
    read = {path.resolve() for path in (user.model, *files)}
    for path in (user.forecast_file, user.forecast_file.with_suffix(".png"), Path(f"{user.forecast_file}.json")):
        if path.resolve() in read:
            raise UserError(f"forecast_file: '{path}' is read here and would be overwritten; take another name or "
                            "folder")


def _remove_earlier_figure(forecast_file: Path) -> None:
    """Remove the figure that an earlier run of this script notes as its own: it shows another forecast."""
    noted = (read_sidecar(forecast_file) or {}).get("counts", {}).get("figure", "")
    figure = forecast_file.with_suffix(".png")
    if noted == figure.name:
        figure.unlink(missing_ok=True)


def _forecast(user: UserDefinitions, model: FlareModel, remarks: list[str], files: list[Path],
              run: StageRun) -> pd.DataFrame:
    """Forecast from features; draw the figure when there is one image."""
    for remark in remarks:
        run.say(f"ATTENTION: {remark}")
    if model.extra_feature_names and not (given(user.srs_dir) and (given(user.events_dir) or given(user.event_list))):
        raise UserError(f"model: trained with {len(model.extra_feature_names)} activity features; give the archives "
                        "they are computed from, --srs-dir and --events-dir (or --event-list)")
    run.say(f"Forecast: flares of {model.flares}; {_decision_rule(model)}")
    features, refusals = _image_features(user, model, files, run)
    if model.extra_feature_names:
        extra, reasons = activity_of_images(files, model.extra_feature_names, user.srs_dir, user.events_dir,
                                            user.event_list, user.event_list_delay_minutes, run)
        sources = run.counts.get(FLARE_SOURCES, model.flare_sources)  # none where no image has a region and a time
        for remark in compare_sources(model.flare_sources, sources):
            run.say(f"ATTENTION: {remark}")
        features = np.hstack([features, extra])
        refusals = [one or other for one, other in zip(refusals, reasons, strict=True)]
    used = np.array([reason == "" for reason in refusals])
    table = pd.DataFrame({"refused": refusals}).join(forecast_images(model, features[used]).set_index(
        np.flatnonzero(used)))
    if len(files) == 1 and used[0]:
        figure = user.forecast_file.with_suffix(".png")
        write_image_figure(figure, files[0], model, features[0], table.iloc[0])
        run.counts["figure"] = figure.name
        run.say(f"Figure: {figure}")
    return table


def _decision_rule(model: FlareModel) -> str:
    """Say what the decision rests on."""
    probability = model.probability(np.zeros(1))[0]
    at = f", which is at a probability of {probability:.3f}" if np.isfinite(probability) else ""
    return f"decision 1 where the decision value is above 0{at}: flares, though rare, count as much as quiet images"


def _image_features(user: UserDefinitions, model: FlareModel, files: list[Path],
                    run: StageRun) -> tuple[np.ndarray, list[str]]:
    """Compute the features of each file (no columns are returned when the model uses none), and the refusals."""
    from joblib import Parallel, delayed

    run.say(f"Computing the features of {len(files):,} images")
    jobs = resolve_jobs(user.n_jobs) if len(files) >= PARALLEL_FROM else 1
    # a worker that is kept from an earlier call may stand in another folder
    tasks = (delayed(features_of_file)(path.absolute(), model.image_format) for path in files)
    results = Parallel(n_jobs=jobs, return_as="generator")(tasks)
    found = list(run.progress(results, total=len(files), description="Features"))
    empty = np.full(len(FEATURE_NAMES), np.nan)
    features = np.array([empty if values is None else values for values, _ in found])
    return features[:, :len(model.feature_names)], [reason for _, reason in found]


def _with_names(table: pd.DataFrame, files: list[Path]) -> pd.DataFrame:
    """Add path, region and time of each image; decisions as whole numbers."""
    parsed = parse_image_names([str(path) for path in files])
    times = parsed["time"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    return table.reset_index(drop=True).assign(
        filename=[str(path) for path in files], region=parsed["region"], time=times,
        decision=table["decision"].astype("Int64").array)


def _say_forecasts(table: pd.DataFrame, user: UserDefinitions, run: StageRun) -> None:
    """Say what was forecast."""
    forecast = table[table["refused"] == ""]
    run.count("images", len(table))
    run.count("forecasts", len(forecast))
    for row in forecast.head(20).itertuples():
        outside = row.outside_training_range.count(";") + 1 if row.outside_training_range else 0
        chance = f"{row.probability:.3f}" if np.isfinite(row.probability) else "not defined"
        run.say(f"{row.filename}: probability {chance}, decision {row.decision}"
                + (f"; {outside} features outside the training range: an extrapolation" if outside else ""))
    for row in table[table["refused"] != ""].head(20).itertuples():
        run.say(f"{row.filename}: refused, {row.refused}")
    run.say(f"{len(forecast):,} of {len(table):,} images forecast, {int(forecast['decision'].sum()):,} to flare; "
            f"{user.forecast_file}")


if __name__ == "__main__":
    main(tyro.cli(UserDefinitions, description=__doc__))
