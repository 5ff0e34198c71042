"""What each large table is recomputed by: months, interactions, people or accounts. Plain values.

A night recomputes only the parts of a table that received, lost or changed rows (ADR 10). For each
table three things are said here, in SQL, as the catalogue's rules are: which parts a changed row of
an upstream table **touches**, which upstream rows those parts **read**, and which rows of the table
they **hold**. What the rows become is said once, by the table's function: it is given fewer rows.

A condition may be wider than needed, never narrower: what a function makes beyond the parts is left out.
How changes are found and parts are swapped is in `orchestration/recomputing.py`; nothing here runs.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import polars as pl

from assets.staging import activity
from assets.urls import PARTS as PARTS_OF_ADDRESS
from quality.catalog.staging import SOURCES, staged
from quality.catalog.tables import TABLES


@dataclass(frozen=True, kw_only=True)
class Parts:
    """How one table is recomputed in parts.

    `by` names the columns of a part (`month`, or the key of what the table is about).
    `touched`: upstream table → a query for the parts that its changed rows touch. Of months it gives moments, in one
    column; any of a month stands for it.
    `reads`: upstream table → the condition on the rows that the parts are computed from, or a query for them; a table not
    named is read whole.
    `holds`: the condition on the table's own rows; `held` one that finds the old ones sooner.
    `helpers`: tables made of the parts before anything is read, in this order.
    `moments`: where parts are no months, a query for moments in whose months the rows held must lie: others are not looked at.
    `settings`: what of the settings the function uses; another value is a reason to compute everything again.
    `given`: rows that follow from the settings (table `given`).
    `judged_alone`: parts that show only when the new rows are looked at, which it is given by upstream table.

    In SQL, `{touched}` is the table of touched parts, `{changed}` the changed rows of the upstream table in question,
    `{table}` all of that table's; `{changes[x]}` are those of table x, `{tables[x]}` all rows of it, `{read[x]}` those that were read of it (of tables before);
    `{interactions}` are all rows of that shape of all sources, `{changed_interactions}` the changed ones; `{helpers[x]}` is
    a helper; `{at[c]}` says that the moment `c` lies in a touched month, `{until_next[c]}` in one or in the
    month after it, `{on[c]}` the same as `{at[c]}` of a date.
    """

    by: tuple[str, ...]
    touched: Mapping[str, str]
    reads: Mapping[str, str]
    holds: str
    helpers: Mapping[str, str] = field(default_factory=dict)
    moments: str | None = None
    held: str | None = None
    settings: Callable[[Any], Any] | None = None
    given: Callable[[Any], list[str]] | None = None
    judged_alone: Callable[[Mapping[str, pl.DataFrame]], pl.LazyFrame] | None = None

    @property
    def is_by_month(self) -> bool:
        """Whether the parts are months."""
        return self.by == ("month",)


_KEY = ("account_id", "platform", "interaction")
_ID = "replace({0}account_id, '/', '%2F') || '/' || replace({0}platform, '/', '%2F') || '/' || {0}interaction"
"""`assets.resolve.published_id` in SQL."""
_ADDRESS = PARTS_OF_ADDRESS.replace("{", "{{").replace("}", "}}")
_BLANK = " || ".join(
    f"chr({code})"
    for code in (*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
)
"""What Polars strips from a text: all that Unicode calls white space."""


def _page(column: str) -> str:
    """`assets.urls.match_key` in SQL; what is no address is empty here, and null there."""
    host, path = (f"regexp_extract({column}, '{_ADDRESS}', {group})" for group in (1, 2))
    return f"lower({host}) || rtrim({path}, '/')"


def _stripped(column: str) -> str:
    return f"nullif(trim({column}, {_BLANK}), '')"


# Folds: a month of activity; of a post, the month it was published in.

fold_relationship_day = Parts(
    by=("month",),
    touched={
        "fct_interaction": "select active_at from {changed} union all select retracted_at from {changed} where kind = 'follow'",
    },
    reads={"fct_interaction": "{at[active_at]} or (kind = 'follow' and {at[retracted_at]})"},
    holds="{on[date]}",
    settings=lambda settings: sorted(settings.weights.items()),
)
fold_response = Parts(
    by=("month",),
    touched={"fct_interaction": "select active_at from {changed} where is_composed"},
    reads={"fct_interaction": "is_composed and {at[active_at]}"},
    holds="{at[active_at]}",
)
fold_post_value = Parts(
    by=("month",),
    touched={
        "fct_interaction": (
            "select p.published_at from {changed} c join {tables[dim_post]} p using (post_id) "
            "where c.active_at >= p.published_at and c.active_at < p.published_at + interval 9 days"
        ),
        "dim_post": "select published_at from {changed}",
    },
    # Nothing counts later than nine days after publishing.
    reads={"fct_interaction": "post_id is not null and {until_next[active_at]}", "dim_post": "{at[published_at]}"},
    # A post that is gone, or was moved to another month, is found among the changed ones.
    holds=(
        "post_id in (select post_id from {tables[dim_post]} where {at[published_at]} "
        "union all select post_id from {changes[dim_post]})"
    ),
    settings=lambda settings: sorted(settings.weights.items()),
)


# Core: interactions, and the people behind them.


def _key_of(settings: Any) -> str:
    return hashlib.sha256(settings.identity_key()).hexdigest()


def _every(shape: str, query: str) -> dict[str, str]:
    return dict.fromkeys(staged(shape), query)


def _came_or_went(columns: str) -> str:
    """A query for what the changed rows say that was not said before, or is no longer: each change has two sides."""
    return f"select {columns} from {{changed}} group by {columns} having count(*) % 2 = 1"


_keys = ", ".join(_KEY)
_touched_keys = f"({_keys}) in (select {_keys} from {{touched}})"

fct_interaction = Parts(
    by=_KEY,
    touched={
        **_every(
            "interactions",
            f"select {_keys} from {{changed}} union all "
            # What answers an interaction that came or went: its id is known from now on, or no longer.
            f"select {_keys} from {{interactions}} "
            f"where (account_id, platform, in_reply_to) in ({_came_or_went(_keys)})",
        ),
        "dim_post": (
            f"select {_keys} from {{interactions}} "
            f"where (account_id, platform, post) in ({_came_or_went('account_id, platform, post')}) "
            f"union all select {_keys} from {{interactions}} "
            f"where target_url is not null and (account_id, {_page('target_url')}) in "
            f"(select account_id, {_page('url')} from ({_came_or_went('account_id, platform, post, url')}))"
        ),
        # Whose rows are own ones follows from the account and its profiles.
        **{
            name: f"select {_keys} from {{interactions}} where account_id in (select account_id from ({_came_or_went(said)}))"
            for name, said in (("dim_account", "account_id"), ("dim_profile", "account_id, host, handle, url"))
        },
    },
    helpers={
        **{
            f"rows_{table}": f"select * from {{tables[{table}]}} where {_touched_keys}"
            for table in staged("interactions")
        },
        "rows": " union all by name ".join(
            f"select * from {{helpers[rows_{table}]}}" for table in staged("interactions")
        ),
        "answered": (
            "select distinct account_id, platform, in_reply_to as interaction from {helpers[rows]} where in_reply_to is not null"
            f" except select {_keys} from {{touched}}"
        ),
    },
    reads={
        **{
            table: (
                f"select * from {{helpers[rows_{table}]}} union all "
                f"select * from {{table}} where ({_keys}) in (select {_keys} from {{helpers[answered]}})"
            )
            for table in staged("interactions")
        },
        "identity_name": "(platform, person) in (select platform, person from {helpers[rows]})",
    },
    # A row stands where it or one of its observations says that it happened, now or when it was computed last.
    moments=" union all ".join(
        f"select {moment} from {rows}"
        for moment in ("occurred_at", "observed_at")
        for rows in ("{helpers[rows]}", "{changed_interactions}")
    ),
    holds=f"{{at[active_at]}} and interaction_id in (select {_ID.format('')} from {{touched}})",
    settings=lambda settings: (_key_of(settings), sorted((a.name, sorted(a.own)) for a in settings.accounts)),
)
identity_name = Parts(
    by=("platform", "person"),
    touched=_every("interactions", "select platform, person from {changed}"),
    reads=_every(
        "interactions",
        "select platform, person, person_name, person_url, interaction, observed_at from {table} "
        "where (platform, person) in (select platform, person from {touched})",
    ),
    holds="(platform, person) in (select platform, person from {touched})",
    settings=_key_of,
)
dim_identity = Parts(
    by=("identity_id",),
    touched={
        "identity_name": (
            "select identity_id from {changed} union all "
            # Who is declared to be one person is looked at together, whoever of them changed.
            "select identity_id from {tables[identity_name]} where platform || ':' || person in (select name from {given})"
        ),
        **_every(
            "interactions",
            "select identity_id from {tables[identity_name]} "
            "where (platform, person) in (select platform, person from {changed})",
        ),
    },
    helpers={
        "people": "select platform, person from {tables[identity_name]} where identity_id in (select identity_id from {touched})"
    },
    reads={
        "identity_name": "identity_id in (select identity_id from {touched})",
        **_every(
            "interactions",
            "select platform, person, occurred_at, observed_at from {table} "
            "where (platform, person) in (select platform, person from {helpers[people]})",
        ),
    },
    holds="identity_id in (select identity_id from {touched})",
    settings=lambda settings: (_key_of(settings), sorted(map(list, settings.same_person)), sorted(settings.bots)),
    given=lambda settings: sorted({name for group in settings.same_person for name in group}),
)


# Staging: what brings many rows row by row; elsewhere the accounts that were read anew.

_raw_key = f"account_id, platform, coalesce({_stripped('interaction')}, row_hash)"
_raw_post = f"account_id, platform, {_stripped('post')}"
stg_activity__interactions = Parts(
    by=_KEY,
    touched={
        "raw_activity__interactions": f"select {_raw_key} from {{changed}}",
        # Of an interaction without a time, its post says since when it can be.
        "raw_activity__posts": (
            f"select {_keys} from {{tables[stg_activity__interactions]}} where occurred_at is null "
            f"and (account_id, platform, coalesce(post, target_url)) in (select {_raw_post} from {{changed}})"
        ),
    },
    helpers={
        # A new row without an id is told apart by its content: nothing of it was there before.
        "known": (
            f"select {_keys} from {{touched}} except select account_id, platform, row_hash "
            f"from {{changes[raw_activity__interactions]}} where {_stripped('interaction')} is null"
        )
    },
    reads={
        "raw_activity__interactions": (
            f"select * from {{changes[raw_activity__interactions]}} where {_stripped('interaction')} is null "
            "union all select * from {table} "
            f"where interaction is null and (account_id, platform, row_hash) in (select {_keys} from {{helpers[known]}}) "
            "union all select * from {table} "
            f"where interaction is not null and ({_raw_key}) in (select {_keys} from {{helpers[known]}})"
        ),
        "raw_activity__posts": (
            f"({_raw_post}) in (select {_raw_post} from {{read[raw_activity__interactions]}} where post is not null)"
        ),
    },
    holds=_touched_keys,
    held=f"({_keys}) in (select {_keys} from {{helpers[known]}})",
)


def _by_account(source: str, shape: str) -> Parts:
    """A staging table whose accounts have nothing to do with each other; those with new raw rows are staged again."""
    needs = signature(getattr(import_module(f"assets.staging.{source}"), shape)).parameters
    raw = {f"raw_{source}__{table}": table for table in needs}
    touched = dict.fromkeys(raw, "select account_id from {changed}")
    if "lists" in needs:
        # Every night says that each list was read; that tells only about what was seen on it later.
        touched[f"raw_{source}__lists"] = (
            "select c.account_id from {changed} c join (select account_id, max(observed_at) as last_at "
            f"from {{tables[raw_{source}__sightings]}} group by account_id) s on s.account_id = c.account_id "
            "and s.last_at > c.observed_at"
        )
    of_touched = "account_id in (select account_id from {touched})"
    return Parts(by=("account_id",), touched=touched, reads=dict.fromkeys(raw, of_touched), holds=of_touched)


def _set_aside(new: Mapping[str, pl.DataFrame]) -> pl.LazyFrame:
    """Accounts of new rows that cannot be used."""
    return activity.quarantine(new["raw_activity__posts"], new["raw_activity__interactions"]).select("account_id")


_NETWORKS = ("bluesky", "mastodon", "wordpress", "ghost", "youtube", "x", "archive")
_quarantined = (
    "select account_id from {changed} where account_id in (select account_id from {tables[stg_activity__quarantine]})"
)

PARTS: Mapping[str, Parts] = {
    **{
        f"stg_{source}__{shape}": _by_account(source, shape)
        for source in _NETWORKS
        for shape in SOURCES[source]
        if shape != "readings"
    },
    "stg_activity__posts": _by_account("activity", "posts"),
    "stg_activity__interactions": stg_activity__interactions,
    # Rows that can be used change nothing here, unless some of their account are set aside.
    "stg_activity__quarantine": Parts(
        by=("account_id",),
        touched=dict.fromkeys(("raw_activity__posts", "raw_activity__interactions"), _quarantined),
        reads=dict.fromkeys(
            ("raw_activity__posts", "raw_activity__interactions"), "account_id in (select account_id from {touched})"
        ),
        holds="account_id in (select account_id from {touched})",
        judged_alone=_set_aside,
    ),
    "identity_name": identity_name,
    "dim_identity": dim_identity,
    "fct_interaction": fct_interaction,
    "fold_relationship_day": fold_relationship_day,
    "fold_post_value": fold_post_value,
    "fold_response": fold_response,
}
"""By table. What is not here is small, or is computed from all of its rows: it is computed whole every night."""

WATCHED = frozenset(name for parts in PARTS.values() for name in parts.touched if name in TABLES)
"""Tables whose changed rows others ask for."""

_CODE = (
    "assets/*.py",
    "assets/staging/*.py",
    "assets/metrics/fold.py",
    "assets/metrics/visible.py",
    "sources/timestamps.py",
)
_NOT = ("marts.py", "ingest.py", "history.py", "table.py")


def code() -> str:
    """A fingerprint of the code behind all these tables: one that was changed computes everything again."""
    root = Path(__file__).parent.parent
    files = sorted(path for pattern in _CODE for path in root.glob(pattern) if path.name not in _NOT)
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()
