"""Prediction files of any origin; scores, subsets, baselines and thresholds; differences between files."""

import io

import numpy as np
import pandas as pd
import pytest

from classifier_SVM.comparison import forecasts as fc
from general_code.evaluation import scores
from general_code.evaluation.evaluate import CLASS_RATE, COUNT_RATE, baselines
from general_code.evaluation.scores import best_threshold, score_forecast, skill_scores
from general_code.images.label_file import FlareTarget
from general_code.images.names import dataset_name
from general_code.noaa.flares import label_images, peak_flux, peak_fluxes, persistence
from general_code.stage.files import UserError
from general_code.stage.run import StageRun
from tests.general_code.noaa.test_flares import event_list

pytestmark = pytest.mark.usefixtures("few_regions")

HOUR = np.timedelta64(3600, "s")
START = np.datetime64("2014-03-01", "s")
SPLITS = {"training": range(2000, 2008), "validation": range(2010, 2018), "test": range(2020, 2028)}


def make_events():
    """Flares of every region within 60 h, drawn at random, in the first region of the split the most."""
    draw = np.random.default_rng(5)
    rows = []
    for regions in SPLITS.values():
        for n, region in enumerate(regions):
            hours = draw.integers(0, 170) + draw.integers(-30, 30, 9 - n)
            classes = draw.choice(["C1.0", "C5.0", "M1.0"], 9 - n)
            rows += [(START + int(t) * HOUR, str(region), name) for t, name in zip(hours, classes, strict=True)]
    return event_list(*sorted(rows))


def make_images():
    """An image every 4 h for 8 days of every region."""
    table = pd.DataFrame([(str(region), START + hours * HOUR, split) for split, regions in SPLITS.items()
                          for region in regions for hours in range(0, 192, 4)], columns=["region", "time", "split"])
    times = table["time"].to_numpy("datetime64[s]")
    table["class"] = label_images(table["region"], times, EVENTS, "C1.0", 24).flare_classes(EVENTS)
    table["peak_flux"] = peak_fluxes(table["class"])
    table.index = pd.Index([dataset_name(region, time, 1, "fits").removesuffix(".fits")
                            for region, time in zip(table["region"], times, strict=True)])
    return table


EVENTS = make_events()
IMAGES = make_images()
TRUTH = (IMAGES["peak_flux"] > 0).to_numpy().astype(int)
IN_SPLIT = {split: (IMAGES["split"] == split).to_numpy() for split in SPLITS}
AGES = IMAGES["time"].to_numpy("datetime64[s]")[:, None] - EVENTS.time
FLARED = ((IMAGES["region"].to_numpy()[:, None] == EVENTS.region) & (AGES >= 0 * HOUR) & (AGES < 24 * HOUR)).any(axis=1)
INSIDE = {"all": np.ones(len(IMAGES), bool), "first flare": ~FLARED, "last flare": FLARED}


def forecast(name="mine", size="C1.0", noise=0.3, seed=0, decision=True):
    """A forecast that is right up to some noise."""
    errors = noise * np.random.default_rng(seed).normal(size=len(IMAGES))
    values = np.clip(0.1 + 0.8 * (IMAGES["peak_flux"] >= peak_flux(size)) + errors, 0, 1)
    rows = pd.DataFrame({"probability": values, "decision": (values > 0.3).astype(float) if decision else np.nan})
    return fc.Forecast(name, size, rows)


def compare(*forecasts, events=EVENTS, images=IMAGES, draws=5, size="C1.0", run=None):
    run = run or StageRun(io.StringIO())
    return fc.compare_forecasts(images, forecasts, FlareTarget(size, 24.0), events, None, run=run, draws=draws)


@pytest.fixture(scope="module")
def found():
    """Two forecasts, compared."""
    with pytest.MonkeyPatch.context() as few_regions:
        few_regions.setattr(scores, "fewest_flaring", lambda *_: dict.fromkeys(scores.FEWEST_FLARING, 2))
        return compare(forecast(), forecast("better", noise=0.15, seed=1), draws=100)


def rows_of(found, subset="all"):
    return {row["forecast"]: row for row in found.rows if row["subset"] == subset}


# ---- files

