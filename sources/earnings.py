"""Earnings: a ledger of what people paid, from a file of one's own or Stripe's export of payments.

`rapport import` runs this source. E-mail addresses are hashed here, with the installation's key,
before anything is stored; columns that the ledger does not know are left out, since they hold
names, addresses and cards. Raw is insert-only: a row that says the same again adds nothing, a
changed row with the same id (a refund) is a new observation. Identical rows without an id are told
apart by counting them within their file.
"""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import dlt
import pyarrow as pa
from dlt.common.schema.typing import TSchemaContract, TTableSchemaColumns
from dlt.extract.source import DltSource

from sources.activity import NO_ACCOUNT, check_account
from sources.activity_files import COLUMNS, ActivityFile, open_file
from sources.model import CONTRACT, INSERT_ONLY, KEY, LOADED_AT, RawColumn, RawTable, Row

NAME = PLATFORM = "earnings"
Hashed = Callable[[str], str]

LEDGER = RawTable(
    name="ledger",
    doc="Rows of ledgers of earnings, one row per observation. E-mail addresses are here only as keyed hashes.",
    columns=(
        RawColumn(name="account_id", doc="The account: `account` of the file, or of the command.", nullable=False),
        RawColumn(name="person", doc="Native id or address of the person, or Stripe's id of the customer."),
        RawColumn(name="email_hash", doc="Keyed hash of the e-mail address, lower case."),
        RawColumn(name="email_md5_hash", doc="Keyed hash of its MD5, as a Gravatar names people."),
        RawColumn(name="email_sha256_hash", doc="Keyed hash of its SHA-256, as newer Gravatars do."),
        RawColumn(name="earning", doc="Native id of the earning, where there is one."),
        RawColumn(name="earned_at", doc="When it was paid, as written (see at_utc)."),
        RawColumn(name="at_utc", doc="earned_at where the file gives a time and not a text.", dtype="timestamp"),
        RawColumn(name="amount", doc="What was paid, as written."),
        RawColumn(name="currency", doc="Its currency, as written."),
        RawColumn(name="refunded", doc="How much of it was given back, as written."),
        RawColumn(name="refunded_at", doc="When it was given back, as written."),
        RawColumn(name="stripe_status", doc="Stripe: status of the charge."),
        RawColumn(name="stripe_captured", doc="Stripe: whether the money was taken, or only reserved."),
        RawColumn(name="stripe_mode", doc="Stripe: Live or Test."),
        RawColumn(name="is_stripe", doc="The file is an export of Stripe.", dtype="bool", nullable=False),
        RawColumn(name="problem", doc="Why the row is no row (not a JSON object, too many fields)."),
        RawColumn(name="file", doc="Name of the file, without its folder.", nullable=False),
        RawColumn(name="row_number", doc="Row in the file, the first below the header is 1.", dtype="bigint", nullable=False),
        KEY,
        LOADED_AT,
    ),
)  # fmt: skip
TABLES = (LEDGER,)

_log = logging.getLogger(__name__)
_EMAIL = re.compile(r"^(?:mailto:)?([^@\s/:]+@[^@\s/:]+\.[^@\s/:]+)$", re.IGNORECASE)
_PLACE = ("file", "row_number", "row_hash", "loaded_at")
"""Columns that say where and when a row was read, not what it says."""


def source(
    *,
    earnings: Path | None = None,
    account: str | None = None,
    hashed: Hashed,
    read_at: datetime,
    warn: Callable[[str], object] = _log.warning,
) -> DltSource:
    """A ledger as a dlt source: the resource `ledger`. Without a file it is there and empty.

    `hashed` turns an e-mail address, or its digest, into its keyed hash. An `account` column in
    the file replaces `account`; both are accepted only where they agree. `warn` is told what was
    noticed.

    Raises `SourceError` at once for what is wrong with the file as a whole.
    """
    files = [open_file(earnings, "earnings")] if earnings is not None else []
    check_account(files, account=account)
    for file in files:
        for note in file.notes:
            warn(note)

    @dlt.resource(
        name=LEDGER.name,
        columns=cast("TTableSchemaColumns", LEDGER.hints),
        write_disposition=cast("Any", INSERT_ONLY),
        schema_contract=cast("TSchemaContract", CONTRACT),
    )
    def ledger() -> Iterator[Any]:
        yield LEDGER.schema.empty_table()  # the table is there, also where no file fills it
        for file in files:
            yield from _tables(file, account=account, hashed=hashed, read_at=read_at)

    @dlt.source(name=NAME)
    def earnings_source() -> Any:
        return [ledger]

    return earnings_source()


