"""Stage 5 from tables to statistics: every file, every split, every error a user can make."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from classifier_SVM import AR_Classifier_weighted
from classifier_SVM.AR_Classifier_weighted import UserDefinitions, main
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, FLARE_SOURCES, read_feature_table, write_feature_table
from classifier_SVM.training import classifiers, figures
from classifier_SVM.training.linear_svm import WeightedLinearSVC
from classifier_SVM.training.model_file import load_model
from general_code.evaluation import report
from general_code.evaluation.report import save_figure
from general_code.evaluation.scores import skill_scores
from general_code.evaluation.splits import read_region_list
from general_code.images.label_file import label_target
from general_code.stage.files import UserError
from tests.general_code.evaluation.test_evaluate import image_names
from tests.general_code.noaa.test_archive import write_summary

STEM = "ARClassifierStats_weighted_trainvaltest_linear"
MODEL = Path(f"out/{STEM}_model.skops")
OWN = "linear SVM, decision at 0"
TABLES = {"training": "Train_Data_by_AR.csv", "validation": "Validation_Data_by_AR.csv", "test": "Test_Data_by_AR.csv"}
LISTS = {"test_ar_list": "List_of_AR_in_Test_Data_by_AR.csv", "train_ar_list": "List_of_AR_in_Train_Data_by_AR.csv",
         "validation_ar_list": "List_of_AR_in_Validation_data_by_AR.csv"}


def make_table(n_regions=20, images=12, seed=0):
    """Features that tell active regions from quiet ones, noisily; active regions flare often, some of them strongly."""
    rng, names = np.random.default_rng(seed), image_names(n_regions, images)
    activity = np.repeat(rng.normal(size=n_regions), images)
    flares = activity + rng.normal(0, 0.7, len(names)) > 0.6
    values = np.exp(0.4 * (activity[:, None] * rng.uniform(0, 0.8, 29) + rng.normal(size=(len(names), 29)))) * 100
    table = pd.DataFrame(values, columns=list(FEATURE_NAMES))
    labels = np.where(flares, np.where(rng.random(len(names)) < 0.4, "M1.5", "C2.0"), "0")
    return table.assign(**{"class": flares.astype(int), "flare class": labels, "filename": names})


@pytest.fixture
def settings(tmp_path, monkeypatch, few_regions):
    """Settings that find everything in `tmp_path`: a table, no lists, no event list; figures are not drawn."""
    write_feature_table(tmp_path / "features.csv", make_table())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(classifiers.BOOSTING, "max_iter", 20)
    for module in (report, figures):
        monkeypatch.setattr(module, "save_figure", lambda figure, path: path.touch())
    return {"feature_file": Path("features.csv"), "output_dir": Path("out")}


def run(settings, **more):
    """Run the stage; return its statistics and the sidecar."""
    user = UserDefinitions(**settings | more)
    main(user)
    stem = f"ARClassifierStats_weighted_trainvaltest_{user.class_type}{user.suffix}"
    return (json.loads((user.output_dir / f"{stem}.json").read_text()),
            json.loads((user.output_dir / f"{stem}.txt.json").read_text()))


def read_predictions(class_type="linear"):
    """Return the predictions; pandas' own parser of numbers may miss the last digit."""
    exact = {"probability": lambda text: float(text or "nan")}
    return pd.read_csv(f"out/predictions_{class_type}.csv", converters=exact)


def write_lists(test="1900 1901 1902 1903 1904", validation="1905 1906 1907 1908", training=None):
    """Write the lists of the default settings."""
    Path("data").mkdir(exist_ok=True)
    for name, text in zip(LISTS.values(), (test, training, validation), strict=True):
        Path("data", name).unlink(missing_ok=True)
        if text is not None:
            Path("data", name).write_text("\n".join(text.split()) + "\n")


