"""Switches that count."""

from general_code.simulated_faults import Faults


def test_counted_fault_ends():
    faults = Faults(tar_not_found=2)
    assert [faults.take("tar_not_found") for _ in range(4)] == [True, True, False, False]
    assert not faults.take("tar_html")


def test_every_third_answer():
    faults = Faults(bad_gateway_every=3, bad_gateway=1)
    assert [faults.gateway_fails() for _ in range(7)] == [True, False, True, False, False, True, False]


def test_no_fault_by_default():
    assert not any(Faults().gateway_fails() for _ in range(9))