def email_of(text: str | None) -> str | None:
    """The e-mail address that the text is, in lower case; null where it is none.

    >>> email_of(" Ann@Example.org "), email_of("mailto:ann@example.org"), email_of("https://ann@example.org/")
    ('ann@example.org', 'ann@example.org', None)
    """
    found = _EMAIL.match((text or "").strip())
    return found.group(1).lower() if found else None


def _tables(file: ActivityFile, *, account: str | None, hashed: Hashed, read_at: datetime) -> Iterator[pa.Table]:
    """The file's rows as the raw table has them, keyed; a batch of the file is a table."""
    is_stripe = "stripe_status" in file.columns
    copies: Counter[str] = Counter()
    for batch in file.batches():
        keyed: dict[str, Row] = {}
        for said in batch.iter_rows(named=True):
            row = _row(said, is_stripe=is_stripe, account=account, hashed=hashed, file=file)
            key = _key(row)
            copies[key] += 1
            if copies[key] > 1:
                if row["earning"]:
                    continue  # the same id saying the same: once is enough
                key = _digest(f"{key} again {copies[key] - 1}")
            keyed[key] = row
        yield _arrow(keyed, read_at)


def _row(said: Row, *, is_stripe: bool, account: str | None, hashed: Hashed, file: ActivityFile) -> Row:
    """One row without an address in it: also one that stands in the wrong column is hashed."""
    known: Row = {name: said.get(name) for name in COLUMNS["earnings"]}
    given, person = (known[name] for name in ("email", "person"))
    email = email_of(given) or email_of(person)
    person = None if email_of(person) else person
    digests = [email, _of(email, "md5"), _of(email, "sha256")] if email else [None] * 3
    names = ("email_hash", "email_md5_hash", "email_sha256_hash")
    hashes = {name: hashed(digest) if digest else None for name, digest in zip(names, digests, strict=True)}
    # Somebody is meant, although nothing that can be read as an address: told apart, never stored.
    if given and given.strip() and not email:
        hashes["email_hash"] = hashed(given.strip().lower())
    return {
        **{name: value for name, value in known.items() if name not in ("account", "email")},
        **hashes,
        "person": person,
        "account_id": (said.get("account") if "account" in file.columns else account) or NO_ACCOUNT,
        "at_utc": said["at_utc"],
        "is_stripe": is_stripe,
        "problem": said["problem"],
        "file": file.path.name,
        "row_number": said["row_number"],
    }


def _of(email: str, algorithm: str) -> str:
    """The digest by which services of avatars name an address: an id to look for, not a protection."""
    return hashlib.new(algorithm, email.encode(), usedforsecurity=False).hexdigest()


def _key(row: Row) -> str:
    """A hash of what the row says; a field that is not there adds nothing, so later columns change no old key."""
    said = {name: value for name, value in row.items() if value is not None and name not in _PLACE}
    if row["problem"]:
        said |= {name: row[name] for name in ("file", "row_number")}  # what was not kept cannot tell rows apart
    return _digest(json.dumps(said, sort_keys=True, default=_text))


def _text(value: object) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _arrow(keyed: dict[str, Row], read_at: datetime) -> pa.Table:
    columns: dict[str, Sequence[Any]] = {"row_hash": list(keyed), "loaded_at": [read_at] * len(keyed)}
    return pa.Table.from_arrays(
        [
            pa.array(columns.get(field.name) or [row.get(field.name) for row in keyed.values()], type=field.type)
            for field in LEDGER.schema
        ],
        schema=LEDGER.schema,
    )