@pytest.mark.parametrize("text, message, setting", [
    *((text, message, "mine=p.csv") for text, message in (
        ("filename,prob\na,1\n", "column probability is missing"),
        ("filename,probability\n", "no row"), ("\n", "no row"),
        ("filename,probability\na.fits,0,5\nb.fits,0,25\n", "line 2: more values than columns; .* write 0.25, not"),
        ("filename,Probability,probability\na.fits,0,5\n", "column probability is missing or there twice"),
        ("filename,probability\na.fits,0.5\nb.fits,1.5\n", "line 3: probability '1.5' cannot be used; .* 0 to 1"),
        ("filename,probability\n\n\na.fits,much\n", "line 4: probability 'much'"),
        ("filename,probability\n\"a.fits,0.5\nb.fits,0.5\n", "p.csv: not a CSV"),
        ("filename,probability,decision\na.fits,0.5,2\n", "line 2: decision '2'"),
        ("filename,probability\na.fits,0.5\n1003/a.png,0.5\n", "line 3: a second row of a"))),
    ("", "is not like", "p.csv"), ("", "found nothing", "mine=nowhere.csv"),
    ("", "flare_sizes has C1.0, M1.0", "mine@X1.0=p.csv"), ("", "Q.* correct the setting", "mine@Q=p.csv")])
def test_a_faulty_file_is_named_with_its_line_and_a_faulty_setting(tmp_path, monkeypatch, text, message, setting):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        fc.read_forecast(setting, ("C1.0", "M1.0"))


@pytest.mark.parametrize("text", [
    "filename;probability;decision;class;split\r\n1003\\X.PNG;0,25;1.0;1.0;test\r\n\r\ny.fits.gz;;0.0;0;train\r\n",
    '"Filename","Probability","Decision","class","split"\n\n"1003/X_224.png","0.25","1","1","test"\n"y.png","nan",0,0,train',
    "split\tclass\tfilename\tprobability\tdecision\rtest\t1\tX.fits\t.25\t1\rTraining\t0\ty\t\t0\r",
])
def test_files_from_other_programs_are_read_alike(tmp_path, text):
    stem = "1003_hmi.M_720s.20140301_000000_TAI.1.magnetogram"
    (tmp_path / "p.csv").write_text(text.replace("X", stem), encoding="utf-8-sig", newline="")
    rows = fc.read_forecast(f" mine = {tmp_path / 'p.csv'} ", ("C1.0",)).rows
    assert rows.index.tolist() == [stem, "y"]
    assert rows["probability"].iloc[0] == 0.25 and np.isnan(rows["probability"].iloc[1])
    assert rows["decision"].tolist() == rows["class"].tolist() == [1, 0]
    assert rows["split"].str[:5].tolist() == ["test", "train"]
    (tmp_path / "p.csv").write_text("filename, probability ,other\n1003/x.png,0.25,a\n", encoding="utf-8-sig")
    mine = fc.read_forecast(f"mine@m1={tmp_path / 'p.csv'}", ("C1.0", "M1.0"))
    assert mine.flare_size == "M1.0" and mine.rows["decision"].isna().all()


# ---- scores

def test_scores_of_every_row_are_those_of_the_definitions(found):
    rows, test = rows_of(found), IN_SPLIT["test"]
    assert list(rows)[:5] == ["climatology", "persistence 24 h", "persistence 48 h", COUNT_RATE, CLASS_RATE]
    assert list(rows)[5:] == ["mine", "better"]
    assert rows[CLASS_RATE]["TSS"] == "not available" and rows[COUNT_RATE]["AUC"] > 0.5
    mine = forecast().rows[test]
    expected = skill_scores(TRUTH[test], mine["decision"].astype(int))
    assert rows["mine"]["TSS"] == expected["TSS"] and rows["mine"]["HSS"] == expected["HSS"]
    frequency = TRUTH[IN_SPLIT["training"]].mean()
    brier, reference = (np.mean((p - TRUTH[test]) ** 2) for p in (mine["probability"], frequency))
    assert rows["mine"]["BSS"] == pytest.approx(1 - brier / reference)
    assert rows["climatology"]["TSS"] == 0 and rows["climatology"]["BSS"] == 0 and rows["climatology"]["AUC"] == 0.5
    assert rows["persistence 24 h"]["AUC"] is None and rows["persistence 24 h"]["BSS"] is None
    assert rows["mine"]["TSS_gain"] == pytest.approx(expected["TSS"] - rows[rows["mine"]["baseline"]]["TSS"])
    assert rows["mine"]["TSS_low"] <= rows["mine"]["TSS"] <= rows["mine"]["TSS_high"]


@pytest.mark.parametrize("subset", fc.SUBSETS)
def test_a_subset_is_given_by_the_past_24_hours_and_has_its_own_climatology(found, subset):
    inside, rows = INSIDE[subset], rows_of(found, subset)
    for row in rows.values():
        assert row["images"] == (inside & IN_SPLIT["test"]).sum()
        assert row["flaring_images"] == TRUTH[inside & IN_SPLIT["test"]].sum()
        assert row["climatology"] == TRUTH[inside & IN_SPLIT["training"]].mean()
    assert len({row["climatology"] for row in found.rows}) == len(fc.SUBSETS), "the subsets differ"