def test_all_files_with_names_to_the_letter(settings):
    run(settings)
    out = {path.name for path in Path("out").iterdir() if not path.name.startswith(".")}
    assert out == {*TABLES.values(), *LISTS.values(), "drawn_split.json", "Weight.txt", f"{STEM}.txt", f"{STEM}.json",
                   f"{STEM}_model.pickle", f"{STEM}_model.skops", f"{STEM}.txt.json", f"{STEM}.txt.excluded.csv",
                   f"{STEM}.txt.log", "predictions_linear.csv", "scores_linear.png", "roc_linear.png",
                   "feature_weights_linear.png", "feature_weights_linear.csv"}, "no probabilities: no reliability"


def test_tables_are_scaled_by_the_training_rows_and_keep_every_image(settings, capsys):
    write_lists()
    Path("out").mkdir()
    Path("out/Weight.txt").write_bytes(b"0 1\n" * 28 + b"0 \xbe\n")  # damaged
    run(settings)
    assert "Weight.txt was of another table or split: not used, replaced" in capsys.readouterr().out
    table = read_feature_table(Path("features.csv")).set_index("filename")
    low, width = np.loadtxt("out/Weight.txt").T
    parts = {split: read_feature_table(Path("out") / name) for split, name in TABLES.items()}
    assert sum(map(len, parts.values())) == len(table)
    training = parts["training"][list(FEATURE_NAMES)]
    assert training.min().tolist() == [0] * 29 and training.max().tolist() == pytest.approx([1] * 29)
    for split, part in parts.items():
        source = table.loc[part["filename"]]
        unscaled = part[list(FEATURE_NAMES)].to_numpy() * width + low
        assert unscaled == pytest.approx(source[list(FEATURE_NAMES)].to_numpy())
        assert (part["flare class"].to_numpy() == source["flare class"].to_numpy()).all()
        assert part["filename"].is_monotonic_increasing
        if split != "training":
            assert part["filename"].str[:4].isin(read_region_list(Path("data") / LISTS[f"{split}_ar_list"])).all()


def test_predictions_and_statistics_tell_the_same(settings, capsys):
    write_lists()
    statistics, _ = run(settings)
    assert capsys.readouterr().out.splitlines()[-2:] == [statistics["verdict"], "Nothing was excluded."]
    predictions = read_predictions()
    for split in TABLES:
        part = predictions[predictions["split"] == split]
        own = statistics["splits"][split]["forecasts"][OWN]
        assert own["TSS"] == skill_scores(part["class"], part["decision"])["TSS"]
        assert statistics["splits"][split]["images"] == len(part)
    assert predictions["probability"].between(0, 1).all()
    order = predictions.sort_values("probability")["decision"].to_numpy()
    assert (np.diff(order) >= 0).all()  # the probability rises with the score that decides
    text = Path(f"out/{STEM}.txt").read_text()
    assert text.startswith("Split by region: lists data/List_of_AR_in_Test_Data_by_AR.csv, data/List_of_AR_in_Valid")
    assert text.index("\ntest: ") < text.index("\nvalidation: ") < text.index("\ntraining: ")


def test_lists_drawn_once_are_used_by_every_later_run(settings):
    def drawn_lists():
        return [Path("out", name).read_text() for name in LISTS.values()]

    run(settings)
    drawn, table = drawn_lists(), make_table(seed=3)
    write_feature_table(Path("other.csv"), table.assign(**{"flare class": "0", "class": table["class"]}))
    for change in ({"seed": 5, "class_type": "gradient_boosting"}, {"suffix": "_M1", "flare_size": "M1.0"},
                   {"test_percent": 40.0, "feature_file": Path("other.csv")}):
        run(settings, **change)
        assert drawn_lists() == drawn, change


def test_linear_weights_as_plain_numbers_give_the_decision_values(settings):
    run(settings)
    table = pd.read_csv("out/feature_weights_linear.csv")
    features, intercept = table[:-1], table["weight"].iloc[-1]
    assert table["feature"].tolist() == [*FEATURE_NAMES, "intercept"]
    rows = read_feature_table(Path("features.csv"))[list(FEATURE_NAMES)].to_numpy()
    values = (rows - features["minimum"].to_numpy()) / features["range"].to_numpy() @ features["weight"].to_numpy()
    model, _ = load_model(MODEL)
    assert values + intercept == pytest.approx(model.decision_function(rows))


