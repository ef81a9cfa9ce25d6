"""Subsets by the region's state: their climatology, baseline and thresholds; differences between files."""

import numpy as np
import pandas as pd
import pytest

from classifier_SVM.comparison_report import (
    COLUMNS,
    DIFFERENCE_COLUMNS,
    comparison_figure,
    comparison_text,
    write_comparison_csv,
)
from classifier_SVM.forecast_comparison import NO_RULE, OWN_THRESHOLD, SCORES, SUBSETS, compare_forecasts
from classifier_SVM.forecast_files import Forecast
from general_code.flares import EventList, label_images, peak_fluxes, persistence
from general_code.region_bootstrap import paired_bootstrap
from general_code.skill_scores import best_threshold, skill_scores

pytestmark = pytest.mark.usefixtures("few_regions")

HOUR = np.timedelta64(3600, "s")
START = np.datetime64("2014-03-01", "s")
SPLITS = {"training": range(2000, 2008), "validation": range(2010, 2018), "test": range(2020, 2028)}


@pytest.fixture(scope="module")
def events():
    """Flares of every region, drawn at random, in the first region of the split the most."""
    draw = np.random.default_rng(5)
    rows = []
    for regions in SPLITS.values():
        for n, region in enumerate(regions):
            hours, classes = draw.integers(-30, 200, 9 - n), draw.choice(["C1.0", "C5.0", "M1.0"], 9 - n)
            rows += [(START + int(t) * HOUR, str(region), name) for t, name in zip(hours, classes, strict=True)]
    time, region, classes = (np.array(column) for column in zip(*sorted(rows), strict=True))
    return EventList(time, region, classes, peak_fluxes(classes), time)


@pytest.fixture(scope="module")
def images(events):
    """An image every 4 h for 8 days of every region."""
    times = START + np.arange(0, 192, 4) * HOUR
    table = pd.DataFrame([(str(region), t, split) for split, regions in SPLITS.items() for region in regions
                          for t in times], columns=["region", "time", "split"])
    labels = label_images(table["region"], table["time"].to_numpy(), events, "C1.0", 24).flare_classes(events)
    table["peak_flux"] = peak_fluxes(labels)
    table.index = pd.Index([f"{row.region} {row.time}" for row in table.itertuples()])
    return table


def forecast(images, name="mine", noise=0.3, seed=0):
    """A forecast that is right up to some noise."""
    errors = noise * np.random.default_rng(seed).normal(size=len(images))
    values = np.clip(0.2 + 0.5 * (images["peak_flux"] > 0) + errors, 0, 1)
    rows = pd.DataFrame({"probability": values, "decision": (values > 0.4).astype(float)})
    return Forecast(name, "C1.0", rows, True)


def subset_of(images, events, subset):
    """Which images are in a subset."""
    recent = persistence(images["region"], images["time"].to_numpy(), events, 24, "C1.0")
    return {"all": np.ones(len(images), bool), "first flare": ~recent, "last flare": recent}[subset]


@pytest.fixture(scope="module")
def found(images, events):
    """Two forecasts, compared."""
    forecasts = [forecast(images), forecast(images, "better", 0.15, seed=1)]
    return compare_forecasts(images, forecasts, "C1.0", events, draws=100)


def rows_of(found, subset):
    return {row["forecast"]: row for row in found.rows if row["subset"] == subset}


@pytest.mark.parametrize("subset", SUBSETS)
def test_the_climatology_of_a_subset_is_that_of_its_training_images(found, images, events, subset):
    training = (images["split"] == "training") & subset_of(images, events, subset)
    for row in rows_of(found, subset).values():
        assert row["climatology"] == (images["peak_flux"] > 0)[training].mean()
    assert len({row["climatology"] for row in found.rows}) == len(SUBSETS), "the subsets differ"


@pytest.mark.parametrize("subset", ["first flare", "last flare"])
def test_a_subset_has_a_row_at_its_own_threshold(found, images, events, subset):
    inside, rows = subset_of(images, events, subset), rows_of(found, subset)
    truth, values = (images["peak_flux"] > 0).astype(int), forecast(images).rows["probability"].to_numpy()
    validation, test = ((images["split"] == split) & inside for split in ("validation", "test"))
    threshold = best_threshold(truth[validation], values[validation])
    own, given = rows[OWN_THRESHOLD.format("mine")], rows["mine"]
    assert own["decision_rule"] == f"threshold {threshold:.4f}, chosen on validation images of the subset"
    assert given["decision_rule"] == "decision of the file"
    assert own["TSS"] == skill_scores(truth[test], (values[test] > threshold).astype(int))["TSS"] != given["TSS"]
    assert own["AUC"] is None and own["BSS"] is None and given["AUC"] > 0.5


