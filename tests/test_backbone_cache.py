"""The cache on disk: found by file, made for one identity, whole after any interruption."""

import json
import shutil

import numpy as np
import pytest

from classifier_VGG import backbone_cache
from classifier_VGG.backbone_cache import ImageFile, RowCache, image_files, other_caches
from general_code.stage_files import UserError

IDENTITY = {"kind": "features", "weights": "md5-1"}


def files(*names):
    """Return made-up file states."""
    return [ImageFile(name, 100, 7) for name in names]


def values(count, seed=0):
    """Return rows of four numbers."""
    return np.random.default_rng(seed).random((count, 4), dtype=np.float32)


def test_rows_are_found_again_by_name_size_and_time(tmp_path):
    rows = values(3)
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        cache.append(files("a,1", "b"), rows[:2])
        cache.append(files("c"), rows[2:])
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        assert len(cache) == 3
        assert cache.find(files("c", "a,1", "d")).tolist() == [2, 0, -1]
        assert cache.find([ImageFile("b", 100, 8), ImageFile("b", 101, 7)]).tolist() == [-1, -1]
        assert np.array_equal(cache.values(), rows)
        assert not cache.values().flags.writeable


def test_an_image_that_changed_gets_a_new_row(tmp_path):
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        cache.append(files("a"), values(1, 1))
        cache.append([ImageFile("a", 100, 9)], values(1, 2))
        cache.commit()
        assert cache.find([ImageFile("a", 100, 9)]).tolist() == [1]
        assert np.array_equal(cache.values()[1:], values(1, 2))


@pytest.mark.parametrize("damage", ["half a row", "half a line", "a line without its row", "rows without lines"])
def test_what_an_interrupted_batch_left_is_cut_off(tmp_path, damage):
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        cache.append(files("a", "b"), values(2))
    rows, index = cache.folder / "rows.bin", cache.folder / "index.csv"
    whole = rows.read_bytes(), index.read_bytes()
    if damage in ("half a row", "rows without lines"):
        rows.write_bytes(whole[0] + b"x" * (7 if damage == "half a row" else 32))
    else:
        index.write_bytes(whole[1] + (b"c,10" if damage == "half a line" else b"c,100,7\n"))
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        assert cache.find(files("a", "b", "c")).tolist() == [0, 1, -1]
    assert (rows.read_bytes(), index.read_bytes()) == whole
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        cache.append(files("c"), values(1, 3))
        cache.commit()
        assert np.array_equal(cache.values(), np.concatenate([values(2), values(1, 3)]))


def test_a_line_whose_row_was_lost_does_not_count(tmp_path):
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        cache.append(files("a", "b"), values(2))
    (cache.folder / "rows.bin").write_bytes(values(2).tobytes()[:20])
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        assert cache.find(files("a", "b")).tolist() == [0, -1]


def test_float16_rounds_and_refuses_what_is_too_large(tmp_path):
    with RowCache(tmp_path, IDENTITY, 4, "float16") as cache:
        cache.append(files("a"), values(1))
        cache.commit()
        assert np.array_equal(cache.values(), values(1).astype(np.float16))
        with pytest.raises(UserError, match="--cache-dtype float32"):
            cache.append(files("b"), np.full((1, 4), 1e6, np.float32))


def test_features_that_are_no_numbers_are_laid_to_the_weights(tmp_path):
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        with pytest.raises(UserError, match="NaN or infinite numbers for b .*--weights"):
            cache.append(files("b"), np.full((1, 4), np.nan, np.float32))
        assert len(cache) == 0


def test_rows_of_another_shape_are_refused(tmp_path):
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache, pytest.raises(ValueError, match="expected 1 rows of 4"):
        cache.append(files("a"), np.zeros((1, 5), np.float32))


@pytest.mark.parametrize(("seconds", "kept"), [(0, [0, 1, -1]), (1e6, [-1, -1, -1])])
def test_a_process_that_dies_loses_what_it_added_after_the_last_commit(tmp_path, monkeypatch, seconds, kept):
    monkeypatch.setattr(backbone_cache, "SECONDS_BETWEEN_COMMITS", seconds)
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        cache._committed = backbone_cache.time.monotonic()
        cache.append(files("a"), values(1))
        cache.append(files("b"), values(1, 2))
        shutil.copytree(cache.folder, tmp_path / "killed" / cache.folder.name)  # the disk as a kill would leave it
    with RowCache(tmp_path / "killed", IDENTITY, 4, "float32") as cache:
        assert cache.find(files("a", "b", "c")).tolist() == kept
        if seconds == 0:
            assert np.array_equal(cache.values(), np.concatenate([values(1), values(1, 2)]))