def test_a_linear_svm_that_did_not_converge_is_no_result(settings, monkeypatch):
    def rough(*arguments):
        return WeightedLinearSVC(max_iter=1).fit(*arguments[1:3])

    monkeypatch.setattr(AR_Classifier_weighted, "fit_classifier", rough)
    with pytest.warns(ConvergenceWarning), pytest.raises(SystemExit, match="linear SVM did not converge with C 1"):
        run(settings)
    assert not Path("out/predictions_linear.csv").exists()


@pytest.mark.parametrize(("endings", "stored"), [([".fits"], "fits"), (["_224.PNG"], "png"), ([".fits.gz"], "fits"),
                                                 ([".fits", ".png"], "")])
def test_image_format_is_kept_for_the_forecast(settings, endings, stored):
    table = make_table()
    stems = table["filename"].str.removesuffix(".fits")
    write_feature_table(Path("features.csv"), table.assign(filename=stems + np.resize(endings, len(table))))
    run(settings)
    assert load_model(MODEL)[0].image_format == stored


def test_how_labels_and_images_were_made_is_carried_on(settings, capsys):
    counts = {"flare_size": "C1.0", "flare_window_hours": 24.0}
    limits = {"max_latitude_deg": 60.0, "max_longitude_deg": 50.0, "image_pixels": [96, 600]}
    Path("features.csv.json").write_text(json.dumps({"counts": counts | limits}))
    statistics, sidecar = run(settings)
    assert sidecar["counts"] | counts == sidecar["counts"] and statistics["flare_window_hours"] == 24.0
    assert "flares: C1.0 or larger within 24 h" in Path(f"out/{STEM}.txt").read_text()
    assert "flares of C1.0 or larger within 24 h" in capsys.readouterr().out
    model, _ = load_model(MODEL)
    assert model.flare_size == "C1.0" and model.flare_window_hours == 24.0
    assert model.limits == {"max_latitude_deg": 60.0, "max_longitude_deg": 50.0, "smallest_side": 96.0,
                            "largest_side": 600.0}
    Path("features.csv.json").unlink()
    assert run(settings)[1]["counts"]["flare_window_hours"] == ""


def test_a_table_older_than_its_labels_is_noticed(settings, capsys):
    Path("Labels.txt").write_text("")
    Path("features.csv.json").write_text(json.dumps({"settings": {"label_file": "Labels.txt"}}))
    run(settings)
    assert "was written after" not in capsys.readouterr().out
    os.utime("features.csv.json", (1e9, 1e9))
    run(settings)
    assert "ATTENTION: Labels.txt was written after features.csv" in capsys.readouterr().out


@pytest.mark.parametrize("dropped", [[], ["flare class"]])
def test_published_tables_with_the_published_names(settings, dropped):
    table = make_table().drop(columns=dropped)
    table["filename"] = table["filename"].str.replace(".fits", "_224.png")
    write_feature_table(Path("features.csv"), table)
    write_lists()
    run(settings)
    own = read_predictions()
    assert own["filename"].tolist() == sorted(table["filename"]) and own["class"].sum() == table["class"].sum()
    written = read_feature_table(Path("out/Test_Data_by_AR.csv"))
    assert ("flare class" in written) == (not dropped) and written["filename"].str.endswith("_224.png").all()


def test_same_bytes_again(settings, monkeypatch):
    for module in (report, figures):
        monkeypatch.setattr(module, "save_figure", save_figure)
    run(settings)
    first = {path: path.read_bytes() for path in Path("out").iterdir()
             if path.suffix in (".csv", ".png", ".pickle", ".skops", ".txt")}
    run(settings, redraw=True)  # of the same seed
    assert {path: path.read_bytes() for path in first} == first


def test_flare_size_changes_the_classes(settings):
    statistics, _ = run(settings, flare_size="M1.0", suffix="_M1")
    table = read_feature_table(Path("out/Test_Data_by_AR_M1.csv"))
    assert (table["class"] == (table["flare class"] == "M1.5")).all() and table["class"].sum() > 0
    assert statistics["flare_size"] == "M1.0" and Path("out/Weight_M1.txt").is_file()


