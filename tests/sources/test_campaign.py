"""Every connector under seeded fault schedules: nothing lost, nothing doubled after the next good night.

240 schedules with `--servers` (as in CI), 40 otherwise. Run with `-s` to see the count.
"""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sources_campaign import cases, fault_free, under_faults

CASES = cases()
_done: dict[str, Counter[str]] = {}


@pytest.fixture(scope="session")
def schedules(pytestconfig):
    """How many schedules over all connectors."""
    return 240 if pytestconfig.getoption("--servers") else 40


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_nothing_lost_nothing_doubled(name, schedules):
    case, each = CASES[name], -(-schedules // len(CASES))
    truth = fault_free(case)
    assert any(len(rows) for rows in truth.values()), "nothing is served: a campaign over nothing shows nothing"
    # Most of the time is spent waiting for servers that do not answer.
    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(lambda seed: under_faults(case, seed, truth), range(each)))
    total = Counter(
        schedules=each,
        lost=sum(v.lost for v in verdicts),
        doubled=sum(v.doubled for v in verdicts),
        faults=sum(v.injected.total() for v in verdicts),
    )
    _done[name] = total
    differences = [f"schedule {n}: {text}" for n, v in enumerate(verdicts) for text in v.differences]
    assert not differences, "\n".join(differences[:10])
    assert total["faults"] > each, "hardly a fault was injected"


@pytest.mark.slow
def test_says_what_was_tried(capsys, schedules):
    if not CASES or len(_done) < len(CASES):
        pytest.skip("not every case ran in this session")
    total = sum(_done.values(), Counter())
    with capsys.disabled():
        sys.stdout.write(
            f"\n{total['schedules']} schedules, {total['lost']} lost, {total['doubled']} doubled "
            f"({total['faults']:,} faults over {', '.join(sorted(_done))})\n"
        )
    assert total["schedules"] >= schedules
