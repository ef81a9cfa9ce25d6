"""Text, JSON, predictions and figures of a judged forecast."""

import json

import numpy as np
import pandas as pd
import pytest
from test_forecast_evaluation import make_events, make_rows

from general_code import forecast_evaluation as fe
from general_code import forecast_report as fr


@pytest.fixture
def judged():
    """Rows and report of a forecast without an event list, the test rows of one class only."""
    rows = make_rows()
    rows.loc[rows["split"] == "test", "class"] = 0
    rows, calibration = fe.calibrate(rows)
    return rows, fe.evaluate_forecast(rows, "linear SVM", "decision at 0", calibration, "C1.0", None, draws=20)


def test_text_says_what_is_not_defined_and_not_available(judged):
    rows, report = judged
    test, validation, training = fr.statistics_text(report).split("\ntest: ")[1].replace(
        "\nvalidation: ", "\ntraining: ").split("\ntraining: ")
    assert test.startswith("6 regions, 120 images, 0 with a flare")
    assert "not defined" in test and "not available" in test and " 0.000 " not in test.split("\n")[2]
    assert "not defined" not in validation and "not defined" not in training


def test_text_rows_hold_the_scores(judged):
    rows, report = judged
    own = report["splits"]["validation"]["forecasts"]["linear SVM, decision at 0"]
    lines = fr.score_table(report["splits"]["validation"]["forecasts"])
    values = next(line for line in lines if line.startswith("linear SVM, decision at 0")).split()[-7:]
    assert [float(v) for v in values] == pytest.approx([own[s] for s in fr.SCORES], abs=5e-4)


def test_written_files(judged, tmp_path):
    rows, report = judged
    statistics = tmp_path / "ARClassifierStats.txt"
    fr.write_evaluation(report, rows.sample(frac=1, random_state=1), statistics, tmp_path / "predictions.csv", "linear")
    found = json.loads((tmp_path / "ARClassifierStats.json").read_text(), parse_constant=pytest.fail)
    assert found["splits"]["test"]["forecasts"]["linear SVM, decision at 0"]["TSS"] == "not defined"
    assert found["splits"]["test"]["forecasts"]["persistence 24 h"] == "not available"
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    assert list(predictions) == ["filename", "class", "probability", "decision", "split"]
    assert predictions["filename"].tolist() == sorted(rows["filename"])
    expected = rows.sort_values("filename")["probability"].to_numpy()
    assert predictions["probability"].to_numpy() == pytest.approx(expected)
    assert {p.name for p in tmp_path.glob("*.png")} == {"scores_linear.png", "roc_linear.png", "reliability_linear.png"}
    assert statistics.read_text() == fr.statistics_text(report)


def test_uncalibrated_predictions_have_an_empty_probability(tmp_path):
    rows = make_rows().query("split != 'validation'")
    fr.write_predictions(tmp_path / "p.csv", fe.calibrate(rows)[0])
    line = (tmp_path / "p.csv").read_text().splitlines()[1].split(",")
    assert line[2] == "" and line[1] in "01" and line[3] in "01"


def test_scores_figure_says_whether_persistence_is_beaten():
    rows, calibration = fe.calibrate(make_rows(skill=4.0))
    report = fe.evaluate_forecast(rows, "linear SVM", "decision at 0", calibration, "C1.0", make_events(), draws=20)
    figures = fr.evaluation_figures(report, rows)
    assert set(figures) == {"scores", "roc", "reliability"}
    assert "beats persistence" in figures["scores"].get_suptitle()
    weak = fe.evaluate_forecast(rows.assign(decision=0), "x", "y", None, "C1.0", make_events(), draws=20)
    assert "does not beat persistence" in fr.evaluation_figures(weak, rows)["scores"].get_suptitle()


def test_plain_values_for_json():
    assert fr.plain({"a": np.float64(np.nan), "b": (np.int64(1), None), "c": np.array([1.5])}) == {
        "a": "not defined", "b": [1, "not defined"], "c": [1.5]}
