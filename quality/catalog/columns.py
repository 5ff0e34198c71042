"""Every column, defined once: name, type, meaning, unit, limits.

A table lists these; a column that means the same has the same name and unit wherever it stands.
Nullability is the table's to relax (`.optional()`), so here a column is required unless a
meaningful value can be absent everywhere it is used.
"""

from quality.catalog.model import Column, Dtype

EARLIEST = "1990-01-01"
"""No account of a social platform, and no web page, is older: an earlier time is a mistake."""

KINDS = ("reply", "mention", "quote", "message", "repost", "bookmark", "like", "follow", "rsvp")
COMPOSED = ("reply", "mention", "quote", "message")
DIRECTIONS = ("inbound", "outbound")
STREAMS = ("posts", "inbound", "outbound", "counters")
STATUSES = ("ok", "partial", "down", "not_started", "not_offered")
QUESTIONS = ("consistency", "value", "relationships")
LIFECYCLES = ("new", "returning", "resurrecting", "dormant")
TENURE_BANDS = ("< 90 d", "< 1 y", "< 2 y", "longer", "before contact", "unknown start", "no contact", "all")
TIE_STATES = ("active", "cooling", "lost", "resurrected", "ended")


def text(name: str, doc: str, *, allowed: tuple[str, ...] = (), nullable: bool = False) -> Column:
    """A string column."""
    return Column(name=name, dtype=Dtype.STRING, doc=doc, allowed=allowed, nullable=nullable)


def count(name: str, doc: str, *, unit: str = "count", nullable: bool = False) -> Column:
    """A whole number that cannot be negative."""
    return Column(name=name, dtype=Dtype.INTEGER, doc=doc, unit=unit, low=0, nullable=nullable)


def share(name: str, doc: str, *, nullable: bool = True) -> Column:
    """A proportion between 0 and 1."""
    return Column(name=name, dtype=Dtype.FLOAT, doc=doc, unit="share", low=0, high=1, nullable=nullable)


def real(name: str, doc: str, *, unit: str = "", low: float | None = None, high: float | None = None) -> Column:
    """A real number that may be null."""
    return Column(name=name, dtype=Dtype.FLOAT, doc=doc, unit=unit, low=low, high=high, nullable=True)


def money(name: str, doc: str) -> Column:
    """An amount of money: a decimal with four places, never a binary fraction."""
    return Column(name=name, dtype=Dtype.DECIMAL, doc=doc, unit="currency", low=0)


