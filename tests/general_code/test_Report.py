"""The page that shows a run: what it says, what it survives, and how it looks in a real browser."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from general_code import Report
from general_code.images.magnetograms import write_magnetogram
from general_code.jsoc.browser import start_chromium
from general_code.Report import UserDefinitions, describe_feature, main
from tests.general_code.jsoc.test_browser import needs_chromium

HOSTILE = "<script>document.hacked = 1</script> & \"quotes\" 'too'"
STATISTICS = "ARClassifierStats_weighted_trainvaltest_linear"


def image_name(region, hour=0):
    """Return the name of an image."""
    return f"{region}_hmi.M_720s.20300101_{hour:02d}0000_TAI.1.magnetogram.fits"


def write(path, content):
    """Write a text, or JSON of anything else, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def note(output, script, **others):
    """Write a sidecar."""
    write(Path(f"{output}.json"), {"script": script, "start": "2030-02-01T00:00:00Z", "versions": {"numpy": "2.4.6"},
                                   "git_revision": "abc123"} | others)


def write_dataset(folder):
    """Write what stages 3 and 4 leave: labels, images of five regions, features of 40 images."""
    note(folder / "data" / "Labels.txt", "generate_dataset.py",
         settings={"dataset_dir": "data/dataset", "image_format": "fits", "flare_size": "M1.0",
                   "flare_window_hours": 48.0}, counts={"images": 1234, "regions": 5, "images_none": 1200},
         excluded={"NaN pixels": 58, HOSTILE: 3})
    random = np.random.default_rng(0)
    for region in range(9001, 9006):
        path = folder / "data" / "dataset" / str(region) / image_name(region)
        path.parent.mkdir(parents=True)
        write_magnetogram(path, random.normal(scale=100, size=(60, 80)).round(1))
    rows = [f"{i},{i % 7},{int(i > 25)},{'C1.0' if i > 25 else 0},x.fits\n" for i in range(40)]
    write(folder / "results" / "features.csv", "".join(rows))
    note(folder / "results" / "features.csv", "BuildMasterFeatureSet_mp.py",
         counts={"features": ["flux <Mx>", "length"]},
         settings={"feature_file": "results/features.csv", "dataset_dir": "data/dataset", "image_format": "fits"})


def write_forecast(folder, statistics=STATISTICS, name="linear", **others):
    """Write what stage 5 leaves: statistics with a score of its own invention, predictions, a figure."""
    own = {"TSS": 0.6222, "novel score": 0.4567, "intervals": {"TSS": [0.3023, 0.8371]}}
    split = {"regions": 5, "images": 6, "flaring_images": 2, "forecasts": {
        "mine, decision at 0": own, "climatology": {"TSS": 0.0, "BSS": "not defined"}, "persistence": "not available"},
        "differences": {"persistence": "not available", "climatology": {"TSS": 0.5}}}
    content = {"forecast": f"forecast {HOSTILE}", "verdict": "Test images: no better than a coin", "splits": {
        "test": split, "training": split}, "remarks": [HOSTILE], "flare_size": "M1.0", "flare_window_hours": 48.0,
        "repeats": {"text": ["ten splits:", "TSS 0.111"]}} | others
    write(folder / f"{statistics}.json", content)
    rows = [(9001, 0, 1, 0.91, 1), (9001, 1, 1, 0.9, 1), (9002, 0, 0, 0.52, 1), (9003, 0, 0, 0.02, 0),
            (9004, 0, 1, 0.3, 0), (9006, 0, 0, 0.2, 0)]
    lines = [f"{image_name(region, hour)},{truth},{probability},{decision},test\n"
             for region, hour, truth, probability, decision in rows]
    write(folder / f"predictions_{name}.csv", "filename,class,probability,decision,split\n" + "".join(lines))
    Image.new("RGB", (300, 100), "white").save(folder / f"roc_{name}.png")


def write_run(folder):
    """Write what a whole run leaves, in a folder of an odd name; return settings for its page."""
    write_dataset(folder)
    odd = folder / "results" / "SVM <b>&'"
    write_forecast(odd)
    note(odd / f"{STATISTICS}.txt", "AR_Classifier_weighted.py", settings={"feature_file": "results/features.csv",
                                                                          "C": 5e-05, "suffix": ""})
    note(folder / "results" / "comparison.csv", "Compare_Forecasts.py")
    write(folder / "results" / "comparison.md",
          "Read **this** first.\n\n| forecast | TSS |\n|---|---|\n| a <i>b</i> | 0.5 (0.1 to 0.9) |\n")
    note(folder / "results" / "forecast.csv", "Forecast_AR.py")
    write(folder / "results" / "forecast.csv", "filename,region,probability,decision,refused\n"
          "a/new.fits,9007,0.25,0,\nb/old.fits,,,,NaN pixels\n")
    return settings(folder)


def settings(folder, **others):
    """Return settings for the page of a run."""
    return UserDefinitions(results_dir=folder / "results", data_dir=folder / "data",
                           report_file=folder / "results" / "report.html", **others)


def page_of(user):
    """Write a page; return its HTML and its text."""
    main(user)
    page = user.report_file.read_text()
    text = re.sub(r"(?s)<style>.*?</style>|<[^>]+>", " ", page)
    return page, " ".join(html.unescape(text).split())


def excluded(user):
    """Return the names of what the page could not use."""
    return [Path(line.split(",")[0]).name
            for line in Path(f"{user.report_file}.excluded.csv").read_text().splitlines()[1:]]


# ---------------------------------------------------------------------------- what it says