def test_persistence_rows_with_an_event_list(settings):
    write_lists()
    Path("events.txt").write_text("2014 01 01,0630,1900,C5.0\n2014 01 01,0630,1903,B9.0\n2014 02 01,0000,1903,M1.0\n")
    statistics, _ = run(settings, event_list=Path("events.txt"))
    test = read_predictions().query("split == 'test'")
    flared = test["filename"].str.startswith("1900") & (test["filename"].str.extract(r"_(\d\d)\d{4}_TAI")[0] >= "08")
    found = statistics["splits"]["test"]["forecasts"]
    assert found["persistence 24 h"]["TSS"] == skill_scores(test["class"], flared)["TSS"]
    # size and window are in no sidecar and no name: every output says so, and what persistence counts instead
    assert "do not record" in statistics["remarks"][1] and statistics["flare_size"] == load_model(MODEL)[0].flare_size
    text = Path(f"out/{STEM}.txt").read_text()
    assert "flares: any labelled size\n" in text and "Persistence: a flare of C1.0 or larger" in text
    assert statistics["best_rule"] in statistics["verdict"] and found["rate of McIntosh class"] == "not available"
    write_summary(Path("data/SRS"), "20140101", "1900", "1903")
    without, _ = run(settings, event_list=Path(""))
    found = without["splits"]["test"]["forecasts"]
    assert found["persistence 48 h"] == "not available" and 0 < found["rate of McIntosh class"]["AUC"] < 1


@pytest.mark.parametrize("class_type", list(classifiers.CLASS_TYPES))
def test_each_class_type_beats_climatology_and_its_files_forecast_as_the_stage_did(settings, class_type, capsys):
    write_lists()
    statistics, sidecar = run(settings, class_type=class_type, max_rbf_rows=60)
    assert next(iter(statistics["splits"]["training"]["forecasts"].values()))["TSS"] > 0.3
    own, rows = read_predictions(class_type), read_feature_table(Path("features.csv")).sort_values("filename")
    for extension in ("skops", "pickle"):
        model, _ = load_model(Path(f"out/{STEM}_model.{extension}".replace("linear", class_type)))
        scores = model.decision_function(rows[list(FEATURE_NAMES)].to_numpy())
        assert np.array_equal(model.probability(scores), own["probability"])
        assert np.array_equal(scores > 0, own["decision"])
    assert sidecar["counts"]["rows fitted"] == (60 if class_type == "rbf" else 132)
    assert ("ATTENTION: the rbf SVM is fitted to 60 of the" in capsys.readouterr().out) == (class_type == "rbf")


def test_extra_features_go_to_files_of_their_own(settings):
    write_lists()
    names = make_table()["filename"]
    Path("extra.csv").write_text("filename,hours\n" + "".join(f"{n},{i}\n" for i, n in enumerate(names[:-1])))
    run(settings, extra_feature_file=Path("extra.csv"))
    extra = pd.concat([pd.read_csv(f"out/{word}_Extra.csv") for word in ("Train", "Validation", "Test")])
    assert list(extra) == ["filename", "hours"] and len(extra) == len(names) - 1
    assert pd.read_csv("out/Train_Extra.csv")["hours"].agg(["min", "max"]).tolist() == [0, 1]
    assert np.loadtxt("out/Weight.txt").shape == (29, 2)
    assert len(read_feature_table(Path("out/Train_Data_by_AR.csv"))) == len(pd.read_csv("out/Train_Extra.csv"))
    model, _ = load_model(MODEL)
    assert model.extra_feature_names == ("hours",) and len(model.scaling.minimum) == 30
    assert names.iloc[-1] + ",no row in the extra feature file" in Path(f"out/{STEM}.txt.excluded.csv").read_text()


