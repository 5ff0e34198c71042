"""Bluesky: profile, posts, likes, reposts, quotes, replies, followers, and what the account itself answers, likes, follows.

All of it is public; an app password (the token) adds mentions and the times of follows and reposts. The
servers are asked by `sources.bluesky_api`; what is read of one account is in `sources.bluesky_lists`.
"""

from collections.abc import Generator, Iterator, Sequence
from datetime import datetime

from dlt.extract.source import DltSource

from sources import collection as collecting
from sources.batches import Batch
from sources.bluesky_api import APPVIEW, Api, Json, Session, actor
from sources.bluesky_lists import Lists
from sources.bluesky_notifications import notifications
from sources.bluesky_records import did_of, profile_url, text_of, time_of
from sources.collection import Collection
from sources.http import Client, HttpError
from sources.model import AccountSource, Recognised, Row, SourceError
from sources.observations import PROFILES
from sources.observations import TABLES as TABLES  # noqa: PLC0414  given on
from sources.visit import Visit

NAME = PLATFORM = "bluesky"
STREAMS = ("posts", "inbound", "outbound", "counters")
OPTIONS = ("pds", "plc")
"""Further settings of a source in rapport.toml: other servers than the account's own and the public directory."""

_STATES = {
    "AccountTakedown": ("suspended", "The account was taken down"),
    "AccountSuspended": ("suspended", "The account is suspended"),
    "AccountDeactivated": ("deactivated", "The account is deactivated"),
    "InvalidRequest": ("gone", "There is no such account"),
}
"""What a profile's error code means: the state to note, and what to say."""


def source(
    accounts: Sequence[AccountSource],
    *,
    read_at: datetime,
    store_text: bool = False,
    collection: Collection | None = None,
) -> DltSource:
    """The accounts: one dlt resource a raw table."""
    return collecting.source(
        NAME, PLATFORM, read, accounts, read_at=read_at, store_text=store_text, collection=collection, streams=STREAMS,
        service=APPVIEW,
    )  # fmt: skip


def claims(url: str) -> bool:
    """Whether the address alone says Bluesky: a profile there, a DID, a handle with `@` or below `bsky.social`.

    >>> claims("https://bsky.app/profile/alice.test"), claims("alice.bsky.social"), claims("https://blog.example/")
    (True, True, False)
    """
    who, said = actor(url), url.strip().lower()
    if who is None or "@" in said[1:]:
        return False
    return (
        did_of(who) is not None
        or who.endswith(".bsky.social")
        or said.startswith(("@", "at://"))
        or "bsky.app/" in said
    )


def recognise(account: AccountSource, client: Client) -> Recognised | None:
    """What `rapport add` says of a profile; None where the address can be no handle.

    A handle of an own domain looks like any site, so only who names the source gets here with one. The address given back names the DID, which outlives the handle. Raises `SourceError` where
    the account does not answer.
    """
    who = actor(account.url)
    if who is None:
        return None
    try:
        profile = Api(client, account).ask("app.bsky.actor.getProfile", {"actor": who})
    except HttpError as error:
        if error.code not in _STATES:
            raise
        failure = _unavailable(error, who)
    else:
        did, handle = text_of(profile, "did"), text_of(profile, "handle") or who
        counted = [f"{profile[f'{name}Count']:,} {name}" for name in ("followers", "posts") if _count(profile, name)]
        return Recognised(
            source=NAME,
            url=profile_url(did or who),
            title=text_of(profile, "displayName") or handle,
            summary=", ".join([f"Bluesky profile @{handle}", *counted]),
            account=handle.partition(".")[0],
        )
    raise failure


def read(visit: Visit, collection: Collection) -> Iterator[Batch]:
    """Everything of one account."""
    with collection.client(visit.account) as client:
        api = Api(client, visit.account)
        profile = yield from _profile(visit, api, collection)
        did = profile["did"]
        lists = Lists(visit=visit, api=api, did=did, collection=collection, posts=_count(profile, "posts"))
        followers = _count(profile, "followers")
        with visit.stream("posts"):
            yield from lists.own_posts()
        with visit.stream("counters"):
            shown = {"followers": followers, "following": _count(profile, "follows"), "posts": lists.posts}
            yield visit.counters("profile", PLATFORM, shown)
            yield from lists.counters()
        with visit.stream("outbound"):
            yield from lists.own_answers()
        with visit.stream("outbound"):
            yield from lists.given()
        with visit.stream("inbound"):
            yield from lists.followers(followers)
        with visit.stream("inbound"):
            yield from lists.reactions()
        if token := visit.account.options.get("token"):
            with visit.stream("inbound"):
                yield from notifications(lists, Session(api, did, token))


def _profile(visit: Visit, api: Api, collection: Collection) -> Generator[Batch, None, Json]:
    """The profile, which is returned; a renamed account is found by the DID that it had."""
    who = actor(visit.account.url)
    if who is None:
        raise SourceError(
            "This names no Bluesky account", visit.account.url, "Give https://bsky.app/profile/NAME, or @NAME."
        )
    known = _known(visit, collection, who)
    try:
        profile = api.ask("app.bsky.actor.getProfile", {"actor": known["profile"] if known else who})
    except HttpError as error:
        if error.code not in _STATES:
            raise
        if did := known["profile"] if known else did_of(who):
            yield visit.profile(**{**_seen(did, known), "state": _STATES[error.code][0]})
        failure = _unavailable(error, who)
    else:
        did = did_of(profile.get("did"))
        if did is None:
            raise SourceError("The profile has no DID", who, "Try again later; the server may have changed.")
        visit.born_at = time_of(profile.get("createdAt"))
        yield visit.profile(
            profile=did, handle=text_of(profile, "handle"), url=profile_url(did), name=text_of(profile, "displayName"),
            born_at=text_of(profile, "createdAt"), state="active",
        )  # fmt: skip
        return profile
    raise failure


def _known(visit: Visit, collection: Collection, who: str) -> Row | None:
    """The newest observation of the profile that had this handle, or this DID."""
    tables = collection.history(visit.account.account_id)
    rows = tables[PROFILES.name].to_pylist() if PROFILES.name in tables else []
    rows = sorted((r for r in rows if r["platform"] == PLATFORM), key=lambda r: (r["loaded_at"], r["row_hash"]))
    mine = [row["profile"] for row in rows if who in (row["profile"], str(row["handle"]).lower())]
    return next((row for row in reversed(rows) if mine and row["profile"] == mine[-1]), None)


def _seen(did: str, known: Row | None) -> Row:
    names = ("handle", "name", "born_at")
    return {"profile": did, "url": profile_url(did), **{name: known[name] if known else None for name in names}}


def _unavailable(error: HttpError, who: str) -> SourceError:
    what = _STATES[str(error.code)][1]
    return SourceError(what, who, "Check the address in a browser; what was collected before is kept.")


def _count(profile: Json, name: str) -> int | None:
    value = profile.get(f"{name}Count")
    return value if isinstance(value, int) else None
