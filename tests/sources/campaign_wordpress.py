"""The campaign's case of WordPress; run as a program it records the replies anew.

    PYTHONPATH=.:tests python tests/sources/campaign_wordpress.py http://127.0.0.1:8803 alice:<application password>

The site calls itself `SITE` in the recording, so that what is collected does not depend on a port.
"""

import gzip
import sys
from datetime import UTC, datetime
from pathlib import Path

from collected import Store
from faults import Recorder
from sources_campaign import recorded

from assets.staging import wordpress as staging
from sources import wordpress
from sources.http import Client
from sources.model import AccountSource

SITE = "https://blog.example"
RECORDING = Path(__file__).parent / "recorded" / "wordpress.json.gz"
OF_AN_AUTHOR = RECORDING.with_name("wordpress_author.json.gz")


def make_account(base: str, *, url: str = f"{SITE}/", token: str | None = "alice:recorded") -> AccountSource:
    """The recorded site, with a login unless `token` is none."""
    return AccountSource(
        account_id="blog", source="wordpress", url=url, endpoint=base, allow_private=True,
        options={"token": token} if token else {},
    )  # fmt: skip


CASE = recorded(wordpress, staging, RECORDING, make_account)


def record(upstream: str, token: str) -> None:
    """Ask a freshly seeded site everything that the tests ask, for the site and for one of its authors."""
    for url, file in ((f"{SITE}/", RECORDING), (f"{SITE}/author/bob/", OF_AN_AUTHOR)):
        with Recorder(upstream) as recorder:
            account = make_account(recorder.base, url=url, token=token)
            Store().collect(wordpress, [account], read_at=datetime(2027, 1, 10, 3, tzinfo=UTC))
            with Client(allow_private=True) as client:
                wordpress.recognise(account, client)
            recorder.save(file)
        said = gzip.decompress(file.read_bytes()).replace(b"{base}", SITE.encode())
        file.write_bytes(gzip.compress(said, mtime=0))


if __name__ == "__main__":
    record(*sys.argv[1:])