@pytest.mark.parametrize(("labels", "features"), [("modern", "as_reported"), ("modern", "modern"), ("", "modern")])
def test_target_of_the_labels_is_noted_and_features_of_another_scale_are_warned_of(settings, capsys, labels, features):
    write_lists()
    noted = {"flare_size": "C1.0", "latency_minutes": 60.0} | ({"flare_scale": labels} if labels else {})
    Path("features.csv.json").write_text(json.dumps({"counts": noted, "settings": {}}))
    names = make_table()["filename"]
    Path("extra.csv").write_text("filename,hours\n" + "".join(f"{n},{i}\n" for i, n in enumerate(names)))
    Path("extra.csv.json").write_text(json.dumps({"counts": {FLARE_SOURCES: {"flare_scale": features}}}))
    _, sidecar = run(settings, extra_feature_file=Path("extra.csv"))
    model, _ = load_model(MODEL)
    assert model.target == label_target(Path("features.csv"))[:1] + (pytest.approx(np.nan, nan_ok=True), 60.0,
                                                                     labels or "as_reported")
    assert model.feature_scale == features
    assert {name: sidecar["counts"][name] for name in noted} == noted
    warned = f"flare classes of the labels are {model.flare_scale}, those of the extra features {features}"
    assert (warned in capsys.readouterr().out) == (features != model.flare_scale)


def test_extra_features_alone(settings, capsys):
    write_lists()
    table = make_table()
    Path("Labels.txt").write_text("".join(map("{},{}\n".format, table["filename"], table["flare class"])))
    Path("extra.csv").write_text("filename,flux\n" + "".join(map("{},{!r}\n".format, table["filename"],
                                                                 table["total unsigned flux"].tolist())))
    run(settings, feature_file=Path(""), label_file=Path("Labels.txt"), extra_feature_file=Path("extra.csv"))
    assert not Path("out/Train_Data_by_AR.csv").exists() and not Path("out/Weight.txt").exists()
    assert "are not written" in capsys.readouterr().out
    assert len(read_predictions()) == len(table)


def test_regions_in_no_list(settings, capsys):
    write_lists(training="1909 1910 1911 1912 1913")
    run(settings)
    assert "6 regions (72 images) are in no list and are skipped: 1914, 1915" in capsys.readouterr().out
    excluded = pd.read_csv(f"out/{STEM}.txt.excluded.csv")
    assert len(excluded) == 72 and set(excluded["reason"]) == {"region in no list"}
    assert len(read_predictions()) == 14 * 12


@pytest.fixture
def dated(settings):
    """Settings of a split by time: 20 regions of a day each, ten days apart from 2014-01-01 on."""
    table = make_table()
    days = pd.Timestamp("20140101") + pd.to_timedelta(np.repeat(np.arange(20) * 10, 12), "D")
    table["filename"] = [name.replace("20140101", day)
                         for name, day in zip(table["filename"], days.strftime("%Y%m%d"), strict=True)]
    write_feature_table(Path("features.csv"), table)
    return settings | {"validation_start": "20140401", "test_start": "20140515", "gap_days": 12}


def test_a_split_by_time_is_named_in_every_output(dated, capsys):
    write_lists()  # of data/, which nobody named
    statistics, sidecar = run(dated)
    said, text = capsys.readouterr().out, Path(f"out/{STEM}.txt").read_text()
    line = "Split by time: training before 2014-04-01, validation from 2014-04-01, test from 2014-05-15, by the first"
    assert text.startswith(line) and statistics["remarks"][0].startswith(line) and line in said
    assert sidecar["counts"]["split"].startswith(line)
    assert statistics["split"] == {"validation_start": "2014-04-01", "test_start": "2014-05-15", "gap_days": 12}
    predictions = read_predictions()
    split = predictions.groupby(predictions["filename"].str[:4])["split"].first()
    assert split[split == "training"].index.tolist() == [f"{n}" for n in range(1900, 1909)]
    assert split[split == "validation"].index.tolist() == ["1911", "1912", "1913"]
    assert split[split == "test"].index.tolist() == ["1915", "1916", "1917", "1918", "1919"]
    excluded = pd.read_csv(f"out/{STEM}.txt.excluded.csv")
    assert excluded["reason"].value_counts().to_dict() == {
        "region begins within 12 days after 2014-04-01": 24, "region begins within 12 days after 2014-05-15": 12}
    again, _ = run(dated | {"validation_start": "", "test_start": ""}, suffix="_later", class_type="logistic")
    assert again["split"] == statistics["split"] and again["remarks"][0] == statistics["remarks"][0]