def test_the_page_shows_what_the_files_say(tmp_path):
    user = write_run(tmp_path)
    page, text = page_of(user)
    for expected in ("1,234 images", "NaN pixels", "M1.0 or larger within 48 h", "flux <Mx>", "TSS 0.622",
                     "0.302 to 0.837", "novel score", "0.457", "BSS", "not defined", "not available", "+0.500",
                     "TSS 0.111", "Test images: no better than a coin", "Simple rules: climatology 0.000",
                     "5e-05", "numpy 2.4.6", "abc123", "a <i>b</i>", "0.1 to 0.9", "new.fits 9007 0.250 0", HOSTILE):
        assert expected in text
    assert excluded(user) == []
    assert not re.search("<script|<i>", page), "texts of files are texts"
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(address.startswith(("#", "data:")) for address in addresses), "nothing is loaded from elsewhere"
    assert page_of(user)[0] == page, "the same files make the same page"


def test_most_and_least_certain_images_of_each_region_once(tmp_path):
    page, text = page_of(write_run(tmp_path).changed(n_images=2))
    kinds = re.split("Highest probability of a flare|Lowest probability of a flare|Least certain", text)[1:]
    shown = [re.findall(r"(\d\.\d\d) region (\d{4})", kind) for kind in kinds]
    assert shown == [[("0.91", "9001"), ("0.52", "9002")], [("0.02", "9003"), ("0.20", "9006")],
                     [("0.52", "9002"), ("0.30", "9004")]]
    assert text.count("no picture") == 1, "9006 is not in the data set"
    assert "forecast: no flare observed: flare ✗ wrong" in text
    assert page.count('width="260" height="195" alt="magnetogram') == 5


def test_a_feature_alone():
    before = np.arange(10) > 6
    row = describe_feature("flux", np.arange(10.0), before)
    assert (row["area"], row["medians"]) == (1.0, [3.0, 8.0])
    assert describe_feature("flux", np.ones(10), before)["area"] == 0.5
    assert np.isnan(describe_feature("flux", np.ones(10), before < 0)["area"])


# ---------------------------------------------------------------------------- whatever is there


def test_labels_alone_and_a_network_alone(tmp_path):
    write_dataset(tmp_path / "labels")
    assert "No forecast was evaluated here yet" in page_of(settings(tmp_path / "labels"))[1]
    folder = tmp_path / "network" / "results" / "VGG"
    write_forecast(folder, "VGGClassifierStats_trainvaltest_a", "VGG_a", remarks=["ITS SCORES MEAN NOTHING"])
    predictions = folder / "predictions_VGG_a.csv"
    predictions.write_text(re.sub(r",0\.\d+,", ",,", predictions.read_text()))
    write(folder / "reliability_VGG_a.pdf", "a PDF")
    user = settings(tmp_path / "network")
    page, text = page_of(user)
    assert "no probabilities of test images" in text
    assert "reliability_VGG_a.pdf is not shown here" in text
    assert '<p class="warn">ITS SCORES MEAN NOTHING' in page
    assert excluded(user) == ["data"], "there is no such folder"


def test_what_cannot_be_read_is_listed_and_the_rest_is_shown(tmp_path):
    user = write_run(tmp_path)
    (odd,) = user.results_dir.glob("SVM*")
    write(user.results_dir / "broken.csv.json", '{"script": "x.py", "counts": 5}')
    write(user.results_dir / "half.json", '{"splits": {')
    write(user.results_dir / "others.json", [1, 2])
    write(user.results_dir / "features.csv", "1,2,a\n1,2\n")
    write(user.results_dir / "forecast.csv", "nothing,else\n1,2\n")
    write(odd / "predictions_linear.csv", "nothing,else\n1,2\n")
    write(odd / "roc_linear.png", "no picture")
    (user.results_dir / "comparison.md").unlink()
    text = page_of(user)[1]
    assert "no better than a coin" in text and "predictions_linear.csv cannot be read: no image" in text
    assert excluded(user) == ["predictions_linear.csv", "roc_linear.png", "broken.csv.json", "comparison.md",
                              "features.csv", "forecast.csv", "half.json"]


def test_tables_of_scores_begin_with_tss():
    assert Report.score_names({"a": {"TPR": 0.5, "intervals": {}}, "b": "not available",
                               "c": {"HSS": 0.1, "TSS": 0.2}}) == ["TSS", "TPR", "HSS"]


def test_nothing_to_show_is_one_line(tmp_path):
    result = subprocess.run([sys.executable, Report.__file__], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert re.fullmatch(r"Report: results_dir, data_dir: expected what the stages wrote in 'results' or 'data' .*, "
                        r"found no notes of a stage .*; run the stages, .*\n", result.stderr)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------- in a browser


@needs_chromium
def test_it_opens_in_a_browser_at_every_width(tmp_path):
    user = write_run(tmp_path)
    main(user)
    browser = start_chromium("", True, tmp_path)
    try:
        for width in (1280, 400):
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
                "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500})
            browser.get(user.report_file.as_uri())
            assert browser.get_log("browser") == []
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            assert browser.execute_script("return [...document.images].every(i => i.complete && i.naturalWidth)")
            assert browser.execute_script("return document.hacked") is None
            missing = browser.execute_script("return [...document.querySelectorAll('a')].filter(a => "
                                             "!document.getElementById(decodeURIComponent(a.hash.slice(1))))")
            assert missing == []
            assert "TSS 0.622" in browser.find_element("tag name", "body").text
    finally:
        browser.quit()
