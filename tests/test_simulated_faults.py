"""Switches that count."""

from general_code.simulated_faults import Faults


def test_counted_fault_ends():
    faults = Faults(tar_not_found=2)
    assert [faults.take("tar_not_found") for _ in range(4)] == [True, True, False, False]
    assert not faults.take("tar_html")


def test_every_third_answer():
    faults = Faults(bad_gateway_every=3, bad_gateway=1)
    assert [faults.http_status() for _ in range(7)] == [502, 0, 502, 0, 0, 502, 0]


def test_failures_by_status():
    faults = Faults(forbidden=1, server_errors=1, too_many_requests=1)
    assert [faults.http_status() for _ in range(4)] == [403, 429, 500, 0]


def test_no_fault_by_default():
    faults = Faults()
    assert not any(faults.http_status() for _ in range(9))
