"""Core: the platforms united, people resolved, coverage known. Facts name identities, not persons."""

from quality.catalog import columns as c
from quality.catalog.model import Rule, Table
from quality.catalog.staging import staged


def _from(shape: str, *columns: str) -> tuple[str, ...]:
    return tuple(f"{table}.{column}" for table in staged(shape) for column in columns)


_person = _from("interactions", "person")

dim_account = Table(
    name="dim_account",
    doc="Accounts: those of rapport.toml, and those that an activity file or a ledger brought.",
    grain="One account.",
    key=("account_id",),
    columns=(
        c.account_id.derived(*_from("readings", "account_id"), *_from("earnings", "account_id")),
        c.name.derived(*_from("readings", "account_id"), *_from("earnings", "account_id")),
        c.timezone, c.promise_days, c.is_own,
    ),
)  # fmt: skip
dim_profile = Table(
    name="dim_profile",
    doc="Where an account lives: one row a platform and source.",
    grain="One profile of an account on a platform, as one source knows it.",
    key=("account_id", "platform", "source"),
    columns=(c.account_id, c.platform, c.source, c.url, c.host, c.handle, c.born_at),
)
dim_identity = Table(
    name="dim_identity",
    doc="People, pseudonymous: one row for each person on each platform, and who they are together.",
    grain="One person on one platform.",
    key=("identity_id",),
    columns=(
        c.identity_id.derived(*_person),
        c.person_id.derived(*_person),
        c.platform, c.merged_because, c.is_bot,
        c.first_seen_at.derived(*_from("interactions", "occurred_at", "observed_at")),
    ),
)  # fmt: skip
identity_name = Table(
    name="identity_name",
    doc="Names of people. The only table with names; private, never published.",
    grain="One person on one platform.",
    key=("identity_id",),
    columns=(c.identity_id.derived(*_person), c.platform, c.person.derived(*_person), c.person_name, c.person_url),
)
dim_post = Table(
    name="dim_post",
    doc="What the account published itself.",
    grain="One post of an account on a platform.",
    key=("post_id",),
    columns=(
        c.post_id.derived(*_from("posts", "account_id", "platform", "post")),
        c.account_id, c.platform, c.post, c.url, c.published_at, c.deleted_at, c.post_kind, c.language, c.words, c.links,
        c.is_promotional, c.promotion_reason, c.observed_at, c.loaded_at,
    ),
    rules=(
        Rule(
            name="known_account",
            doc="Every post belongs to a known account.",
            violations="select * from {table} t where not exists (select 1 from core.dim_account a where a.account_id = t.account_id)",
        ),
    ),
)  # fmt: skip
fct_interaction = Table(
    name="fct_interaction",
    doc="Every interaction between a person and an account, in either direction.",
    grain="One interaction.",
    key=("interaction_id",),
    month_of="active_at",
    columns=(
        c.interaction_id.derived(*_from("interactions", "account_id", "platform", "interaction")),
        c.account_id, c.platform, c.identity_id.derived("dim_identity.identity_id"), c.direction, c.kind,
        c.is_composed.derived(*_from("interactions", "kind")),
        c.post_id.optional().derived("dim_post.post_id", *_from("interactions", "target_url", "post")),
        c.in_reply_to_id.derived(*_from("interactions", "in_reply_to")),
        c.occurred_at, c.observed_at, c.not_before_at,
        c.active_at.derived(*_from("interactions", "occurred_at", "observed_at")),
        c.is_time_known, c.retracted_at,
        c.is_own_row.derived(*_from("interactions", "person"), "dim_profile.host"),
        c.is_site_wide,
        c.is_audience.derived(*_from("interactions", "person", "is_site_wide")),
        c.loaded_at,
    ),
    rules=(
        Rule(
            name="known_account",
            doc="Every interaction belongs to a known account.",
            violations="select * from {table} t where not exists (select 1 from core.dim_account a where a.account_id = t.account_id)",
        ),
        Rule(
            name="known_person",
            doc="Every interaction belongs to a known person.",
            violations="select * from {table} t where not exists (select 1 from core.dim_identity i where i.identity_id = t.identity_id)",
        ),
        Rule(
            name="known_post",
            doc="An interaction's post is a known post of the same account.",
            violations=(
                "select * from {table} t where post_id is not null and not exists "
                "(select 1 from core.dim_post p where p.post_id = t.post_id and p.account_id = t.account_id)"
            ),
        ),
        Rule(
            name="occurred_before_seen",
            doc="Nothing happened more than a day after it was seen (time zones differ by less).",
            violations="select * from {table} where epoch_us(occurred_at) - epoch_us(observed_at) > 86_400_000_000",
        ),
        Rule(
            name="active_at_follows",
            doc="active_at is occurred_at, else observed_at.",
            violations="select * from {table} where active_at is distinct from coalesce(occurred_at, observed_at)",
        ),
    ),
)  # fmt: skip
fct_counter = Table(
    name="fct_counter",
    doc="Public counters as they were seen over time; append-only.",
    grain="One observation of one counter.",
    key=("account_id", "platform", "subject", "subject_id", "counter", "observed_at"),
    columns=(
        c.account_id, c.platform, c.subject,
        c.subject_id.derived(*_from("counters", "account_id", "platform", "subject_id")),
        c.counter, c.counter_value, c.observed_at, c.loaded_at,
    ),
    rules=(
        Rule(
            name="counters_do_not_go_backwards",
            doc="A cumulative counter (views, posts) never falls; likes and followers may.",
            violations=(
                "select * from (select *, lag(value) over (partition by account_id, platform, subject, subject_id, counter "
                "order by observed_at) as value_before from {table} where counter in ('views', 'posts')) "
                "where value < value_before"
            ),
            severity="warn",
        ),
    ),
)  # fmt: skip
fct_collection_span = Table(
    name="fct_collection_span",
    doc=(
        "The coverage ledger, run-length encoded: which days of which stream were collected. "
        "The view core.fct_collection_day has a row for each day. A day in no span is unknown, never silence."
    ),
    grain="One run of days with the same status, of one stream of an account on a platform.",
    key=("account_id", "platform", "stream", "from_date"),
    columns=(
        c.account_id, c.platform, c.stream,
        c.from_date.derived(*_from("readings", "covers_from")),
        c.to_date.derived(*_from("readings", "read_at")),
        c.status, c.reason,
        c.last_ok_at.derived(*_from("readings", "read_at")),
    ),
    rules=(
        Rule(
            name="spans_are_ordered",
            doc="A span does not end before it starts.",
            violations="select * from {table} where to_date < from_date",
        ),
        Rule(
            name="spans_do_not_overlap",
            doc="A day of a stream has one status.",
            violations=(
                "select * from (select *, lead(from_date) over (partition by account_id, platform, stream order by from_date) "
                "as next_from from {table}) where next_from <= to_date"
            ),
        ),
    ),
)  # fmt: skip
fct_earning = Table(
    name="fct_earning",
    doc="What people paid. Optional: empty without an imported ledger.",
    grain="One earning of an account.",
    key=("earning_id",),
    columns=(
        c.text("earning_id", "The earning, unique over all accounts.").derived(*_from("earnings", "account_id", "earning")),
        c.account_id,
        c.text("identity_id", "Who paid: an identity of dim_identity where is_linked, else a pseudonym that nothing else has.")
        .derived("dim_identity.identity_id", *_from("earnings", "person", "email_hash", "email_md5_hash", "email_sha256_hash", "earning")),
        c.flag("is_linked", "Who paid is known from the account's interactions, too.").derived(*_from("earnings", "person", "email_hash")),
        c.earned_at, c.amount_paid, c.refunded_amount, c.refunded_at, c.currency, c.loaded_at,
    ),
    rules=(
        Rule(
            name="known_account",
            doc="Every earning belongs to a known account.",
            violations="select * from {table} t where not exists (select 1 from core.dim_account a where a.account_id = t.account_id)",
        ),
        Rule(
            name="linked_to_known_person",
            doc="A linked earning belongs to a known identity.",
            violations=(
                "select * from {table} t where is_linked and not exists "
                "(select 1 from core.dim_identity i where i.identity_id = t.identity_id)"
            ),
        ),
        Rule(
            name="refund_within_amount",
            doc="No more is given back than was paid.",
            violations="select * from {table} where refunded_amount > amount",
        ),
        Rule(
            name="currency_has_three_letters",
            doc="Currencies look like ISO 4217 codes.",
            violations="select * from {table} where not regexp_full_match(currency, '[A-Z]{3}')",
        ),
    ),
)  # fmt: skip

TABLES = (
    dim_account,
    dim_profile,
    dim_identity,
    identity_name,
    dim_post,
    fct_interaction,
    fct_counter,
    fct_earning,
    fct_collection_span,
)
