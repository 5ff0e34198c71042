"""The real servers on loopback: where they are, what their seeds say is true, how to start them.

Their start scripts are not part of this repository: they lie in `shared/servers` beside the checkout
(`RAPPORT_SERVER_SCRIPTS` names another place). Without them, or unless `rapport test --servers` asked
for them, the tests that need a server are skipped, and say so.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(os.environ.get("RAPPORT_SERVER_SCRIPTS") or Path(__file__).resolve().parents[3] / "shared" / "servers")  # noqa: TID251
STATE = Path(os.environ.get("RAPPORT_SERVERS") or "/var/tmp/rapport-servers")  # noqa: TID251

APPVIEW, PDS, PLC = "http://127.0.0.1:2584", "http://127.0.0.1:2583", "http://127.0.0.1:2582"
WORDPRESS = "http://127.0.0.1:8803"
MASTODON_MOCK, SNAC = "http://127.0.0.1:8808", "http://127.0.0.1:8801"
GHOST = "http://127.0.0.1:2368"


def truth(server: str) -> dict[str, Any]:
    """What the seed of a server says is true."""
    found: dict[str, Any] = json.loads((STATE / server / "truth.json").read_text())
    return found


def start(*script: str, folder: Path = SCRIPTS) -> None:
    """Run a script of the servers' folder to its end, its output to a log below the state folder."""
    STATE.mkdir(parents=True, exist_ok=True)
    log = STATE / f"{script[0].replace('/', '-')}.log"
    command = [str(folder / script[0]), *script[1:]]
    if script[0].endswith(".py"):
        command.insert(0, sys.executable)
    environment = {**os.environ, "RAPPORT_SERVERS": str(STATE), "SEED_PYTHON": sys.executable}  # noqa: TID251
    with log.open("w") as output:
        done = subprocess.run(command, check=False, stdout=output, stderr=subprocess.STDOUT, env=environment)
    if done.returncode:
        said = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
        pytest.fail(f"{' '.join(script)} ended with {done.returncode}:\n{said}", pytrace=False)


def start_bluesky() -> None:
    """A fresh AT Protocol network with the seeded community."""
    start("bluesky/start.sh")
    start("bluesky/seed.py", "--people", "12", "--weeks", "60", "--seed", "1")


def start_wordpress() -> None:
    """A fresh WordPress with its seed."""
    start("wordpress/start.sh", "fresh")


def start_mastodon_mock() -> None:
    """A fresh stand-in for Mastodon, seeded."""
    start("mastodon/start-mock.sh")
    start("mastodon/seed.py", MASTODON_MOCK, str(STATE / "mastodon-mock" / "tokens"))


def start_snac() -> None:
    """A fresh snac, seeded."""
    start("mastodon/start-snac.sh", "fresh")
    start("mastodon/seed.py", SNAC, str(STATE / "snac" / "tokens"))


def start_ghost() -> None:
    """A fresh Ghost, seeded; its scripts are our own. Needs Node.js 20, which others of the servers bring along."""
    if shutil.which("node") is None:
        pytest.skip("Ghost needs Node.js 20 and npm, which are not installed")
    start("ghost/start.sh", "fresh", folder=Path(__file__).parent)


STARTS = {
    "bluesky": start_bluesky,
    "wordpress": start_wordpress,
    "mastodon-mock": start_mastodon_mock,
    "snac": start_snac,
    "ghost": start_ghost,
}
