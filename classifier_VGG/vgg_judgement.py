"""A step of stage 7: the forecast judged as every forecast is, with the figure of the training."""

from typing import TYPE_CHECKING

import pandas as pd

from classifier_VGG.output_files import output_files
from classifier_VGG.training_figure import training_figure
from classifier_VGG.weight_source import MEANINGLESS, WeightSource
from general_code.event_list import optional_event_list
from general_code.forecast_evaluation import calibrate, evaluate_forecast
from general_code.forecast_report import summary_lines, write_evaluation
from general_code.label_file import STAGE_3_FLARE_SIZE, label_size, label_window_hours
from general_code.skill_figures import save_figure
from general_code.stage_run import StageRun

if TYPE_CHECKING:
    from classifier_VGG.VGG_transfer_learning import UserDefinitions


def judge(user: "UserDefinitions", rows: pd.DataFrame, source: WeightSource, history: list[dict[str, float]],
          best: int, choice: str, run: StageRun) -> None:
    """Judge the forecast; write predictions, statistics and figures.

    Parameters
    ----------
    user : UserDefinitions
        output_dir, suffix, event_list, train_file, seed.
    rows : pandas.DataFrame
        As `vgg_experiment.forecast` returns them.
    source : WeightSource
        Of the backbone.
    history : list of dict
        Records of the epochs.
    best : int
        Epoch taken.
    choice : str
        How it was chosen.
    run : StageRun
        Told of the scores.
    """
    run.say("Calibrating on validation, scores with bootstrap over regions")
    rows, calibration = calibrate(rows)
    size = label_size(user.train_file)
    remarks = [MEANINGLESS] if source.random else []
    remarks += [] if size else ["No sidecar tells from which size on flares were labelled: persistence counts those of "
                                f"{STAGE_3_FLARE_SIZE} or larger"]
    report = evaluate_forecast(rows, "VGG16, RANDOM WEIGHTS" if source.random else "VGG16", "decision at 0.5",
                               calibration, size or STAGE_3_FLARE_SIZE, optional_event_list(user.event_list, run),
                               [*remarks, choice], seed=user.seed,
                               window_hours=label_window_hours(user.train_file))
    run.counts |= {"flare_size": report["flare_size"], "calibration": report["calibration"], "best_epoch": best}
    files = output_files(user.output_dir, user.suffix)
    figure = training_figure(history, best, "\n".join([*remarks[:source.random], choice.replace("; the", "\nThe", 1)]))
    save_figure(figure, files["training_curves"])
    write_evaluation(report, rows, files["statistics"], files["predictions"], f"VGG{user.suffix}")
    for line in [*remarks, *summary_lines(report), f"Scores of all splits in {files['statistics']}"]:
        run.say(line)