@pytest.mark.parametrize("line", [b"a,b\n", b"a,100,x\n", b"\xff,,\n", b"\n", b"a,100,7\r\n"])
def test_an_index_is_cut_at_a_damaged_line(tmp_path, line):
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        cache.append(files("a", "b", "c"), values(3))
    index = cache.folder / "index.csv"
    first, _, third = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(first + line + third)
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        assert cache.find(files("a", "b", "c")).tolist() == [0, -1, -1]
        cache.append(files("d"), values(1, 5))
        cache.commit()
        assert np.array_equal(cache.values(), np.concatenate([values(3)[:1], values(1, 5)]))


def test_each_identity_has_a_folder_and_others_that_hold_the_images_are_named(tmp_path):
    with RowCache(tmp_path, IDENTITY | {"gauss": 1}, 4, "float32") as first:
        first.append(files("a"), values(1))
    for identity in (IDENTITY | {"gauss": 3}, IDENTITY | {"gauss": 4}, {"kind": "inputs"}):
        with RowCache(tmp_path, identity, 4, "float32") as other:
            other.append(files("x"), values(1))
    with RowCache(tmp_path, IDENTITY | {"gauss": 2, "weights": "md5-2"}, 4, "float32"):
        pass
    with RowCache(tmp_path, IDENTITY | {"gauss": 2}, 4, "float32") as cache:
        assert cache.folder != first.folder
        assert cache.find(files("a")).tolist() == [-1]
        texts = other_caches(cache, files("a", "b"))
    assert len(texts) == 3
    assert any(f"{first.folder}, which holds 1 of them" in text and "gauss 1, here 2" in text for text in texts)
    assert any("weights md5-2, here md5-1" in text for text in texts)
    assert texts[-1].startswith("2 more caches")


def test_a_cache_whose_identity_is_damaged_is_not_used_and_said(tmp_path):
    with RowCache(tmp_path, IDENTITY, 4, "float32") as first:
        first.append(files("a"), values(1))
    (first.folder / "cache.json").write_text("{")
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        assert len(cache) == 0
        (text,) = other_caches(cache, files("a"))
    assert f"{first.folder}: its cache.json is damaged" in text


def test_a_foreign_cache_in_its_place_is_neither_used_nor_touched(tmp_path):
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        cache.append(files("a"), values(1))
    first = cache.folder
    (first / "cache.json").write_text(json.dumps({"kind": "features", "weights": "foreign"}))
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    with RowCache(tmp_path, IDENTITY, 4, "float32") as cache:
        assert cache.folder != first
        assert len(cache) == 0
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before


def test_two_runs_do_not_write_one_cache(tmp_path):
    with (RowCache(tmp_path, IDENTITY, 4, "float32"), pytest.raises(UserError, match="another run"),
          RowCache(tmp_path, IDENTITY, 4, "float32")):
        pass


def test_a_disk_too_small_is_said_with_the_size_needed(tmp_path):
    with RowCache(tmp_path, IDENTITY, 4096, "float32") as cache, pytest.raises(UserError, match="GB needed.*missing"):
        cache.require_space(10**12)


def test_an_empty_cache_has_no_rows(tmp_path):
    with RowCache(tmp_path, IDENTITY, 4, "float16") as cache:
        assert cache.values().shape == (0, 4)
        assert cache.find([]).tolist() == []


def test_states_of_files(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    first, missing = image_files(tmp_path, ["a", "b"])
    assert first[:2] == ("a", 3)
    assert missing is None


def test_a_users_five_digit_folder_is_found(tmp_path):
    for name in ("11158/11158_a.fits", "1160/11160_a.fits", "11170/1170_a.fits"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"1")
        region = name.split("/")[1][:-7][-4:]
        assert image_files(tmp_path, [f"{region}/{region}_a.fits"])[0].name == name
