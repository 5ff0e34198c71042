"""The package lifetimes and its data, for tests: it warns when imported and when used."""

import warnings
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray


def data(name: str) -> NDArray[np.float64]:
    """The columns of one of its CSV files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("lifetimes", reason="carries the data, and is not installed")
        path = resources.files("lifetimes") / "datasets" / name
    with path.open() as file:
        return np.loadtxt(file, delimiter=",", skiprows=1).T


def fitted(fitter: str, *history: Any, **options: Any) -> Any:
    """One of its fitters, fitted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lifetimes = pytest.importorskip("lifetimes", reason="the oracle is not installed")
        return getattr(lifetimes, fitter)().fit(*history, **options)


def having(fitter: str, parameters: Mapping[str, float]) -> Any:
    """One of its fitters with given parameters: it fits some data for minutes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lifetimes = pytest.importorskip("lifetimes", reason="the oracle is not installed")
        made = getattr(lifetimes, fitter)()
    made.params_ = pd.Series(parameters)
    return made
