"""The whole pipeline finds what was planted, whatever the community."""

from datetime import date
from pathlib import Path

import pytest

from tests.recovery.pipeline import findings
from tests.recovery.run import SEEDS

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_demo_finds_every_planted_fact(seed: int, tmp_path: Path) -> None:
    found = findings(seed, tmp_path, as_of=date(2026, 3, 31))
    assert len(found) >= 9
    assert [f"{f.account}: planted {f.planted}; found {f.found}" for f in found if not f.agrees] == []
