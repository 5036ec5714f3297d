"""The loop that all native ops share, through a hook of the compiled module."""

import pytest
from cmad._native._cpu import _parallel_for


def run(n, grain, threads, fail=(), can_start=99, loops=1, wait=0):
    """Return the visits of each index, what was thrown and how many threads were started."""
    return _parallel_for(n, grain, threads, list(fail), can_start, loops, wait)


@pytest.mark.parametrize("threads", [0, 1, 2, 3, 7, 64])
@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 1000])
@pytest.mark.parametrize("grain", [0, 1, 10, 64, 5000])
def test_every_index_is_visited_once(n, grain, threads):
    assert run(n, grain, threads)[:2] == ([1] * n, "")


@pytest.mark.parametrize("can_start", range(5))
def test_ranges_of_threads_that_cannot_start_are_done_by_others(can_start):
    assert run(100, 10, 5, can_start=can_start) == ([1] * 100, "", min(4, can_start))


@pytest.mark.parametrize("can_start", [0, 2, 99])
@pytest.mark.parametrize("at", [0, 19, 20, 55, 99])
def test_an_exception_of_any_range_arrives_after_all_ranges_have_ended(at, can_start):
    assert run(100, 10, 5, [at], can_start)[:2] == ([1] * 100, str(at))


def test_of_several_exceptions_the_first_range_s_arrives():
    for _ in range(20):
        assert run(100, 10, 5, [90, 30, 50])[:2] == ([1] * 100, "30")


def test_an_exception_without_threads_arrives():
    assert run(9, 10, 5, [4])[:2] == ([1] * 9, "4")


def test_threads_are_started_once_for_all_loops_and_only_as_many_as_have_work():
    assert run(100, 1, 3, loops=50) == ([50] * 100, "", 2)
    assert run(100, 50, 8, loops=3) == ([3] * 100, "", 1)
    assert run(100, 60, 8, loops=3) == ([3] * 100, "", 0)


def test_a_loop_that_threw_leaves_the_threads_for_the_next():
    assert run(100, 10, 4, [30], loops=30) == ([30] * 100, "30", 3)


def test_while_one_range_takes_long_the_others_take_the_rest():
    """With a half of the indices for each of two threads, the range would wait in vain."""
    assert run(1600, 1, 2, wait=1500) == ([1] * 1600, "", 1)
