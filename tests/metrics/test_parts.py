"""Frames made in parts: every row once, in order, and no more than is asked for."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.metrics import parts
from assets.metrics.parts import in_parts, numbered_runs


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(parts, "PART", 10)


def numbers(start, stop):
    """Numbers and their halves, without those that 7 divides."""
    number = np.arange(start, stop)
    number = number[number % 7 > 0]
    return pl.DataFrame({"number": number, "half": number / 2})


@pytest.mark.parametrize("rows", [0, 1, 10, 25])
def test_every_row_once_and_in_order(rows):
    frame = in_parts(rows, numbers)
    assert frame.collect().equals(numbers(0, rows))
    assert frame.collect_schema() == numbers(0, 0).schema


def test_a_part_is_made_only_when_it_is_asked_for():
    made = []
    frame = in_parts(100, lambda start, stop: made.append(start) or numbers(start, stop))
    made.clear()
    assert frame.select("half").head(12).collect()["half"].to_list() == numbers(0, 100)["half"][:12].to_list()
    assert made == [0, 10]
    assert frame.filter(pl.col("number") > 95).select("number").collect()["number"].to_list() == [96, 97, 99]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.data())
def test_runs_are_those_of_all_rows_laid_out(lengths, data):
    length = np.array(lengths)
    every = np.repeat(np.arange(len(length)), length)
    start = data.draw(st.integers(0, every.size))
    stop = data.draw(st.integers(start, every.size))
    assert numbered_runs(np.cumsum(length) - length, length, start, stop).tolist() == every[start:stop].tolist()
