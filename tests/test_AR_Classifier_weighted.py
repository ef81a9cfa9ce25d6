"""Stage 5 from tables to statistics: every file, every split, every mistake of a user."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_forecast_evaluation import image_names

from classifier_SVM import AR_Classifier_weighted, machines, weight_figure
from classifier_SVM.AR_Classifier_weighted import UserDefinitions, main
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, read_feature_table, write_feature_table
from general_code import forecast_report, skill_figures
from general_code.region_splits import read_region_list
from general_code.skill_scores import skill_scores

REPOSITORY = Path(__file__).resolve().parents[1]
STEM = "ARClassifierStats_weighted_trainvaltest_linear"
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
def settings(tmp_path, monkeypatch):
    """Settings that find everything in `tmp_path`: a table, no lists, no event list; figures are not drawn."""
    write_feature_table(tmp_path / "features.csv", make_table())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(machines.BOOSTING, "max_iter", 20)
    for module in (forecast_report, weight_figure):
        monkeypatch.setattr(module, "save_figure", lambda figure, path: path.touch())
    return {"feature_file": Path("features.csv"), "output_dir": Path("out")}


def run(settings, **more):
    """Run the stage; return its statistics and the sidecar."""
    user = UserDefinitions(**settings | more)
    main(user)
    stem = f"ARClassifierStats_weighted_trainvaltest_{user.class_type}{user.suffix}"
    return (json.loads((user.output_dir / f"{stem}.json").read_text()),
            json.loads((user.output_dir / f"{stem}.txt.json").read_text()))


def refusal(settings, **more):
    """Run the stage and return the one line that it ends with."""
    with pytest.raises(SystemExit) as end:
        run(settings, **more)
    text = str(end.value)
    assert "\n" not in text and text.startswith("AR_Classifier_weighted: ")
    return text


def write_lists(test="1900 1901 1902 1903 1904", validation="1905 1906 1907 1908", training=None):
    """Write the lists of the default settings."""
    texts = {"test_ar_list": test, "validation_ar_list": validation, "train_ar_list": training}
    Path("data").mkdir(exist_ok=True)
    for setting, name in LISTS.items():
        (Path("data") / name).unlink(missing_ok=True)
        if texts[setting] is not None:
            (Path("data") / name).write_text("\n".join(texts[setting].split()) + "\n")


def test_all_files_with_names_to_the_letter(settings):
    run(settings)
    out = {path.name for path in Path("out").iterdir() if not path.name.startswith(".")}
    assert out == {*TABLES.values(), *LISTS.values(), "Weight.txt", f"{STEM}.txt", f"{STEM}.json",
                   f"{STEM}_model.pickle", f"{STEM}_model.json", f"{STEM}.txt.json", f"{STEM}.txt.excluded.csv",
                   f"{STEM}.txt.log", "predictions_linear.csv", "scores_linear.png", "roc_linear.png",
                   "reliability_linear.png", "feature_weights_linear.png"}


def test_tables_are_scaled_by_the_training_rows_and_keep_every_image(settings):
    write_lists()
    run(settings)
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


def test_predictions_and_statistics_tell_the_same(settings):
    write_lists()
    statistics, _ = run(settings)
    predictions = pd.read_csv("out/predictions_linear.csv")
    for split in TABLES:
        part = predictions[predictions["split"] == split]
        own = statistics["splits"][split]["forecasts"]["linear SVM, decision at 0"]
        assert own["TSS"] == skill_scores(part["class"], part["decision"])["TSS"]
        assert statistics["splits"][split]["images"] == len(part)
    assert predictions["probability"].between(0, 1).all()
    order = predictions.sort_values("probability")["decision"].to_numpy()
    assert (np.diff(order) >= 0).all()  # the probability rises with the score that decides
    text = Path(f"out/{STEM}.txt").read_text()
    assert text.index("\ntest: ") < text.index("\nvalidation: ") < text.index("\ntraining: ")


def test_published_spelling_of_the_validation_list(settings):
    write_lists()
    one, _ = run(settings)
    other, _ = run(settings, validation_ar_list=Path("data/List_of_AR_in_Validation_Data_by_AR.csv"))
    assert one == other


def test_draw_is_redone_with_another_seed_but_never_over_a_foreign_list(settings):
    _, sidecar = run(settings)
    first = [Path("out", name).read_text() for name in LISTS.values()]
    assert set(sidecar["counts"]["drawn_lists"]) == set(LISTS.values())
    assert "was not drawn for" in refusal(settings, seed=5, class_type="gradient_boosting"), "the lists of another run"
    assert [Path("out", name).read_text() for name in LISTS.values()] == first
    run(settings, seed=5)
    assert [Path("out", name).read_text() for name in LISTS.values()] != first
    changed = Path("out", LISTS["test_ar_list"])
    changed.write_text("1900\n")
    assert "was not drawn for" in refusal(settings)
    assert changed.read_text() == "1900\n"


def test_a_failed_run_leaves_no_lists_that_bar_the_next(settings, monkeypatch):
    def failing_run(error):
        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(AR_Classifier_weighted, "write_evaluation", lambda *arguments: (_ for _ in ()).throw(error))
            run(settings)
        return {name: Path("out", name).read_text() for name in LISTS.values() if Path("out", name).exists()}

    assert not failing_run(OSError("the disk"))
    run(settings, seed=5)
    drawn = {name: Path("out", name).read_text() for name in LISTS.values()}
    assert failing_run(KeyboardInterrupt()) == drawn
    run(settings)
    assert {name: Path("out", name).read_text() for name in LISTS.values()} != drawn


def test_cost_reaches_the_fit(settings):
    write_lists()
    objectives = {C: run(settings, C=C)[1]["counts"]["objective"] for C in (0.5, 1.0)}
    assert objectives[0.5] < objectives[1.0] < 2 * objectives[0.5], "the optimum rises with C, less than in proportion"


@pytest.mark.parametrize(("endings", "stored"), [([".fits"], "fits"), ([".PNG"], "png"), ([".fits", ".png"], "")])
def test_image_format_is_kept_for_the_forecast(settings, endings, stored):
    table = make_table()
    stems = table["filename"].str.removesuffix(".fits")
    write_feature_table(Path("features.csv"), table.assign(filename=stems + np.resize(endings, len(table))))
    run(settings)
    assert json.loads(Path(f"out/{STEM}_model.json").read_text())["image_format"] == stored


def test_size_and_window_of_the_labels_are_carried_on(settings, capsys):
    counts = {"flare_size": "C1.0", "flare_window_hours": 24.0}
    Path("features.csv.json").write_text(json.dumps({"counts": counts}))
    statistics, sidecar = run(settings)
    assert sidecar["counts"] | counts == sidecar["counts"]
    assert statistics["flare_window_hours"] == 24.0
    assert "flares: C1.0 or larger within 24 h" in Path(f"out/{STEM}.txt").read_text()
    assert "flares of C1.0 or larger within 24 h" in capsys.readouterr().out
    assert json.loads(Path(f"out/{STEM}_model.json").read_text())["flare_window_hours"] == 24.0
    Path("features.csv.json").unlink()
    assert run(settings)[1]["counts"]["flare_window_hours"] == ""


def test_verdict_ends_what_is_said_of_the_scores(settings, capsys):
    statistics, _ = run(settings)
    said = capsys.readouterr().out.splitlines()
    assert said[-2] == statistics["verdict"] and said[-1] == "Nothing was left out."


def test_same_bytes_again(settings, monkeypatch):
    for module in (forecast_report, weight_figure):
        monkeypatch.setattr(module, "save_figure", skill_figures.save_figure)
    run(settings)
    first = {path.name: path.read_bytes() for path in Path("out").iterdir()
             if path.suffix in (".csv", ".png", ".pickle", ".txt")}
    run(settings)
    assert {name: Path("out", name).read_bytes() for name in first} == first


def test_flare_size_changes_the_classes(settings):
    write_lists()
    statistics, _ = run(settings, flare_size="M1.0", suffix="_M1")
    table = read_feature_table(Path("out/Test_Data_by_AR_M1.csv"))
    assert (table["class"] == (table["flare class"] == "M1.5")).all() and table["class"].sum() > 0
    assert statistics["flare_size"] == "M1.0" and Path("out/Weight_M1.txt").is_file()


def test_persistence_rows_with_an_event_list(settings):
    write_lists()
    Path("events.txt").write_text("2014 01 01,0630,1900,C5.0\n2014 01 01,0630,1903,B9.0\n2014 02 01,0000,1903,M1.0\n")
    statistics, _ = run(settings, event_list=Path("events.txt"))
    test = pd.read_csv("out/predictions_linear.csv").query("split == 'test'")
    flared = test["filename"].str.startswith("1900") & (test["filename"].str.extract(r"_(\d\d)\d{4}_TAI")[0] >= "08")
    found = statistics["splits"]["test"]["forecasts"]
    assert found["persistence 24 h"]["TSS"] == skill_scores(test["class"], flared)["TSS"]
    assert "No sidecar tells" in statistics["remarks"][0]
    without, _ = run(settings, event_list=Path(""))
    assert without["splits"]["test"]["forecasts"]["persistence 48 h"] == "not available"


@pytest.mark.parametrize("class_type", ["linear", "rbf", "gradient_boosting"])
def test_each_class_type_beats_climatology_and_saves_its_model(settings, class_type):
    write_lists()
    statistics, sidecar = run(settings, class_type=class_type, max_rbf_rows=60)
    assert next(iter(statistics["splits"]["training"]["forecasts"].values()))["TSS"] > 0.3
    assert Path(f"out/ARClassifierStats_weighted_trainvaltest_{class_type}_model.pickle").is_file()
    assert sidecar["counts"]["rows fitted"] == (60 if class_type == "rbf" else 132)


def test_rbf_on_a_sample_says_so_loudly(settings, capsys):
    run(settings, class_type="rbf", max_rbf_rows=60)
    assert "ATTENTION: the rbf SVM is fitted to 60 of the" in capsys.readouterr().out


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
    model = json.loads(Path(f"out/{STEM}_model.json").read_text())
    assert model["extra_feature_names"] == ["hours"] and len(model["scaling"]["minimum"]) == 30
    assert names.iloc[-1] + ",no row in the extra feature file" in Path(f"out/{STEM}.txt.excluded.csv").read_text()


def test_extra_features_alone(settings, capsys):
    write_lists()
    table = make_table()
    Path("Labels.txt").write_text("".join(map("{},{}\n".format, table["filename"], table["flare class"])))
    Path("extra.csv").write_text("filename,flux\n" + "".join(map("{},{!r}\n".format, table["filename"],
                                                                 table["total unsigned flux"].tolist())))
    run(settings, feature_file=Path(""), label_file=Path("Labels.txt"), extra_feature_file=Path("extra.csv"))
    assert not Path("out/Train_Data_by_AR.csv").exists() and not Path("out/Weight.txt").exists()
    assert "are not written" in capsys.readouterr().out
    assert len(pd.read_csv("out/predictions_linear.csv")) == len(table)


def test_regions_in_no_list(settings, capsys):
    write_lists(training="1909 1910 1911 1912 1913")
    run(settings)
    assert "6 regions (72 images) are in no list and are left out: 1914, 1915" in capsys.readouterr().out
    excluded = pd.read_csv(f"out/{STEM}.txt.excluded.csv")
    assert len(excluded) == 72 and set(excluded["reason"]) == {"region in no list"}
    write_lists()
    run(settings)
    assert "11 regions (132 images) are in no list and go to training" in capsys.readouterr().out
    assert len(read_feature_table(Path("out/Train_Data_by_AR.csv"))) == 132


def test_split_without_images_or_with_one_class_is_not_defined(settings, capsys):
    table = make_table()
    table.loc[table["filename"].str[:4].isin(["1905", "1906", "1907", "1908"]), ["class", "flare class"]] = 0, "0"
    write_feature_table(Path("features.csv"), table)
    write_lists(test="0001")
    statistics, _ = run(settings)
    said = capsys.readouterr().out
    assert "test: 0 regions, 0 images, 0 with a flare; one class only or empty" in said
    assert "1 of the 1 regions in the test list have no image" in said
    own = "linear SVM, decision at 0"
    assert statistics["splits"]["test"]["forecasts"][own]["TNR"] == "not defined"
    assert statistics["splits"]["validation"]["forecasts"][own]["TSS"] == "not defined"
    assert statistics["calibration"] == statistics["validation_threshold"] == "not defined"
    assert isinstance(statistics["splits"]["training"]["forecasts"][own]["TSS"], float)
    assert pd.read_csv("out/predictions_linear.csv")["probability"].isna().all()
    assert Path("out/Test_Data_by_AR.csv").read_text() == ""


def test_weight_file_of_another_table_is_said_and_replaced(settings, capsys):
    Path("out").mkdir()
    Path("out/Weight.txt").write_text("0 1\n" * 29)
    run(settings)
    assert "Weight.txt is of another table or split: not used, replaced" in capsys.readouterr().out
    assert not Path("out/Weight.txt").read_text().startswith("0 1\n")


@pytest.mark.parametrize(("change", "message"), [
    ({"feature_file": Path("nothing.csv")}, "feature_file: .*expected a file at 'nothing.csv'"),
    ({"C": 0.0}, "C above 0"), ({"seed": -1}, "seed: expected a number from 0, got -1"),
    ({"suffix": "a/b"}, "suffix"),
    ({"flare_size": "large"}, "flare_size: flare class 'large'"),
    ({"event_list": Path("features.csv")}, "event_list: features.csv"),
    ({"test_percent": 70.0, "validation_percent": 40.0}, "sum below 100"),
    ({"feature_file": Path("out/Train_Data_by_AR.csv")}, "is an input of this stage and would be overwritten"),
    ({"flare_size": "X9.0"}, "expected images with and without a flare, got 0 with"),
])
def test_mistakes_end_in_one_line(settings, change, message):
    assert re.search(message, refusal(settings, **change))


@pytest.mark.parametrize(("lists", "message"), [
    ({"test": None}, "test_ar_list: no file at"),
    ({"validation": None}, "validation_ar_list: no file at"),
    ({"training": "1900 1909"}, "region 1900 is in two lists, test and training"),
    ({"test": "1900 AR01"}, "line 2: 'AR01' is not a region number"),
])
def test_list_mistakes(settings, lists, message):
    write_lists(**lists)
    assert message in refusal(settings)


@pytest.mark.parametrize(("old", "new", "message"), [
    (",C2.0,", ",", "32 columns"), (",C2.0,", ",E2.0,", "E2.0"), ("\n1", "\nmany", "many"), ("\n1", "\nnan", "nan"),
])
def test_damaged_tables_name_the_line(settings, old, new, message):
    text = "1" + Path("features.csv").read_text()
    Path("features.csv").write_text(text[1:] if old not in text else text[1:].replace(old, new, 1))
    said = refusal(settings)
    assert "features.csv, line " in said and message in said


def test_repeated_name_is_refused(settings):
    table = make_table()
    write_feature_table(Path("features.csv"), pd.concat([table, table[:1]]))
    assert table["filename"][0] in refusal(settings)


def test_as_a_user_starts_it(settings, tmp_path):
    script = REPOSITORY / "classifier_SVM/AR_Classifier_weighted.py"
    result = subprocess.run([sys.executable, script, "--feature-file", "features.csv"], cwd=tmp_path,
                            capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "Nothing was left out."
    assert Path("results/SVM/Test_Data_by_AR.csv").is_file()


@pytest.mark.parametrize(("settings", "message"), [
    ({"C": float("inf")}, "expected a finite C above 0"), ({"event_list": Path("folder")}, "'folder' is a folder"),
])
def test_settings_that_cannot_be_end_in_one_line(tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(SystemExit, match=message):
        main(UserDefinitions(**settings))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