def test_the_threshold_of_a_subset_comes_from_its_validation_images_alone(images, events):
    mine = forecast(images)
    elsewhere = ~((images["split"] == "validation") & subset_of(images, events, "first flare")).to_numpy()
    turned = mine.rows.copy()
    turned.loc[elsewhere, "probability"] = 1 - turned.loc[elsewhere, "probability"]
    rules = [rows_of(compare_forecasts(images, [f], "C1.0", events, draws=2), "first flare")[
        OWN_THRESHOLD.format("mine")]["decision_rule"] for f in (mine, mine._replace(rows=turned))]
    assert rules[0] == rules[1]


@pytest.mark.parametrize("subset", SUBSETS)
def test_the_baseline_is_the_best_rule_outside_the_test_images_of_the_subset(found, images, events, subset):
    known = (images["split"] != "test") & subset_of(images, events, subset)
    part, truth = images[known], (images["peak_flux"] > 0)[known].astype(int)
    scores = {f"persistence {hours} h": skill_scores(truth, persistence(
        part["region"], part["time"].to_numpy(), events, hours, "C1.0").astype(int))["TSS"] for hours in (24, 48)}
    best = max(scores, key=scores.get)
    assert {row["baseline"] for row in rows_of(found, subset).values()} == {best if scores[best] > 0 else NO_RULE}


def test_where_only_constant_rules_remain_the_table_says_so(found):
    rows = rows_of(found, "last flare")
    assert rows["persistence 24 h"]["TSS"] == rows["persistence 48 h"]["TSS"] == 0, "both always say yes"
    assert rows["mine"]["baseline"] == NO_RULE and rows["mine"]["TSS_gain"] == rows["mine"]["TSS"]
    assert f"TSS gain over {NO_RULE}" in comparison_text(found.subset("last flare"))


@pytest.mark.parametrize("subset", SUBSETS)
def test_differences_between_files_are_those_of_the_paired_bootstrap(found, images, events, subset):
    pairs = [pair for pair in found.differences if pair["subset"] == subset]
    assert [(pair["forecast"], pair["against"]) for pair in pairs][0] == ("better", "mine")
    assert len(pairs) == 1 + (subset != "all"), "in a subset also both at their own thresholds"
    rows, pair = rows_of(found, subset), pairs[0]
    test = (images["split"] == "test") & subset_of(images, events, subset)
    columns = [{"probability": f.rows["probability"][test], "decision": f.rows["decision"][test].astype(int)}
               for f in (forecast(images, noise=0.15, seed=1), forecast(images))]
    expected = paired_bootstrap((images["peak_flux"] > 0)[test].astype(int), images["region"][test], *columns,
                                climatology=rows["mine"]["climatology"], draws=100)
    for name in SCORES:
        assert pair[name] == rows["better"][name] - rows["mine"][name]
        assert (pair[f"{name}_low"], pair[f"{name}_high"]) == pytest.approx(expected[name])
    if subset != "all":
        assert pairs[1]["TSS"] == pytest.approx(rows[OWN_THRESHOLD.format("better")]["TSS"]
                                                - rows[OWN_THRESHOLD.format("mine")]["TSS"])
        assert pairs[1]["AUC"] is None


def test_the_same_file_twice_differs_by_nothing(images, events):
    twins = [forecast(images, "one"), forecast(images, "two")]
    pair = compare_forecasts(images, twins, "C1.0", events, draws=20).differences[0]
    assert [pair[f"{name}{end}"] for name in SCORES for end in ("", "_low", "_high")] == [0] * 12


def test_tables_and_figure_say_what_is_compared(found, tmp_path):
    write_comparison_csv(tmp_path / "rows.csv", found.rows)
    write_comparison_csv(tmp_path / "pairs.csv", found.differences, DIFFERENCE_COLUMNS)
    rows, pairs = (pd.read_csv(tmp_path / name, keep_default_na=False) for name in ("rows.csv", "pairs.csv"))
    assert tuple(rows) == COLUMNS and tuple(pairs) == DIFFERENCE_COLUMNS
    assert len(pairs) == 1 + 2 + 2 and set(pairs["AUC"][pairs["forecast"] != "better"]) == {"-"}
    text = comparison_text(found)
    assert "| difference | TSS | HSS | AUC | BSS |" in text and "| better - mine | +" in text
    figure = comparison_figure(found)
    assert "validation images of that subset" in figure.get_supxlabel().replace("\n", " ")
    labels = [label.get_text().replace("\n", " ") for ax in figure.axes for label in ax.get_yticklabels()]
    assert labels.count("mine") == 3 and labels.count(OWN_THRESHOLD.format("mine")) == 2
    figure.canvas.draw()
