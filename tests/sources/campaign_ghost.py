"""The campaign's case of Ghost; run as a program it records the replies anew.

    PYTHONPATH=.:tests python tests/sources/campaign_ghost.py http://127.0.0.1:2368 <state>/keys.json

The site calls itself `SITE` in the recording, so that what is collected does not depend on a port.
"""

import gzip
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from collected import Store
from faults import Recorder
from sources_campaign import recorded

from assets.staging import ghost as staging
from sources import ghost
from sources.http import Client
from sources.model import AccountSource

SITE = "https://letters.example"
RECORDING = Path(__file__).parent / "recorded" / "ghost.json.gz"
CONTENT, ADMIN = "0" * 26, "1" * 24 + ":" + "2" * 64


def make_account(base: str, *, token: str = f"{CONTENT} {ADMIN}") -> AccountSource:
    """The recorded site."""
    return AccountSource(
        account_id="letters",
        source="ghost",
        url=f"{SITE}/",
        endpoint=base,
        allow_private=True,
        options={"token": token} if token else {},
    )


CASE = recorded(ghost, staging, RECORDING, make_account)


def record(upstream: str, keys: str) -> None:
    """Ask a freshly seeded site everything that the tests ask."""
    said = json.loads(Path(keys).read_text())
    with Recorder(upstream) as recorder:
        for token in (f"{said['content']} {said['admin']}", said["content"]):
            account = make_account(recorder.base, token=token)
            Store().collect(ghost, [account], read_at=datetime(2027, 1, 10, 3, tzinfo=UTC))
            with Client(allow_private=True) as client:
                ghost.recognise(account, client)
        recorder.save(RECORDING)
    text = gzip.decompress(RECORDING.read_bytes()).replace(b"{base}", SITE.encode())
    RECORDING.write_bytes(gzip.compress(text, mtime=0))


if __name__ == "__main__":
    record(*sys.argv[1:])