@pytest.mark.parametrize("subset", ["first flare", "last flare"])
def test_a_subset_has_a_row_at_its_own_threshold(found, subset):
    rows, values = rows_of(found, subset), forecast().rows["probability"].to_numpy()
    validation, test = (IN_SPLIT[split] & INSIDE[subset] for split in ("validation", "test"))
    threshold = best_threshold(TRUTH[validation], values[validation])
    own, given = rows[fc.OWN_THRESHOLD.format("mine")], rows["mine"]
    assert own["decision_rule"] == f"threshold {threshold:.4f}, chosen on validation images of the subset"
    assert given["decision_rule"] == "decision of the file"
    assert own["TSS"] == skill_scores(TRUTH[test], (values[test] > threshold).astype(int))["TSS"] != given["TSS"]
    assert own["AUC"] is None and own["BSS"] is None and given["AUC"] > 0.5


@pytest.mark.parametrize("subset, row, origin", [
    ("all", "mine", "validation"), ("first flare", fc.OWN_THRESHOLD.format("mine"), "validation images of the subset")])
def test_a_threshold_comes_from_validation_alone(subset, row, origin):
    mine = forecast(decision=False)
    elsewhere, turned = ~(IN_SPLIT["validation"] & INSIDE[subset]), mine.rows.copy()
    turned.loc[elsewhere, "probability"] = 1 - turned.loc[elsewhere, "probability"]
    before, after = (rows_of(compare(f), subset)[row] for f in (mine, mine._replace(rows=turned)))
    assert before["decision_rule"].startswith("threshold 0.") and before["decision_rule"].endswith(f" on {origin}")
    assert after["decision_rule"] == before["decision_rule"] and after["TSS"] != before["TSS"]


@pytest.mark.parametrize("subset", fc.SUBSETS)
def test_the_baseline_is_the_best_rule_outside_the_test_images_of_the_subset(found, subset):
    known = ~IN_SPLIT["test"] & INSIDE[subset]
    part = IMAGES[known]
    scores = {f"persistence {hours} h": skill_scores(TRUTH[known], persistence(
        part["region"], part["time"].to_numpy(), EVENTS, hours, "C1.0").astype(int))["TSS"] for hours in (24, 48)}
    rate = baselines(IMAGES["region"], IMAGES["time"].to_numpy(), IN_SPLIT["training"] & INSIDE[subset], TRUTH,
                     target=FlareTarget("C1.0"), events=EVENTS)[COUNT_RATE]
    scores[COUNT_RATE] = skill_scores(TRUTH[known], rate.decision[known])["TSS"]
    best = max(scores, key=scores.get)
    label, mine = best if scores[best] > 0 else fc.NO_RULE, rows_of(found, subset)["mine"]
    assert {row["baseline"] for row in rows_of(found, subset).values()} == {label}
    assert label != fc.NO_RULE or mine["TSS_gain"] == mine["TSS"], "constant rules have a TSS of 0"
    assert f"TSS gain over {label}" in fc.comparison_text(found, [subset])


def test_large_flares_have_the_rule_of_the_small_ones_beside_them():
    found = compare(forecast(size="M1.0"), size="M1.0")
    assert list(rows_of(found))[3:5] == ["a flare >= C1.0 in the past 24 h", "a flare >= C1.0 in the past 48 h"]


def test_an_empty_probability_costs_AUC_and_BSS_only_and_one_class_all():
    mine = forecast(noise=0)
    quiet = IMAGES[~IN_SPLIT["test"] | (TRUTH == 0)]
    row = rows_of(compare(mine, events=None, images=quiet))["mine"]
    assert np.isnan(row["TSS"]) and np.isnan(row["AUC"])
    mine.rows.loc[IMAGES.index[IN_SPLIT["test"]][3], "probability"] = np.nan
    row = rows_of(compare(mine, events=None))["mine"]
    assert row["AUC"] is None and row["BSS"] is None and row["TSS"] == 1


def test_images_that_one_forecast_lacks_are_skipped_for_all():
    other = forecast("other")
    other = other._replace(rows=other.rows.drop(IMAGES.index[IN_SPLIT["test"]][:5]))
    run = StageRun(io.StringIO())
    found = compare(forecast(), other, events=None, run=run)
    assert [problem.input for problem in run.exclusions] == ["other, C1.0"] and "5, " in run.exclusions[0].detail
    assert {row["images"] for row in rows_of(found).values()} == {IN_SPLIT["test"].sum() - 5}


