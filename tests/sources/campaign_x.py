"""The campaign's case of X, on the invented X of `serve_x` itself: what X is asked depends on what was read before."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

from serve_x import TOKEN, community, serving
from sources_campaign import Case, Network, Server

from assets.staging import x as staging
from sources import x
from sources.model import AccountSource

FIRST = datetime(2024, 5, 16, 12, tzinfo=UTC)


def make_account(base: str) -> AccountSource:
    """The account that the invented X belongs to."""
    return AccountSource(
        account_id="blog", source="x", url="https://x.com/me", endpoint=base, allow_private=True,
        options={"token": TOKEN},
    )  # fmt: skip


@contextmanager
def _server() -> Iterator[Server]:
    with serving(community()) as site:
        yield SimpleNamespace(base=site.address)


CASE = Case(
    serve=_server,
    begin=lambda: Network(connector=x, staging=staging, make_account=make_account, first=FIRST, budgets={"x": 10_000}),
)
