"""Measured steps in processes of their own, so that the memory of each is its own; and what a figure is."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.settings import CHECKOUT


@dataclass(frozen=True)
class Figure:
    """One measured figure and the bound it is held to; without a bound it is only said."""

    what: str
    value: float
    unit: str
    bound: float | None = None
    is_at_least: bool = False
    peer: str | None = None
    """What another package takes, in the same run, or what else there is to know."""

    @property
    def holds(self) -> bool:
        """Whether the figure is within its bound; one without a bound holds."""
        if self.bound is None:
            return True
        return self.value >= self.bound if self.is_at_least else self.value <= self.bound

    def line(self) -> str:
        """The figure in one line, and what is beside it in another."""
        sign = "≥" if self.is_at_least else "≤"
        mark = "·" if self.bound is None else "✓" if self.holds else "✗"
        held = "" if self.bound is None else f" ({sign} {self.bound:,g})"
        text = f"{mark} {self.what:<62} {self.value:>14,.2f} {self.unit:<7}{held}".rstrip()
        return f"{text}\n  {self.peer}" if self.peer else text


def seconds_of(command: list[str], home: Path) -> float:
    """How long the command takes with that home. Raises `LookupError` where it fails."""
    started = time.perf_counter()
    _run(command, home)
    return time.perf_counter() - started


def measured(module: str, arguments: list[str], home: Path, *, polite: bool = False) -> dict[str, Any]:
    """What a module of ours, run with that home, says in JSON on its last line. Raises `LookupError` where it fails.

    `polite` lets other work of the machine go first.
    """
    home.mkdir(parents=True, exist_ok=True)
    nice = ["nice", "-n", "10"] if polite else []
    said = _run([*nice, sys.executable, "-m", module, *arguments], home)
    result: dict[str, Any] = json.loads(said.splitlines()[-1])
    return result


def _run(command: list[str], home: Path) -> str:
    environment = {**os.environ, "RAPPORT_HOME": str(home)}  # noqa: TID251 - handed on to the measured process
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise LookupError(f"{' '.join(command[1:])} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
