"""Every reader of what comes from outside or from an earlier run, given damaged files: a result or an error of ours.

FITS images are damaged in `general_code/images/test_magnetograms.py`.
"""

import json
import re
import shutil
import time
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classifier_SVM.comparison.forecasts import read_forecast
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, read_extra_features, read_feature_table
from classifier_VGG.network.inputs import RowCache
from classifier_VGG.network.training import HISTORY_COLUMNS, Checkpoints
from classifier_VGG.network.vgg16 import _notes
from general_code.evaluation.splits import read_region_list
from general_code.images.label_file import read_label_file
from general_code.images.magnetograms import read_magnetogram, write_png
from general_code.jsoc.export_requests import read_passages
from general_code.jsoc.ledger import DownloadLedger, LedgerLine
from general_code.noaa.event_list import MADE_BY
from general_code.noaa.flares import ListSidecar, read_event_list
from general_code.noaa.reports import decode_report, parse_event_report, parse_region_summary, report_date
from general_code.stage.files import UserError, describe
from general_code.stage.journal import FileState, Journal
from general_code.stage.run import read_sidecar
from tests.classifier_SVM.activity.test_features import event_report, summary_text
from tests.feature_dataset import image_name

NAMES = [f"{image_name(number)[:4]}/{image_name(number)}" for number in range(4)]
FEATURES = ["0.25"] * len(FEATURE_NAMES)
TABLE = "".join(f"{','.join(FEATURES)},{number % 2},{'C4.7' if number % 2 else '0'},{image_name(number)}\n"
                for number in range(4))
NOTES = {"settings": {"label_file": "a.csv", "gauss_range": 5978.7}, "counts": {"image_pixels": [40, 44]}}
MODEL = {"settings": {"gauss_range": 5978.7, "image_format": "fits"}, "counts": {"model_made_of": {"head": "a"}}}
MADE_LIST = {"origin": MADE_BY, "dated_by_report": False, "reports_sha256": "a", "list_sha256": "b",
             "replaced_sha256": "", "reported_days": ["2014-03-10"], "after_midnight_lines": [1],
             "problems": [["a", "b", "c", "d"]]}
THREE, FOURTH = [FileState(name, 10, 20) for name in "bcd"], [FileState("a", 1, 2)]
CACHE = {"kind": "features"}, 4, "float32"
LEDGER = f"{','.join(LedgerLine.model_fields)}\n1158,requested,JSOC_1,hmi,600,a,121,0,,drms,2014,1,\n"


def lines_of(pattern):
    """Return a text of a line an image."""
    return "".join(f"{pattern.format(name)}\n" for name in NAMES)


def read_report(path, parser):
    """Read a summary or an event report."""
    text = decode_report(path.read_bytes())
    report_date("0310events.txt", text)
    parser(text, date(2014, 3, 10), path.name)


def use_journal(path):
    """Open a table, look a file up, add it, sort and read it all."""
    with Journal(path, "one") as journal:
        journal.find(FOURTH)
        place = journal.append(FOURTH, ["3"])
        assert list(journal.read(place)) == ["3"]
        journal.sort()
        assert journal.find(FOURTH)[0][0] > 0, "what was added is there"


def whole_cache(folder):
    """Return the folder of a cache of three images, made anew."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    with RowCache(folder / "cache", *CACHE) as cache:
        cache.append(THREE, np.arange(12.0))
        return cache.folder


def use_cache(path):
    """Look images up in a cache with one of its two files damaged, and add one."""
    shutil.copyfile(path, whole_cache(path.parent) / path.name)
    with RowCache(path.parent / "cache", *CACHE) as cache:
        assert cache.find(THREE).max() < len(cache.values())
        cache.append(FOURTH, np.ones(4))
        assert (cache.values()[cache.find(FOURTH)] == 1).all()


def sample_of(name, folder):
    """Return the undamaged content of a file; a table of three files and an image are made."""
    if name.endswith(".rows"):
        with Journal(folder / "sample", "one") as journal:
            journal.append(THREE, ["1", "2,3", ""])
    elif name.endswith(".png"):
        write_png(folder / "sample", np.arange(1600, dtype=np.uint8).reshape(40, 40))
    elif name in ("rows.bin", "index.tsv"):
        shutil.copyfile(whole_cache(folder) / name, folder / "sample")
    elif name == "VGG_model.keras.json":
        (folder / "VGG_model.keras").touch()
    return READERS[name][0].encode() or (folder / "sample").read_bytes()


READERS = {  # name of the file: an undamaged content, and the reader
    "labels.csv": (lines_of("{},C4.7"), lambda path: read_label_file(path, any_name=True)),
    "regions.csv": ("1158\n1429\n", read_region_list),
    "ARList.txt": ("1158,20110213,8\n1429,20120302,11\n", read_passages),
    "events.txt": ("2014 03 09,0005,2001,M1.0\n2014 03 10,0300,2001,B4.0\n", read_event_list),
    "features.csv": (TABLE, read_feature_table),
    "extra.csv": ("filename,one,two\n" + lines_of("{},1,-2.5"), read_extra_features),
    "predictions.csv": ("filename,class,probability,decision,split\n" + lines_of("{},1,0.5,1,test"),
                        lambda path: read_forecast(f"a={path}", ("C1.0",))),
    "20140310events.txt": (event_report("10", ("1000", "1010", "1201", "C3.0", "2001")),
                           lambda path: read_report(path, parse_event_report)),
    "20140310SRS.txt": (summary_text("2001 N10E14   100  0200 Fkc  12   30 Beta-Gamma-Delta"),
                        lambda path: read_report(path, parse_region_summary)),
    "a.csv.json": (json.dumps(NOTES), lambda path: read_sidecar(path.with_suffix(""))),
    "list.txt.json": (json.dumps(MADE_LIST), lambda path: read_sidecar(path.with_suffix(""), ListSidecar)),
    "features.csv.rows": ("", use_journal),
    "download_ledger.csv": (LEDGER, lambda path: list(DownloadLedger(path.parent))),
    "image.png": ("", read_magnetogram),
    "rows.bin": ("", use_cache),
    "index.tsv": ("", use_cache),
    "VGG_model.keras.json": (json.dumps(MODEL), lambda path: _notes(path.with_suffix(""))),
    "history.csv": (f"{','.join(HISTORY_COLUMNS)}\n1{',0.5' * 10}\n", lambda path: Checkpoints._records(
        SimpleNamespace(folder=path.parent, head_file=lambda epoch: path), SimpleNamespace(report=str))),
}
PIECES = st.one_of(st.binary(max_size=20), st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace")),
                   st.sampled_from([b"\0", b"\xff\xfe", b"9" * 5000, b"[" * 50_000, b'{"a":' * 20_000, b"x" * 200_000,
                                    b"null", b"[]", b"{}", b"1e999", b"NaN", b'"', b",,,,", b"\r", b"\x1b[2J", b"-1"]))
DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), PIECES), min_size=1, max_size=3)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(damage=DAMAGE)
def test_a_reader_of_damaged_files_ends_in_time_and_with_an_error_of_ours_at_most(tmp_path, name, damage):
    data = sample_of(name, tmp_path)
    for place, length, piece in damage:  # each replaces some bytes by others
        start = round(place * len(data))
        data = data[:start] + piece + data[start + length:]
    (tmp_path / name).write_bytes(data)
    start = time.monotonic()
    try:
        READERS[name][1](tmp_path / name)
    except (UserError, ValueError) as error:
        assert len(str(error)) < 1500, "a message is a line"
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", describe(error)), "which no terminal takes for a command"
    assert time.monotonic() - start < 10
