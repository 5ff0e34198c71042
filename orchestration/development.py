"""`rapport test`: the project's tests, in the project's environment."""

import subprocess
import sys
from collections.abc import Sequence

from orchestration.settings import CHECKOUT


def test(arguments: Sequence[str]) -> int:
    """Run pytest in the checkout with the given arguments, and return its exit code."""
    return subprocess.call([sys.executable, "-m", "pytest", *arguments], cwd=CHECKOUT)  # noqa: S603
