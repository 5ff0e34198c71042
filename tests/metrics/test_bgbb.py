"""BG/BB: Fader, Hardie & Shang's donations, sums written out, the package lifetimes, simulated truth, and the edges."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from assets.metrics.retention import fit_bgbb


@pytest.fixture(scope="module")
def donations():
    found = importlib.util.find_spec("lifetimes")
    if found is None or found.origin is None:
        pytest.skip("the package lifetimes, which carries the data, is not installed")
    return np.loadtxt(Path(found.origin).parent / "datasets" / "donations.csv", delimiter=",", skiprows=1).T


def test_donations_fader_hardie_and_shang_2010(donations) -> None:
    model = fit_bgbb(*donations[:3], weights=donations[3])
    assert list(model.parameters) == ["alpha", "beta", "gamma", "delta"]
    # metrics.md, to the four decimals given
    assert list(model.parameters.values()) == pytest.approx([1.2035, 0.7497, 0.6567, 2.7834], rel=1e-4)
    assert model.log_likelihood == pytest.approx(-33225.581, abs=5e-3)
    assert model.p_alive([0, 2, 6], [0, 4, 6], 6) == pytest.approx([0.108, 0.590, 0.930], abs=1e-3)
    assert (model.people, model.at_bound, model.is_converged) == (11104, (), True)
