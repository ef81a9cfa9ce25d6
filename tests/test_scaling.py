"""Scaling by hand, its edge cases, and the weight file's text."""

import numpy as np

from classifier_SVM.scaling import fit_scaling, weight_text


def test_scaling_by_hand_without_clipping():
    scaling = fit_scaling(np.array([[1.0, 5.0, -2.0], [3.0, 5.0, 6.0]]))
    assert scaling.width.tolist() == [2.0, 1.0, 8.0]  # the constant column is divided by 1
    assert scaling.apply(np.array([[2.0, 5.0, 6.0], [5.0, 7.0, -10.0]])).tolist() == [[0.5, 0, 1], [2, 2, -1]]


def test_outside_is_decided_on_the_values_themselves():
    values = np.random.default_rng(0).normal(size=(500, 3)) * [1e-9, 1, 1e9]
    scaling = fit_scaling(values)
    assert not scaling.outside(values).any()
    beyond = np.array([np.nextafter(scaling.maximum, np.inf), np.nextafter(scaling.minimum, -np.inf)])
    assert scaling.outside(beyond).all()
    constant = fit_scaling(np.full((3, 1), 4.0))
    assert constant.outside(np.array([[4.0], [4.5]])).ravel().tolist() == [False, True]


def test_weight_text_reads_back_as_the_same_numbers():
    scaling = fit_scaling(np.random.default_rng(0).normal(size=(5, 29)) ** 3)
    read = np.loadtxt(weight_text(scaling).splitlines())
    assert np.array_equal(read, np.column_stack([scaling.minimum, scaling.width]))
