"""Does each interval hold the truth? `python -m tests.recovery.run [--write docs/metrics/truth-recovery.md] [--demo]`.

Prints a line a scenario; with `--write` makes the page. Everything is seeded: the same code gives the same page. `--demo`
also runs the whole pipeline on three simulated communities (a minute) and adds how many planted facts it found.
"""

import argparse
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from tests.recovery import answering, posting, staying, valuing
from tests.recovery.estimators import LEAST, MOST, Result, Scenario, run
from tests.recovery.pipeline import findings

SCENARIOS: tuple[Scenario, ...] = (
    *posting.SCENARIOS, *answering.SCENARIOS, *valuing.SCENARIOS, *staying.SCENARIOS,
)  # fmt: skip
SEEDS = (1, 2, 3)
HEAD = f"""# Truth recovery

**Does a 95 % interval hold the truth in 95 % of cases?** Each row is a world whose truth is known: a simulator that shares no code with rapport draws so many data sets from it, the very function that makes the mart judges each, and the share of intervals that hold the truth is counted.
It must lie within {100 * LEAST:.0f} and {100 * MOST:.0f} %; 95 % is not reached exactly where counts are few, because a share of few people moves in steps.

This page is written by `.venv/bin/python -m tests.recovery.run --demo --write docs/metrics/truth-recovery.md` (seeded, so the same code gives the same page); a short version runs with the tests (`tests/recovery/test_recovery.py`). Bias is the mean estimate less the truth.
Judged are the replicates with an interval, an end that was not reached counting as open; ± is the Monte-Carlo standard error of the coverage.
Curves and differences take the lapse threshold as given. Not here: `brier_difference` (its truth has no closed form) and time to first earning (the same functions as `survival` and the response times).

| estimator | scenario | truth | mean estimate | bias | judged | coverage % | ± |
|---|---|---:|---:|---:|---:|---:|---:|
"""


REPAIRED = """
## What it changed

The first intervals did not hold; these replaced them, and the table is of the new ones.

| estimator | interval before | coverage % before | interval now |
|---|---|---|---|
| `steadiness` | ratio estimator, normal, cut at 0 and 1 | 62 to 92 | jackknife on the logit scale, Student's t with the effective number of failures |
| `value_per_post`, `people_per_post` | Student's t | 90 to 95 | the same on the log scale, with the effective number of posts |
| `rate_shrunken` | Fisher information, normal | 86 to 97 | robust error on the log scale, Student's t |
| `promotion_penalty` | percentile bootstrap | 88 to 94 | bootstrap-t of the log ratio |
| `dilution_elasticity` | clustered (CR1), t with months - 1 | 24 to 92 | clustered (CR2), Bell & McCaffrey's degrees of freedom |
"""


def line(result: Result) -> str:
    """The result as a row of the table; what does not hold is bold."""
    coverage = f"{100 * result.coverage:.1f}"
    judged = (
        f"{result.judged:,}" if result.judged == result.replicates else f"{result.judged:,} of {result.replicates:,}"
    )
    return (
        f"| `{result.scenario.estimator}` | {result.scenario.name} | {result.truth:.4g} | {result.mean:.4g} | "
        f"{result.bias:+.2g} | {judged} | {coverage if result.holds else f'**{coverage}**'} | {100 * result.error:.1f} |"
    )


def outside(results: list[Result]) -> str:
    """What does not hold, and why, in sentences."""
    failing = [result for result in results if not result.holds]
    if not failing:
        return f"All intervals hold the truth in {100 * LEAST:.0f} to {100 * MOST:.0f} % of cases.\n"
    said = [
        f"- `{r.scenario.estimator}`, {r.scenario.name}: {100 * r.coverage:.1f} %: {r.scenario.outside or 'not explained, to be repaired.'}"
        for r in failing
    ]
    return "\n".join(said) + "\n"


def found_in_demo(seed: int, folder: Path) -> list[tuple[str, str, bool]]:
    """The whole pipeline on a simulated community: account, what was found, whether it is what was planted."""

    return [(f.account, f.found, f.agrees) for f in findings(seed, folder / str(seed), as_of=date(2026, 3, 31))]


def demo_table() -> str:
    """Planted facts found for each seed."""
    with tempfile.TemporaryDirectory() as folder:
        by_seed = {seed: found_in_demo(seed, Path(folder)) for seed in SEEDS}
    rows = []
    for seed, found in by_seed.items():
        missed = "; ".join(f"{account}: {what}" for account, what, agrees in found if not agrees)
        rows.append(f"| {seed} | {sum(agrees for *_, agrees in found)} of {len(found)} | {missed or 'none'} |")
    return "| seed | planted facts found | not found |\n|---:|---:|---|\n" + "\n".join(rows) + "\n"


def main() -> int:
    """Run all scenarios; the exit code says whether any unexplained interval fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="the page to write")
    parser.add_argument("--demo", action="store_true", help="also the whole pipeline on three communities")
    parser.add_argument("--only", default="", help="scenarios whose estimator has this in its name")
    options = parser.parse_args()
    started = time.perf_counter()
    results = []
    for scenario in SCENARIOS:
        if options.only in scenario.estimator:
            results.append(run(scenario))
            print(line(results[-1]), flush=True)
    demo = demo_table() if options.demo else ""
    print(f"\n{outside(results)}\n{demo}\n{time.perf_counter() - started:.0f} s", flush=True)
    if options.write:
        page = HEAD + "\n".join(map(line, results)) + "\n\n## Outside\n\n" + outside(results) + REPAIRED
        if demo:
            page += (
                "\n## The whole pipeline\n\nThe [demo](../quickstart.md) simulates a community with planted habits, imports it, runs a night and "
                "looks the planted facts up in the published marts (`orchestration/demo.py` says what agrees). On three communities:\n\n"
                + demo
            )
        options.write.write_text(page, encoding="utf-8")
    return int(any(not result.holds and not result.scenario.outside for result in results))


if __name__ == "__main__":
    sys.exit(main())
