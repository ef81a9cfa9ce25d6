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
from general_code.evaluation.scores import DECISION_SCORES, FREQUENCY_SCORES
from general_code.images.label_file import FlareTarget
from general_code.stage.files import UserError
from general_code.stage.run import StageRun
from tests.general_code.evaluation.test_evaluate import OWN, make_events, make_rows, make_summaries, report_of

pytestmark = pytest.mark.usefixtures("few_regions")


def evaluate(rows, events=None, *args, **settings):
    """The calibrated rows, and their report."""
    return fe.calibrate(rows)[0], report_of(rows, events, *args, **settings)


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
    assert test.startswith("6 regions, 0 with a flare; 120 images, 0 with a flare")
    assert "not defined" in test and "not available" in test
    own = report["splits"]["test"]["forecasts"][OWN]
    assert {name for name in own if name != "intervals" and np.isnan(own[name])} == {
        "TPR", "HSS", "TSS", "bias", "AUC", "PR area"}
    assert test.split("\n")[2].count("not defined") == 4
    assert "not defined" not in others and "\ntraining: " in others
    assert fr.verdict(report) == "Test images: TSS not defined; no rule to compare with"
    assert "last public summary; needs region summaries (srs_dir)" in text


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
    names = DECISION_SCORES + FREQUENCY_SCORES
    own, line = forecasts[OWN], next(line for line in fr.score_table(forecasts, names) if "at 0" in line)
    assert [float(v) for v in line.split()[-6:]] == pytest.approx([own[s] for s in names], abs=5e-4)


@pytest.mark.parametrize(("tss", "interval", "sentence"), [
    (0.105, (0.01, 0.2), "gain +0.105 over persistence 24 h (95 % interval +0.010..+0.200, above 0)"),
    (0.095, (-0.01, 0.2), "gain +0.095 over persistence 24 h (95 % interval -0.010..+0.200, includes 0)"),
    (-0.105, (-0.2, -0.01), "gain -0.105 over persistence 24 h (95 % interval -0.200..-0.010, below 0)"),
    (0.1, (np.nan, np.nan), "gain +0.100 over persistence 24 h (too few regions for an interval)"),
])
def test_verdict_rests_on_the_paired_difference(tss, interval, sentence):
    _, report = evaluate(make_rows())
    report["best_rule"] = "persistence 24 h"
    for rule in ("persistence 24 h", "persistence 48 h"):
        report["splits"]["test"]["differences"][rule] = {"TSS": tss, "intervals": {"TSS": interval}}
    own = report["splits"]["test"]["forecasts"][OWN]["TSS"]
    assert fr.verdict(report) == f"Test images: TSS {own:.3f}; primary comparison: {sentence}"
    assert fr.statistics_text(report).splitlines()[:2] == [
        fr.verdict(report), f"  other rules: {sentence.replace('24 h', '48 h')}"]


def test_verdict_stands_in_text_terminal_json_and_figure(tmp_path):
    rows, report = evaluate(make_rows(), make_events(), FlareTarget("C1.0", 24.0), remarks=("A TRIAL",))
    said = fr.verdict(report)
    assert said.startswith("Test images: TSS ")
    text = fr.statistics_text(report).splitlines()
    assert text[:2] == ["A TRIAL", said] and "flares: C1.0 or larger within 24 h" in "\n".join(text[2:9])
    assert fr.summary_lines(report)[-1] == said
    write(report, rows, tmp_path)
    found = json.loads((tmp_path / "ARClassifierStats.json").read_text())
    assert list(found)[:2] == ["remarks", "verdict"] and found["verdict"] == said
    assert found["splits"]["test"]["differences"]["persistence 48 h"]["TSS"] == pytest.approx(
        report["splits"]["test"]["differences"]["persistence 48 h"]["TSS"])
    title = fr.evaluation_figures(report, rows)["scores"].get_suptitle()
    result, _, comparison = said.removeprefix("Test images: ").partition("; ")
    assert title.splitlines() == [f"120 test images of 6 regions, flares C1.0 or larger within 24 h: {result}",
                                  comparison[:1].upper() + comparison[1:]]


