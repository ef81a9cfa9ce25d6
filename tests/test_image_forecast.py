"""Files that a user names, their features or refusals, and the figure's parts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_Forecast_AR import bipole, write_model

from classifier_SVM import image_forecast as imf
from classifier_SVM.FeaturesetTools import FEATURE_NAMES, concatVals
from classifier_SVM.model_file import load_model
from general_code.magnetograms import write_magnetogram
from general_code.stage_files import UserError


def test_files_and_folders_are_found_once_in_order(tmp_path):
    for name in ("b/x.fits", "b/y.PNG", "b/notes.txt", "a.fits"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = imf.find_image_files([tmp_path / name for name in ("b", "a.fits", "b/x.fits", "missing.fits")])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.fits", "b/x.fits", "b/y.PNG", "missing.fits"]
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match="no FITS or PNG file"):
        imf.find_image_files([tmp_path / "c"])


def test_features_are_those_of_stage_4(tmp_path):
    write_magnetogram(tmp_path / "x.fits", bipole())
    features, refusal = imf.features_of_file(tmp_path / "x.fits", "fits")
    assert refusal == "" and features == pytest.approx(concatVals(bipole()))
    assert imf.features_of_file(tmp_path / "x.fits", "")[1] == ""
    assert "trained on .png images" in imf.features_of_file(tmp_path / "x.fits", "png")[1]
    assert "no such file" in imf.features_of_file(Path("y.fits"), "fits")[1]


def test_forecast_of_rows(tmp_path):
    model, _ = load_model(write_model(tmp_path))
    inside = model.scaling.minimum + 0.5 * model.scaling.width
    beyond = inside.copy()
    beyond[[0, 28]] = model.scaling.maximum[[0, 28]] * 2 + 1
    table = imf.forecast_images(model, np.array([inside, beyond]))
    assert table["decision_value"][0] == pytest.approx(0)
    assert table["outside_training_range"].tolist() == ["", "gradient mean; total unsigned flux"]
    assert table["decision"][1] == 1
    assert len(imf.forecast_images(model, np.empty((0, 29)))) == 0


def test_the_figure_has_the_field_with_its_neutral_line_and_a_scale(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(imf, "save_figure", lambda figure, path: figures.append(figure))
    write_magnetogram(tmp_path / "x.fits", bipole())
    model, _ = load_model(write_model(tmp_path))
    forecast = pd.Series({"probability": 0.4, "decision": 0, "outside_training_range": ""})
    imf.write_image_figure(tmp_path / "x.png", tmp_path / "x.fits", model, concatVals(bipole()), forecast)
    left, _, scale = figures[0].axes
    assert left.images[0].get_clim() == (-500, 500)
    assert len(left.collections[0].get_offsets()) == concatVals(bipole())[FEATURE_NAMES.index("NL length")]
    assert scale.get_ylabel() == "line-of-sight field [G]"
