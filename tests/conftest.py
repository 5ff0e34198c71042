"""What all tests share: reproducible property tests, the place of the real data, no telemetry."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("reproducible", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("reproducible")

# No test may touch the home of whoever runs it.
os.environ["RAPPORT_HOME"] = tempfile.mkdtemp(prefix="rapport-test-")
for name in ("DAGSTER_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ[name] = "true"
for name in ("DLT_TELEMETRY", "RUNTIME__DLTHUB_TELEMETRY", "GX_ANALYTICS_ENABLED"):
    os.environ[name] = "false"

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--servers`: also the tests against real servers on loopback, which are started and seeded anew."""
    parser.addoption(
        "--servers",
        nargs="?",
        const="fresh",
        choices=("fresh", "running"),
        help="also test against real servers on loopback: started and seeded anew, or (=running) as they run",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fast tests first; what needs real data or servers is skipped, with the reason, where it is not there."""
    scripts = Path(os.environ.get("RAPPORT_SERVER_SCRIPTS") or SHARED / "servers")
    missing = pytest.mark.skip(reason="the real data sets (../shared/data) are not beside this checkout")
    reason = None
    own = ("ghost",)  # servers whose start scripts are in this repository
    if not config.getoption("--servers"):
        reason = "real servers on loopback are tested with `rapport test --servers`"
    elif not scripts.is_dir():
        reason = "the real servers (../shared/servers) are not beside this checkout"
    for item in items:
        marker = item.get_closest_marker("servers")
        if reason and marker and not (config.getoption("--servers") and marker.args[0] in own):
            item.add_marker(pytest.mark.skip(reason=reason))
        if item.get_closest_marker("long") and not config.getoption("--servers"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: `rapport test --servers` runs it, as CI does"))
        if item.get_closest_marker("shared") and not (SHARED / "data").is_dir():
            item.add_marker(missing)
    items.sort(key=lambda item: ("servers" in item.keywords, "slow" in item.keywords, "shared" in item.keywords))


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data sets."""
    return SHARED / "data"