def test_tables_of_decisions_and_of_probabilities():
    rows = make_rows()
    _, report = evaluate(rows, make_events(), summaries=make_summaries(rows))
    test = fr.statistics_text(report).split("\ntest: ")[1].split("\nvalidation: ")[0]
    decisions, probabilities = test.split("\n\n")[:2]
    assert decisions.splitlines()[1].split() == ["forecast", "TPR", "TNR", "HSS", "TSS", "precision", "bias"]
    assert "AUC" in probabilities and "BSS / count" in probabilities and "reliability" in probabilities
    assert "threshold chosen" in decisions and "threshold chosen" not in probabilities
    assert "persistence" not in probabilities and "rate of McIntosh class" in probabilities
    assert max(map(len, test.splitlines())) < 180


def test_nothing_is_made_up_where_there_is_nothing():
    _, report = evaluate(make_rows().query("split != 'validation'").assign(**{"class": 0}), make_events())
    assert fr.verdict(report) == "Test images: TSS not defined"
    assert "Probability: not defined; calibration needs" in fr.statistics_text(report)


def test_one_region_has_scores_but_no_intervals():
    rows = make_rows()
    rows = rows[(rows["split"] != "test") | (rows["region"] == "1924")]
    _, report = evaluate(rows, make_events())
    own = report["splits"]["test"]["forecasts"][OWN]
    assert np.isfinite(own["TSS"]) and np.isnan(own["intervals"]["TSS"]).all()
    test = fr.statistics_text(report).split("\nvalidation: ")[0]
    assert "too few regions for an interval that covers 95 %" in test and "HSS, precision 20" in test
    assert "too few regions for an interval" in fr.verdict(report)
    assert fr.summary_lines(report)[0].endswith(f"TSS {own['TSS']:.3f}")


def test_roc_is_drawn_from_the_score_and_its_area_is_the_tables():
    """Equal probabilities of all images, as an uninformative calibration gives, leave the curve as it is."""
    rows, report = evaluate(make_rows())
    ax = fr.evaluation_figures(report, rows.assign(probability=0.2))["roc"].axes[0]
    area = report["splits"]["test"]["forecasts"][OWN]["AUC"]
    assert ax.get_legend().get_texts()[0].get_text() == f"linear SVM (area {area:.3f})" and area > 0.7


# ---- splits

def test_splits_are_reported_and_counted(run, capsys):
    fr.report_splits(["1158", "1158", "1429"], [0, 1, 0], ["training", "training", "test"], run)
    assert capsys.readouterr().out.splitlines() == [
        "training: 1 region, 2 images, 1 with a flare",
        "validation: 0 regions, 0 images, 0 with a flare; no scores",
        "test: 1 region, 1 image, 0 with a flare; one class only: no TSS, HSS or AUC"]
    assert run.counts["training"] == {"regions": 1, "images": 2, "flaring_images": 1}


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
    assert texts(ax).count("not available") == 1 and "bar: 95 % interval" in ax.get_xlabel()
    ax = fr.plot_scores(Figure().subplots(), {"persistence 24 h": "not available"})
    assert ax.get_xlim() == (-1, 1) and ax.get_xlabel() == "score"


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


def test_without_probabilities_no_reliability_is_drawn_and_an_earlier_one_goes(tmp_path):
    rows, report = evaluate(make_rows())
    write(report, rows, tmp_path)
    assert (tmp_path / "reliability_linear.png").is_file()
    write(report, rows.assign(probability=np.nan), tmp_path)
    assert {p.name for p in tmp_path.glob("*.png")} == {"scores_linear.png", "roc_linear.png"}


def test_reliability_has_bars_and_the_number_of_regions(ax):
    truth, regions = np.array([0, 1] * 20), np.repeat(np.arange(20), 2)
    fr.plot_reliability(ax, truth, np.where(regions < 10, 0.12, 0.85), regions=regions)
    assert texts(ax) == ["20, 10", "20, 10"]
    assert len(ax.collections[0].get_segments()) == 2
    assert "bar: 95 % interval" in ax.get_legend().get_texts()[1].get_text()


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
