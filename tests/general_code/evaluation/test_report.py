"""Text, JSON, predictions and figures of an evaluated forecast; words where a value is not defined."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from general_code.evaluation import evaluate as fe
from general_code.evaluation import report as fr
from general_code.stage.files import UserError
from general_code.stage.run import StageRun
from tests.general_code.evaluation.test_evaluate import OWN, make_events, make_rows, report_of

pytestmark = pytest.mark.usefixtures("few_regions")


def evaluate(rows, events=None, **settings):
    """The calibrated rows, and their report."""
    return fe.calibrate(rows)[0], report_of(rows, events, **settings)


@pytest.fixture
def evaluated():
    """Rows and report of a forecast without an event list, the test rows of one class only."""
    rows = make_rows()
    rows.loc[rows["split"] == "test", "class"] = 0
    return evaluate(rows)


def write(report, rows, folder):
    fr.write_evaluation(report, rows, folder / "ARClassifierStats.txt", "linear", StageRun(io.StringIO()))


def test_text_says_what_is_not_defined_and_not_available(evaluated):
    _, report = evaluated
    text = fr.statistics_text(report)
    test, others = text.split("\ntest: ")[1].split("\nvalidation: ")
    assert test.startswith("6 regions, 120 images, 0 with a flare")
    assert "not defined" in test and "not available" in test and " 0.000 " not in test.split("\n")[2]
    assert "not defined" not in others and "\ntraining: " in others
    assert fr.verdict(report) == "Test images: TSS not defined; no persistence forecast to compare with"


def test_written_files(evaluated, tmp_path):
    rows, report = evaluated
    write(report, rows.sample(frac=1, random_state=1), tmp_path)
    found = json.loads((tmp_path / "ARClassifierStats.json").read_text(), parse_constant=pytest.fail)
    assert found["splits"]["test"]["forecasts"][OWN]["TSS"] == "not defined"
    assert found["splits"]["test"]["forecasts"]["persistence 24 h"] == "not available"
    predictions = pd.read_csv(tmp_path / "predictions_linear.csv")
    assert list(predictions) == ["filename", "class", "probability", "decision", "split"]
    assert predictions["filename"].tolist() == sorted(rows["filename"])
    expected = rows.sort_values("filename")["probability"].to_numpy()
    assert predictions["probability"].to_numpy() == pytest.approx(expected)
    assert {p.name for p in tmp_path.glob("*.png")} == {"scores_linear.png", "roc_linear.png", "reliability_linear.png"}
    assert (tmp_path / "ARClassifierStats.txt").read_text() == fr.statistics_text(report)
    forecasts = report["splits"]["validation"]["forecasts"]
    own, line = forecasts[OWN], next(line for line in fr.score_table(forecasts) if "at 0" in line)
    assert [float(v) for v in line.split()[-7:]] == pytest.approx([own[s] for s in fr.SCORES], abs=5e-4)


@pytest.mark.parametrize(("tss", "interval", "sentence"), [
    (0.105, (0.01, 0.2), "beats persistence 24 h (difference +0.105, 95 %: +0.010..+0.200)"),
    (0.095, (-0.01, 0.2), "is not significantly above persistence 24 h (difference +0.095, 95 %: -0.010..+0.200)"),
    (-0.095, (-0.2, 0.01), "is not significantly above persistence 24 h (difference -0.095, 95 %: -0.200..+0.010)"),
    (-0.105, (-0.2, -0.01), "is worse than persistence 24 h (difference -0.105, 95 %: -0.200..-0.010)"),
    (0.1, (np.nan, np.nan), "shows no significant difference from persistence 24 h (difference +0.100, too few regions "
                            "for an interval)"),
])
def test_verdict_rests_on_the_paired_difference(tss, interval, sentence):
    _, report = evaluate(make_rows())
    report["splits"]["test"]["differences"]["persistence 24 h"] = {"TSS": tss, "intervals": {"TSS": interval}}
    assert sentence in fr.verdict(report)


def test_verdict_stands_in_text_terminal_json_and_figure(tmp_path):
    rows, report = evaluate(make_rows(), make_events(), remarks=("A TRIAL",), window_hours=24.0)
    said = fr.verdict(report)
    assert said.startswith("Test images: TSS ")
    text = fr.statistics_text(report).splitlines()
    assert text[:2] == ["A TRIAL", said] and "flares: C1.0 or larger within 24 h" in text[3]
    assert fr.summary_lines(report)[-1] == said
    write(report, rows, tmp_path)
    found = json.loads((tmp_path / "ARClassifierStats.json").read_text())
    assert list(found)[:2] == ["remarks", "verdict"] and found["verdict"] == said
    assert found["splits"]["test"]["differences"]["persistence 48 h"]["TSS"] == pytest.approx(
        report["splits"]["test"]["differences"]["persistence 48 h"]["TSS"])
    title = fr.evaluation_figures(report, rows)["scores"].get_suptitle()
    assert said in title.replace(";\n", "; ") and "flares C1.0 or larger within 24 h" in title


def test_nothing_is_made_up_where_there_is_nothing(tmp_path):
    rows, report = evaluate(make_rows().query("split != 'validation'").assign(**{"class": 0}), make_events())
    assert fr.verdict(report) == "Test images: TSS not defined"
    assert "Probability: not defined; calibration needs" in fr.statistics_text(report)
    write(report, rows, tmp_path)
    line = (tmp_path / "predictions_linear.csv").read_text().splitlines()[1].split(",")
    assert line[2] == "" and line[1] in "01" and line[3] in "01"


def test_one_region_has_scores_but_no_intervals():
    rows = make_rows()
    rows = rows[(rows["split"] != "test") | (rows["region"] == "1924")]
    _, report = evaluate(rows, make_events())
    own = report["splits"]["test"]["forecasts"][OWN]
    assert np.isfinite(own["TSS"]) and np.isnan(own["intervals"]["TSS"]).all()
    test = fr.statistics_text(report).split("\nvalidation: ")[0]
    assert "too few regions for an interval: it needs 6" in test and "not defined" in test
    assert "too few regions for an interval" in fr.verdict(report)
    assert fr.summary_lines(report)[0].endswith(f"TSS {own['TSS']:.3f}")


def test_roc_is_drawn_from_the_score_and_its_area_is_the_tables():
    """Equal probabilities of all images, as an uninformative calibration gives, leave the curve as it is."""
    rows, report = evaluate(make_rows())
    ax = fr.evaluation_figures(report, rows.assign(probability=0.2))["roc"].axes[0]
    own = report["splits"]["test"]["forecasts"][OWN]
    assert ax.get_legend().get_texts()[0].get_text() == f"linear SVM (area {own['AUC']:.3f})"
    assert own["AUC"] > 0.7


# ---- figures

@pytest.fixture
def ax():
    return Figure().subplots()


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_scores_are_drawn_with_intervals_and_words(ax):
    good = {"TSS": 0.5, "HSS": np.nan, "intervals": {"TSS": (0.4, 0.6), "HSS": (np.nan, np.nan)}}
    fr.plot_scores(ax, {"SVM": good, "persistence 24 h": "not available"})
    assert any(np.array_equal(line.get_xdata(), [0.4, 0.6]) for line in ax.lines)
    assert "0.500" in texts(ax) and "HSS not defined" in texts(ax) and "not available" in texts(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["SVM", "persistence 24 h"]
    assert fr.plot_scores(Figure().subplots(), {"persistence 24 h": "not available"}).get_xlim() == (-1, 1)


def test_roc_curve_area_and_points(ax):
    fr.plot_roc(ax, {"SVM": ([0, 1, 0, 1], [0.1, 0.9, 0.2, 0.8]), "none": ([0, 0], [1.0, 2.0])},
                {"rule": (0.7, 0.8), "empty": (np.nan, 0.5)})
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "SVM (area 1.000)" in legend and "none (area not defined)" in legend
    assert "rule" in legend and "empty" not in legend


def test_reliability_shows_the_number_of_images(ax):
    fr.plot_reliability(ax, [0, 1, 1, 1], [0.1, 0.1, 0.9, 0.9], climatology=0.2)
    assert texts(ax) == ["2", "2"]
    assert np.array_equal(ax.lines[2].get_ydata(), [0.5, 1.0])
    assert all(text.get_path_effects() for text in ax.texts), "counts stand out from the lines"
    ax.clear()
    fr.plot_reliability(ax, [0, 1], [np.nan, np.nan])
    assert texts(ax) == ["no probabilities: calibration not defined"]


def test_saved_figures_are_png_without_a_suffix_and_equal_byte_for_byte(tmp_path):
    for name in ("a.png", "b"):
        figure = Figure()
        fr.plot_roc(figure.subplots(), {"SVM": ([0, 1], [0.1, 0.9])}, {})
        fr.save_figure(figure, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "b").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="no format of figures is called 'txt'"):
        fr.save_figure(figure, tmp_path / "scores.txt")
    assert not (tmp_path / "scores.txt").exists()


def test_matplotlib_is_imported_only_where_a_figure_is_drawn():
    """MPLBACKEND of a notebook fails its import; stages set another one before they draw."""
    root = Path(fr.__file__).parents[2]
    files = [*root.glob("general_code/**/*.py"), *root.glob("classifier_*/**/*.py")]
    found = [path.name for path in files for line in path.read_text(encoding="utf-8").splitlines()
             if line.startswith(("import matplotlib", "from matplotlib")) or "pyplot" in line]
    assert not found