@pytest.mark.parametrize(("change", "message"), [
    ({"test_start": ""}, "validation_start, test_start: a split by time needs both days, got '20140401' and ''; set"),
    ({"test_start": "20140401"}, "test_start: expected a day after 20140401, validation_start, got 20140401"),
    ({"test_ar_list": Path("data/own.csv")}, "test_ar_list: expected the default beside validation_start 20140401"),
    ({"validation_start": "2014-04-01"}, "validation_start: expected a date like 20100501, got '2014-04-01'"),
    ({"gap_days": -1}, "gap_days: expected"),
    ({"gap_days": 100}, "no region is left for test, validation; the images are from 2014-01-01 to 2014-07-10"),
    ({"repeats": -1}, "repeats: expected a number from 0"),
])
def test_wrong_settings_of_a_split_by_time_end_in_one_line(dated, change, message):
    write_lists()
    Path("data/own.csv").write_text("1900\n")
    with pytest.raises((SystemExit, UserError), match=message) as end:
        run(dated, **change)
    assert "\n" not in str(end.value) and not Path(f"out/{STEM}.txt").exists()


@pytest.mark.parametrize("class_type", ["linear", "rbf"])
def test_repeats_are_what_runs_with_their_seeds_would_give(settings, class_type, capsys):
    write_lists()
    Path("events.txt").write_text("2014 01 01,0630,1900,C5.0\n2014 01 01,0030,1903,C9.0\n2014 02 01,0000,1903,M1.0\n")
    common = {"class_type": class_type, "max_rbf_rows": 60, "event_list": Path("events.txt")}
    one, _ = run(settings, **common, seed=7, repeats=3)
    table = pd.read_csv(f"out/repeats_{class_type}.csv", index_col="score")
    text = Path(f"out/{STEM}.txt".replace("linear", class_type)).read_text()
    assert "Repeated splits: test images of 3 draws of the regions, seeds 7 to 9" in text
    assert table.loc["TSS", "one_split"] == one["splits"]["test"]["forecasts"][OWN.replace("linear", class_type)]["TSS"]
    Path("data").rename("elsewhere")
    for draw in one["repeats"]["draws"]:
        drawn, _ = run(settings, **common, seed=draw["seed"], output_dir=Path(f"seed {draw['seed']}"))
        own = next(iter(drawn["splits"]["test"]["forecasts"].values()))
        for score in ("TPR", "TSS", "HSS"):
            assert draw[score] == own[score]
    draws = [draw["TSS"] for draw in one["repeats"]["draws"]]
    assert table.loc["TSS", ["mean", "smallest", "largest", "draws"]].tolist() == pytest.approx(
        [np.mean(draws), min(draws), max(draws), 3])
    gains = [draw["TSS gain over the best rule"] for draw in one["repeats"]["draws"]]
    assert table.loc["TSS gain over the best rule", "mean"] == pytest.approx(np.mean(gains))
    said = capsys.readouterr().out
    assert said.count("TSS gain over the best rule") == 1 and f" {np.mean(draws):.3f} " in said
    run(settings, **common)
    assert f"repeats_{class_type}.csv is of an earlier run with repeats" in capsys.readouterr().out


def test_spread_of_draws_by_hand():
    draws = [{"seed": 3, "TSS": 0.4, "AUC": np.nan}, {"seed": 4, "TSS": 0.6, "AUC": np.nan},
             {"seed": 5, "TSS": np.nan, "AUC": 0.8}]
    table = AR_Classifier_weighted.spread_of_draws(draws, {"TSS": 0.55, "AUC": np.nan})
    assert list(table) == ["one_split", "mean", "standard_deviation", "smallest", "largest", "draws"]
    assert table.loc["TSS"].tolist() == pytest.approx([0.55, 0.5, 0.02 ** 0.5, 0.4, 0.6, 2])
    assert np.isnan(table.loc["AUC", "standard_deviation"]) and table.loc["AUC", "draws"] == 1


