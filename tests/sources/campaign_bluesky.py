"""The campaign's case of Bluesky; run as a program it records the replies anew, of servers that were just seeded.

    seed.py --people 5 --weeks 8 --seed 3
    PYTHONPATH=.:tests python tests/sources/campaign_bluesky.py <app password of alice>

AppView, PDS and PLC are three servers; the recording plays all of them at one address.
"""

import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collected import Store
from faults import Recorder
from loopback import Request, Said
from servers.state import APPVIEW, PDS, PLC
from sources_campaign import recorded

from assets.staging import bluesky as staging
from sources import bluesky
from sources.bluesky_api import Api
from sources.http import Client, HttpError
from sources.model import AccountSource

RECORDING = Path(__file__).parent / "recorded" / "bluesky.json.gz"
NIGHT = datetime(2027, 1, 10, 3, tzinfo=UTC)
_OF_PDS = ("/xrpc/com.atproto.repo.", "/xrpc/com.atproto.server.", "/xrpc/app.bsky.notification.")


def make_account(base: str, *, url: str = "https://bsky.app/profile/alice.test", token: str | None = "recorded") -> AccountSource:  # fmt: skip
    """The recorded account, with a login unless `token` is none; its PDS is found in its DID document."""
    return AccountSource(
        account_id="alice", source="bluesky", url=url, endpoint=base, allow_private=True,
        options={"plc": base, **({"token": token} if token else {})},
    )  # fmt: skip


CASE = recorded(bluesky, staging, RECORDING, make_account)


class _Network(Recorder):
    """The three servers at one address."""

    def answer(self, request: Request) -> Said:
        is_pds = request.path.startswith(_OF_PDS)
        self.upstream = PDS if is_pds else PLC if request.path.startswith("/did:") else APPVIEW
        return super().answer(request)


def record(token: str) -> None:
    """Ask everything that the tests ask; also threads that only a broken night asks for one by one."""
    names = tuple(f"http://{host}:{port}" for host in ("localhost", "127.0.0.1") for port in (2582, 2583, 2584))
    with _Network(APPVIEW, aliases=names) as network:
        account = make_account(network.base, token=token)
        store = Store()
        for night in range(3):
            store.collect(bluesky, [account], read_at=NIGHT + timedelta(days=night))
        with Client(allow_private=True) as client:
            bluesky.recognise(account, client)
            api = Api(client, account)
            for row in store.rows["interactions"].values():
                if (row["direction"], row["kind"]) == ("outbound", "reply"):
                    params = {"uri": str(row["interaction"]), "depth": 1, "parentHeight": 0}
                    api.ask("app.bsky.feed.getPostThread", params)
            with suppress(HttpError):
                api.ask("app.bsky.actor.getProfile", {"actor": "nobody.test"})
        network.save(RECORDING)


if __name__ == "__main__":
    record(*sys.argv[1:])
