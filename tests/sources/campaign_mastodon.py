"""The campaign's case of the Mastodon API; run as a program it records the replies of a seeded server anew.

PYTHONPATH=.:tests python tests/sources/campaign_mastodon.py http://127.0.0.1:8808 <token of alice> mastodon.json.gz
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

from collected import Store
from faults import Recorder
from sources_campaign import recorded

from assets.staging import mastodon as staging
from sources import mastodon
from sources.http import Client
from sources.model import AccountSource

RECORDING = Path(__file__).parent / "recorded" / "mastodon.json.gz"
OF_SNAC = RECORDING.with_name("mastodon_snac.json.gz")


def make_account(base: str, *, url: str = "http://localhost:8808/@alice", token: str | None = "rec") -> AccountSource:
    """The recorded account, with a token unless it is none."""
    return AccountSource(
        account_id="alice", source="mastodon", url=url, endpoint=base, allow_private=True,
        options={"token": token} if token else {},
    )  # fmt: skip


CASE = recorded(mastodon, staging, RECORDING, make_account)


def record(upstream: str, token: str, name: str) -> None:
    """Ask a seeded server everything that the tests ask."""
    with Recorder(upstream) as recorder:
        account = make_account(recorder.base, token=token)
        Store().collect(mastodon, [account], read_at=datetime(2027, 1, 10, 3, tzinfo=UTC))
        with Client(allow_private=True) as client:
            mastodon.recognise(account, client)
        recorder.save(RECORDING.with_name(name))


if __name__ == "__main__":
    record(*sys.argv[1:])
