"""The loop that all native ops share, through a hook of the compiled module."""

import pytest
from cmad._native._cpu import _parallel_for


def run(n, grain, threads, fail=(), can_start=99):
    return _parallel_for(n, grain, threads, list(fail), can_start)


@pytest.mark.parametrize("threads", [0, 1, 2, 3, 7, 64])
@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 1000])
@pytest.mark.parametrize("grain", [0, 1, 10, 64, 5000])
def test_every_index_is_visited_once(n, grain, threads):
    assert run(n, grain, threads) == ([1] * n, "")


@pytest.mark.parametrize("can_start", range(5))
def test_ranges_of_threads_that_cannot_start_are_done_here(can_start):
    assert run(100, 10, 5, can_start=can_start) == ([1] * 100, "")


@pytest.mark.parametrize("can_start", [0, 2, 99])
@pytest.mark.parametrize("at", [0, 19, 20, 55, 99])
def test_an_exception_of_any_range_arrives_after_all_ranges_have_ended(at, can_start):
    assert run(100, 10, 5, [at], can_start) == ([1] * 100, str(at))


def test_of_several_exceptions_the_first_range_s_arrives():
    assert run(100, 10, 5, [90, 30, 50]) == ([1] * 100, "30")


def test_an_exception_without_threads_arrives():
    assert run(9, 10, 5, [4]) == ([1] * 9, "4")
