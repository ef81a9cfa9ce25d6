"""Keys of region and time, lengths of windows, minima of ranges."""

import numpy as np
import pytest

from general_code.noaa_text import region_codes
from general_code.sorted_search import KEY_BITS, LONGEST_SPAN, range_minimum, region_time_keys, whole_seconds


def test_keys_sort_by_region_then_time():
    regions = region_codes(["1158", "1158", "11159", "0000"])
    times = np.array(["2011-02-15", "2011-02-14T23:59:59", "1996-01-01", "2100-01-01"], "datetime64[s]")
    keys = region_time_keys(regions, times)
    assert np.argsort(keys).tolist() == [3, 1, 0, 2]
    assert (keys >> KEY_BITS).tolist() == [1158, 1158, 1159, 0]
    assert np.diff(keys[[1, 0]]) == 1


@pytest.mark.parametrize(("region", "time"), [(-1, "2011-02-15"), (1158, "NaT"), (-1, "NaT")])
def test_without_region_or_time_a_key_is_far_before_all_others(region, time):
    key = region_time_keys(np.array([region]), np.array([time], "datetime64[s]"))
    first = region_time_keys(np.array([0]), np.array(["1970-01-01"], "datetime64[s]"))
    assert key + LONGEST_SPAN < first


@pytest.mark.parametrize(("hours", "seconds"), [(24, 86400), (0.0001, 1), (1.5, 5400), (1e30, LONGEST_SPAN),
                                                (float("inf"), LONGEST_SPAN)])
def test_length_of_a_window(hours, seconds):
    assert whole_seconds(hours) == seconds


def test_range_minimum():
    values = np.array([5, 3, 8, 1, 9])
    left, right = np.array([0, 0, 2, 4, 2, 5]), np.array([5, 3, 3, 5, 2, 5])
    assert range_minimum(values, left, right).tolist() == [1, 3, 8, 9, -1, -1]
    assert range_minimum(values[:0], left[:0], right[:0]).shape == (0,)
