"""The campaign's case of YouTube; run as a program it records the invented YouTube of `serve_youtube` anew.

PYTHONPATH=.:tests python tests/sources/campaign_youtube.py
"""

from datetime import UTC, datetime
from pathlib import Path

from collected import Store
from faults import Recorder
from serve_youtube import KEY, community, serving
from sources_campaign import recorded

from assets.staging import youtube as staging
from sources import youtube
from sources.model import AccountSource

RECORDING = Path(__file__).parent / "recorded" / "youtube.json.gz"


def make_account(base: str) -> AccountSource:
    """The recorded channel."""
    return AccountSource(
        account_id="blog", source="youtube", url="https://www.youtube.com/@me", endpoint=base, allow_private=True,
        options={"token": KEY},
    )  # fmt: skip


CASE = recorded(youtube, staging, RECORDING, make_account)


def record() -> None:
    """Ask for everything that one night asks for."""
    with serving(community()) as site, Recorder(site.address) as recorder:
        Store().collect(youtube, [make_account(recorder.base)], read_at=datetime(2027, 1, 10, 3, tzinfo=UTC))
        recorder.save(RECORDING)


if __name__ == "__main__":
    record()
