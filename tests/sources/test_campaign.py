"""Every connector under seeded fault schedules: nothing lost, nothing doubled after the next good night."""

import sys
from collections import Counter

import pytest
from sources_campaign import cases, fault_free, under_faults

CASES = cases()
SCHEDULES = 240
EACH = -(-SCHEDULES // max(1, len(CASES)))
_done: dict[str, Counter[str]] = {}


@pytest.mark.parametrize("name", CASES)
def test_nothing_lost_nothing_doubled(name):
    case = CASES[name]
    truth = fault_free(case)
    assert truth["posts"].height > 0, "the recording holds no posts: a campaign over nothing shows nothing"
    total: Counter[str] = Counter()
    differences: list[str] = []
    for seed in range(EACH):
        verdict = under_faults(case, seed, truth)
        total += Counter({"schedules": 1, "lost": verdict.lost, "doubled": verdict.doubled})
        total += Counter({"faults": verdict.injected.total()})
        differences += [f"schedule {seed}: {text}" for text in verdict.differences]
    _done[name] = total
    assert not differences, "\n".join(differences[:10])
    assert total["faults"] > EACH, "hardly a fault was injected"


def test_says_what_was_tried(capsys):
    if not CASES or len(_done) < len(CASES):
        pytest.skip("not every case ran in this session")
    total = sum(_done.values(), Counter())
    with capsys.disabled():
        sys.stdout.write(
            f"\n{total['schedules']} schedules, {total['lost']} lost, {total['doubled']} doubled "
            f"({total['faults']:,} faults over {', '.join(sorted(_done))})\n"
        )
    assert total["schedules"] >= 200
