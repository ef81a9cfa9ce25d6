"""Text, JSON, predictions and figures of a judged forecast."""

import json

import numpy as np
import pandas as pd
import pytest
from test_forecast_evaluation import make_events, make_rows

from general_code import forecast_evaluation as fe
from general_code import forecast_report as fr
from general_code.flares import persistence

pytestmark = pytest.mark.usefixtures("few_regions")


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


def judge(rows, **settings):
    """The report of rows with an event list."""
    rows, calibration = fe.calibrate(rows)
    return rows, fe.evaluate_forecast(rows, "linear SVM", "decision at 0", calibration, "C1.0", make_events(), draws=50,
                                      **settings)


def with_interval(low, high):
    """A report whose paired difference to persistence over 24 h has this interval; the point is the middle."""
    _, report = judge(make_rows())
    report["splits"]["test"]["differences"]["persistence 24 h"] = {"TSS": (low + high) / 2,
                                                                   "intervals": {"TSS": (low, high)}}
    return report


@pytest.mark.parametrize(("low", "high", "said"), [
    (0.01, 0.2, "beats persistence 24 h (difference +0.105, 95 %: +0.010..+0.200)"),
    (-0.01, 0.2, "is not surely above persistence 24 h (difference +0.095, 95 %: -0.010..+0.200)"),
    (-0.2, 0.01, "is not surely above persistence 24 h (difference -0.095, 95 %: -0.200..+0.010)"),
    (-0.2, -0.01, "is worse than persistence 24 h (difference -0.105, 95 %: -0.200..-0.010)"),
    (np.nan, np.nan, "cannot be told from persistence 24 h (difference +0.100, too few regions for an interval)"),
])
def test_verdict_rests_on_the_paired_difference(low, high, said):
    report = with_interval(low, high)
    if np.isnan(low):
        report["splits"]["test"]["differences"]["persistence 24 h"]["TSS"] = 0.1
    assert said in fr.verdict(report)


def test_verdict_of_forecasts_judged_whole():
    """The perfect forecast beats persistence; its opposite is worse; persistence itself differs by nothing."""
    rows = make_rows()
    for decision, said in ((rows["class"], "beats persistence 24 h"), (1 - rows["class"], "is worse than")):
        assert said in fr.verdict(judge(rows.assign(decision=decision))[1])
    flared = persistence(rows["region"].to_numpy(), rows["time"].to_numpy(), make_events(), 24, "C1.0").astype(int)
    assert "is not surely above persistence 24 h (difference +0.000, 95 %: +0.000..+0.000)" in fr.verdict(
        judge(rows.assign(decision=flared))[1])


def test_verdict_stands_in_text_terminal_json_and_figure(tmp_path):
    rows, report = judge(make_rows(), remarks=("A TRIAL",), window_hours=24.0)
    said = fr.verdict(report)
    assert said.startswith("Test images: TSS ")
    text = fr.statistics_text(report).splitlines()
    assert text[:2] == ["A TRIAL", said] and "flares: C1.0 or larger within 24 h" in text[3]
    assert fr.summary_lines(report)[-1] == said
    fr.write_evaluation(report, rows, tmp_path / "s.txt", tmp_path / "p.csv", "linear")
    found = json.loads((tmp_path / "s.json").read_text())
    assert list(found)[:2] == ["remarks", "verdict"] and found["verdict"] == said
    assert found["splits"]["test"]["differences"]["persistence 48 h"]["TSS"] == pytest.approx(
        report["splits"]["test"]["differences"]["persistence 48 h"]["TSS"])
    title = fr.evaluation_figures(report, rows)["scores"].get_suptitle()
    assert said in title.replace(";\n", "; ") and "flares C1.0 or larger within 24 h" in title


def test_verdict_without_an_event_list(judged):
    assert fr.verdict(judged[1]) == "Test images: TSS not defined; no persistence forecast to compare with"


def test_one_region_has_scores_but_no_intervals():
    rows = make_rows()
    rows = rows[(rows["split"] != "test") | (rows["region"] == "1924")]
    report = judge(rows)[1]
    own = report["splits"]["test"]["forecasts"]["linear SVM, decision at 0"]
    assert np.isfinite(own["TSS"]) and np.isnan(own["intervals"]["TSS"]).all()
    test = fr.statistics_text(report).split("\nvalidation: ")[0]
    assert "too few regions for an interval: it takes 6" in test and "not defined" in test
    assert "too few regions for an interval" in fr.verdict(report)
    assert "(not defined)" in fr.summary_lines(report)[0]


def test_roc_is_drawn_from_the_score_and_its_area_is_the_tables():
    """Equal probabilities of all images, as an uninformative calibration gives, leave the curve as it is."""
    rows, report = judge(make_rows())
    ax = fr.evaluation_figures(report, rows.assign(probability=0.2))["roc"].axes[0]
    own = report["splits"]["test"]["forecasts"]["linear SVM, decision at 0"]
    assert ax.get_legend().get_texts()[0].get_text() == f"linear SVM (area {own['AUC']:.3f})"
    assert own["AUC"] > 0.7


def test_plain_values_for_json():
    assert fr.plain({"a": np.float64(np.nan), "b": (np.int64(1), None), "c": np.array([1.5])}) == {
        "a": "not defined", "b": [1, "not defined"], "c": [1.5]}
