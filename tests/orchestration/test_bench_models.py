"""The measurement of the retention models, on little: what it says, not how fast it was."""

import sys

from orchestration import bench_models


def test_ours_and_the_peers_time_come_from_one_run() -> None:
    measured = bench_models.bgbb(people=500, weeks=6, peer_people=100)
    assert measured.people == 500
    assert 0 < measured.distinct <= 500
    assert measured.ours.total == measured.ours.fit + measured.ours.probabilities > 0
    assert measured.peer_text.startswith("lifetimes")


def test_without_the_peer_its_time_is_missing_with_the_reason(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lifetimes", None)
    measured = bench_models.bgbb(people=500, weeks=6, peer_people=100)
    assert measured.peer is None
    assert measured.peer_text == "lifetimes: not installed"


def test_made_up_histories_are_possible_and_the_same_each_time() -> None:
    x, t_x, n = bench_models.histories(people=5_000, weeks=156, seed=1)
    assert ((x <= t_x) & (t_x <= n) & (n >= 1) & ((x > 0) == (t_x > 0))).all()
    assert (x == bench_models.histories(people=5_000, weeks=156, seed=1)[0]).all()
