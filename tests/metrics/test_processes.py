"""Computations in processes beside this one: the same results in the same order, errors, and processes that end early."""

import os
import signal
import time

import pytest

from assets.metrics.processes import WORTH_A_PROCESS, on_all_cores


def process_and_square(home_and_number: tuple[int, int]) -> tuple[int, int]:
    home, number = home_and_number
    if os.getpid() == home:
        time.sleep(0.01)  # so that others are ready before all is done
    return os.getpid(), number**2


def refuse(number: int) -> int:
    if number == 70:
        raise ValueError("70 is refused")
    return number


def end_elsewhere(home_and_number: tuple[int, int]) -> int:
    home, number = home_and_number
    if os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_are_in_order_and_come_from_all_processes() -> None:
    found = on_all_cores(process_and_square, [(os.getpid(), number) for number in range(1000)], processes=2)
    assert [square for _, square in found] == [number**2 for number in range(1000)]
    assert len({process for process, _ in found}) == 2


def test_few_jobs_are_done_here() -> None:
    found = on_all_cores(process_and_square, [(0, number) for number in range(WORTH_A_PROCESS - 1)])
    assert {process for process, _ in found} == {os.getpid()}


@pytest.mark.parametrize("processes", [1, 3])
def test_an_error_is_raised_here(processes: int) -> None:
    with pytest.raises(ValueError, match="70 is refused"):
        on_all_cores(refuse, range(200), processes=processes)


def test_what_an_ended_process_left_behind_is_done_here() -> None:
    jobs = [(os.getpid(), number) for number in range(200)]
    assert on_all_cores(end_elsewhere, jobs, processes=3) == list(range(200))


def test_nothing_to_do() -> None:
    assert on_all_cores(refuse, []) == []