def at(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A point in time, UTC."""
    return Column(name=name, dtype=Dtype.TIMESTAMP, doc=doc, low=EARLIEST, nullable=nullable)


def day(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A calendar date."""
    return Column(name=name, dtype=Dtype.DATE, doc=doc, low=EARLIEST, nullable=nullable)


def flag(name: str, doc: str, *, nullable: bool = False) -> Column:
    """True or false."""
    return Column(name=name, dtype=Dtype.BOOLEAN, doc=doc, nullable=nullable)


def interval(column: Column) -> tuple[Column, Column]:
    """The 95 % interval of a measure: `<name>_low` and `<name>_high`."""
    low, high = column.low, column.high
    low = low if isinstance(low, (int, float)) else None
    return (
        real(
            f"{column.name}_low",
            f"Lower end of the 95 % interval of {column.name}.",
            unit=column.unit,
            low=low,
            high=high,
        ),
        real(
            f"{column.name}_high",
            f"Upper end of the 95 % interval of {column.name}.",
            unit=column.unit,
            low=low,
            high=high,
        ),
    )


def note(column: Column) -> Column:
    """`<name>_note`: why the measure is null."""
    return text(f"{column.name}_note", f"Why {column.name} is null.", nullable=True)


# Who and where
as_of = day("as_of", "The last complete UTC day that was counted.")
account_id = text("account_id", "The account: its name in rapport.toml or in the activity file.")
name = text("name", "The account's name as configured.")
timezone = text("timezone", "IANA name of the account's time zone; local days and weeks are judged in it.")
promise_days = real(
    "promise_days", "The posting promise: at least one post every so many days.", unit="days", low=0.01
).required()
is_own = flag("is_own", "The account belongs to the people who run rapport; false where it is merely analysed.")
platform = text("platform", "The platform; in marts also `all`, every platform of the account together.")
source = text("source", "The connector that brought the row.")
url = text("url", "Address of the profile or post.", nullable=True)
host = text("host", "Host of the address without `www.`.", nullable=True)
handle = text("handle", "Public handle on the platform.", nullable=True)
born_at = at("born_at", "When the platform says the profile was created.", nullable=True)

# People
person = text("person", "Native id of the person on the platform (webmention: the normalised author URL).")
person_name = text("person_name", "Display name the platform gives.", nullable=True)
person_url = text("person_url", "Address of the person's profile.", nullable=True)
identity_id = text(
    "identity_id", "Keyed pseudonym of one person on one platform (HMAC-SHA-256, 128 bits, hexadecimal)."
)
person_id = text("person_id", "One person: the smallest identity_id among the identities merged into it.")
merged_because = text(
    "merged_because", "Why identities were merged into this person; null where nothing was merged.", nullable=True
)
is_bot = flag("is_bot", "The identity is configured as a bot: kept, out of audience metrics.")
first_seen_at = at("first_seen_at", "First time the identity was seen in either direction.")

# Posts
post = text("post", "Native id of the post on its platform.")
post_id = text("post_id", "The post, unique over all accounts and platforms.")
published_at = at("published_at", "When the post was published.")
deleted_at = at("deleted_at", "When the post was deleted or seen to be gone.", nullable=True)
post_kind = text("kind", "Kind of post as the platform distinguishes them (article, link, note, ...).")
language = text("language", "Language of the post as the platform says (BCP 47).", nullable=True)
words = count("words", "Words in the post's text.", unit="words", nullable=True)
links = count("links", "Links in the post.", unit="links", nullable=True)
is_promotional = flag(
    "is_promotional", "A promotion rule holds; null where neither text nor address is known.", nullable=True
)
promotion_reason = text("promotion_reason", "The promotion rules that hold, comma-separated.", nullable=True)

# Interactions
interaction = text("interaction", "Native id of the interaction, or a hash of its fields.")
interaction_id = text("interaction_id", "The interaction, unique over all accounts and platforms.")
direction = text("direction", "`inbound` from the person to the account, `outbound` the other way.", allowed=DIRECTIONS)
kind = text("kind", "Kind of interaction.", allowed=KINDS)
is_composed = flag("is_composed", "Somebody wrote something (reply, mention, quote, message), not one click.")
target_url = text("target_url", "Address that the interaction is about.", nullable=True)
in_reply_to = text("in_reply_to", "Native id of the interaction that this one answers.", nullable=True)
in_reply_to_id = text("in_reply_to_id", "The interaction that this one answers.", nullable=True)
occurred_at = at("occurred_at", "When it happened; null where the platform does not say.", nullable=True)
observed_at = at("observed_at", "When it was first seen.")
not_before_at = at(
    "not_before_at", "Earliest time it can have happened: the previous complete reading, or the post.", nullable=True
)
active_at = at("active_at", "The time that metrics use: occurred_at, else observed_at.")
is_time_known = flag("is_time_known", "The time is known to within two days.")
retracted_at = at("retracted_at", "When it was taken back or seen to be gone.", nullable=True)
loaded_at = at("loaded_at", "When the row reached the warehouse.")
is_own_row = flag("is_own_row", "The person is the account itself: kept, out of audience metrics.")
is_site_wide = flag("is_site_wide", "About the whole site, not about one post: kept, out of audience metrics.")
is_audience = flag("is_audience", "Counts in audience metrics: neither own nor site-wide.")

# Counters
subject = text("subject", "What is counted: a `post` or a `profile`.", allowed=("post", "profile"))
subject_id = text("subject_id", "The post_id, or the platform for a profile.")
native_subject_id = text("subject_id", "The platform's id of the post, or the platform for a profile.")
counter = text("counter", "Name of the counter (likes, followers, views, ...).")
counter_value = count("value", "The number that the platform showed.")

# Earnings
earning = text("earning", "Native id of the earning, or a hash of what its row says.")
earned_at = at("earned_at", "When it was paid.")
amount_paid = money("amount", "What was paid, before refunds.")
refunded_amount = money("refunded_amount", "How much of it was given back.")
refunded_at = at("refunded_at", "When it was given back; null where unknown or nothing was.", nullable=True)
currency = text("currency", "ISO 4217 code of the currency. Amounts of different currencies are never added.")

# Coverage
stream = text("stream", "What is collected: posts, inbound, outbound or counters.", allowed=STREAMS)
from_date = day("from_date", "First day of the span.")
to_date = day("to_date", "Last day of the span.")
status = text("status", "Whether the days are covered: only `ok` is.", allowed=STATUSES)
reason = text("reason", "Why the status is not ok.", nullable=True)
covers_from = at("covers_from", "The reading covers from here; null where nothing was read.", nullable=True)
read_at = at("read_at", "When the reading ended.")
coverage_share = share("coverage_share", "Share of the days of the period, since birth, that were collected.")
covered_from = day("covered_from", "First day collected.", nullable=True)
covered_to = day("covered_to", "Last day collected, at most as_of.", nullable=True)
last_ok_at = at("last_ok_at", "When the stream was last read without an error.", nullable=True)

# Quarantine
shape = text("shape", "Which table the row was meant for (posts, interactions, profiles).")
row_ref = text("row_ref", "Where the row is: file and row number, or the platform's id.")
row_reason = text("reason", "Why the row was set aside.")
row = text("row", "The row as it came, as JSON.")

# Periods and counts
date = day("date", "UTC day.")
week = day("week", "Monday of the UTC week.")
month = day("month", "First day of the month.")
posts = count("posts", "Own posts published.", unit="posts")
active_days = count(
    "active_days",
    "Days with at least one post: days of the account's time zone, in mart_cadence_week UTC days.",
    unit="days",
)
window_days = real("window_days", "Length of the window, without its uncovered days.", unit="days", low=0)