@pytest.mark.parametrize("subset", fc.SUBSETS)
def test_differences_between_files_are_those_of_the_paired_bootstrap(found, subset):
    pairs = [pair for pair in found.differences if pair["subset"] == subset]
    assert [(pair["forecast"], pair["against"]) for pair in pairs][0] == ("better", "mine")
    assert len(pairs) == 1 + (subset != "all"), "in a subset also both at their own thresholds"
    rows, pair = rows_of(found, subset), pairs[0]
    test = IN_SPLIT["test"] & INSIDE[subset]
    columns = [{"probability": f.rows["probability"][test], "decision": f.rows["decision"][test].astype(int)}
               for f in (forecast(noise=0.15, seed=1), forecast())]
    better, mine = (score_forecast(TRUTH[test], IMAGES["region"][test], **one, draws=100,
                                   climatology=rows["mine"]["climatology"]) for one in columns)
    for name in fc.SCORES:
        assert pair[name] == rows["better"][name] - rows["mine"][name]
        assert (pair[f"{name}_low"], pair[f"{name}_high"]) == pytest.approx(better.difference(mine, name)[1:])
    if subset != "all":
        assert pairs[1]["TSS"] == pytest.approx(rows[fc.OWN_THRESHOLD.format("better")]["TSS"]
                                                - rows[fc.OWN_THRESHOLD.format("mine")]["TSS"])
        assert pairs[1]["AUC"] is None


# ---- tables and figure

def test_tables_and_figure_say_what_is_compared(found, tmp_path):
    files = [tmp_path / name for name in ("rows.csv", "pairs.csv", "c.md", "c.png")]
    found.write(*files)
    rows, pairs = (pd.read_csv(path, keep_default_na=False) for path in files[:2])
    assert tuple(rows) == fc.COLUMNS and tuple(pairs) == fc.DIFFERENCE_COLUMNS
    assert len(pairs) == 1 + 2 + 2 and set(pairs["AUC"][pairs["forecast"] != "better"]) == {"-"}
    text = files[2].read_text()
    assert "| difference    | TSS " in text and "| better - mine | +" in text
    assert "\nGain in TSS over" in text
    figures = fc.comparison_figures(found)
    assert list(figures) == ["", "_C1.0_first_flare", "_C1.0_last_flare"]
    labels = [label.get_text().replace("\n", " ") for figure in figures.values()
              for label in figure.axes[0].get_yticklabels()]
    assert labels.count("mine") == 3 and labels.count(fc.OWN_THRESHOLD.format("mine")) == 2
    assert all((tmp_path / f"c{end}.png").stat().st_size > 10000 for end in figures)


def test_without_events_persistence_and_subsets_are_not_available():
    found = compare(forecast(), events=None)
    assert rows_of(found)["persistence 24 h"]["TSS"] == "not available"
    assert rows_of(found)["mine"]["baseline"] == "climatology", "no rule was tried"
    assert list(rows_of(found, "first flare")) == ["not available"]
    text = fc.comparison_text(found)
    assert "| persistence 24 h | the rule itself | not available | not available | - " in " ".join(text.split())
    assert "not available without an event list" in text
    assert list(fc.comparison_figures(found)) == [""]


def test_a_score_outside_the_figure_is_a_mark_at_its_edge_and_no_bar_is_promised_without_an_interval():
    poor = forecast("poor", noise=0, decision=False)
    poor.rows["probability"] = 1 - poor.rows["probability"]
    found = compare(poor, events=None, draws=1)
    score = rows_of(found)["poor"]["BSS"]
    ax = fc.comparison_figures(found)[""].axes[0]
    assert score < -1 and ax.get_xlim()[0] >= -1.1
    assert f"\u25c4 BSS {score:.1f}" in [text.get_text() for text in ax.texts]
    for row in found.rows:
        row |= {name: np.nan for name in row if name.endswith(("_low", "_high")) and row[name] is not None}
    assert fc.comparison_figures(found)[""].axes[0].get_xlabel() == "score"


def test_the_figure_says_how_many_forecasts_are_better():
    poor = forecast("poor", noise=0)
    poor.rows["decision"] = 1 - poor.rows["decision"]
    title = fc.comparison_figures(compare(forecast(noise=0), poor, draws=50))[""].get_suptitle().replace("\n", " ")
    assert "Gain in TSS over " in title and ": 95 % interval above 0 for 1 of 2 forecasts" in title
    alone = compare(forecast(), events=None, images=IMAGES[IN_SPLIT["test"]])
    assert "no TSS to compare with" in fc.comparison_figures(alone)[""].get_suptitle()