def test_a_split_that_cannot_be_trained_fails_before_the_draws(settings, capsys):
    write_lists()
    with pytest.raises((SystemExit, UserError), match="expected images with and without a flare"):
        run(settings, repeats=2, flare_size="X9.0")
    assert "Repeated splits" not in capsys.readouterr().out


def test_split_without_images_or_with_one_class_is_not_defined(settings, capsys):
    table = make_table()
    table.loc[table["filename"].str[:4].isin(["1905", "1906", "1907", "1908"]), ["class", "flare class"]] = 0, "0"
    write_feature_table(Path("features.csv"), table)
    for validation, reported in (("1905 1906 1907 1908", "one class only"), ("", "no images"), ("0001", "no images")):
        write_lists(validation=validation)
        statistics, _ = run(settings)
        said = capsys.readouterr().out
        assert f"threshold chosen on validation (largest TSS): not defined: {reported} there" in said
        assert "Probability: not defined; calibration needs" in said and "calibrating" not in said
        assert ("ATTENTION: no image is of a region in the validation list" in said) == (validation == "0001")
        own = {split: statistics["splits"][split]["forecasts"][OWN] for split in TABLES}
        assert own["validation"]["TSS"] == "not defined" and isinstance(own["test"]["TSS"], float)
        assert statistics["calibration"] == statistics["validation_threshold"] == "not defined"
        assert read_predictions()["probability"].isna().all()
    assert Path("out/Validation_Data_by_AR.csv").read_text() == ""
    for test in ("", "0001"):
        write_lists(test=test)
        statistics, _ = run(settings)
        said = capsys.readouterr().out
        assert "test: 0 regions, 0 images, 0 with a flare; no scores" in said
        assert ("ATTENTION: no image is of a region in the test list" in said) == (test == "0001")
        assert statistics["splits"]["test"]["forecasts"][OWN]["TSS"] == "not defined"


@pytest.mark.parametrize(("change", "message"), [
    ({"feature_file": Path("nothing.csv")}, "feature_file: .*expected a file at 'nothing.csv'"),
    ({"C": 0.0}, "C: expected a number above 0, got 0"), ({"C": "inf"}, "C: expected"),
    ({"C": 1e15}, "C: expected a number up to 1e.12"),
    ({"seed": -1}, "seed: expected a number from 0, got -1"), ({"max_rbf_rows": 1}, "max_rbf_rows: .* from 2, got 1"),
    ({"suffix": "a/b"}, "suffix: expected letters that a file name may have"),
    ({"class_type": "svm"}, "class_type: expected one of linear, rbf, logistic, gradient_boosting, got 'svm'"),
    ({"flare_size": "large"}, "flare_size: .*'large'"), ({"output_dir": ""}, "output_dir: expected a path"),
    ({"event_list": Path("features.csv")}, "event_list: no line of features.csv is like"),
    ({"event_list": Path("data")}, "event_list: .* found a folder"),
    ({"srs_dir": Path("nowhere")}, "srs_dir: expected a folder"), ({"srs_dir": Path("data")}, "srs_dir: no region in"),
    ({"lists": {"validation": None}}, "validation_ar_list: no file at"),
    ({name: Path("no.csv") for name in ("feature_file", "test_ar_list", "train_ar_list", "event_list")},
     "feature_file: expected a file .*; event_list: expected a file .*; test_ar_list: expected .*; train_ar_list: exp"),
    ({"feature_file": Path("data/Labels.txt")}, "Labels.txt is a list of images with their labels, no feature table"),
    ({"lists": {"training": "1900 1909"}}, "region 1900 is in two lists, test and training"),
    ({"feature_file": Path("out/Train_Data_by_AR.csv")}, "is an input of this stage and would be overwritten"),
    ({"flare_size": "X9.0"}, "expected images with and without a flare, got 0 with"),
])
def test_wrong_settings_end_in_one_line(settings, change, message):
    write_lists(**change.pop("lists", {}))
    Path("data/Labels.txt").write_text(f"{make_table()['filename'][0]},0\n")
    with pytest.raises((SystemExit, UserError), match=message) as end:
        run(settings, **change)
    assert "\n" not in str(end.value)
