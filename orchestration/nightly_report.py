"""The report of a home: marts and names from the warehouse, the page to `published/report/`."""

from pathlib import Path

import polars as pl

from orchestration import report
from orchestration.settings import Settings
from orchestration.warehouse import Warehouse


def build_report(warehouse: Warehouse, settings: Settings) -> Path:
    """Write the report of the newest published night, and return its path.

    Raises `LookupError` where nothing was published yet.
    """
    as_of = warehouse.newest()
    if as_of is None:
        raise LookupError("Nothing was published yet: `rapport run` makes the first night.")
    own = [account.name for account in settings.accounts if account.is_own]
    html = report.build(
        lambda name: warehouse.read(name, as_of).collect(),
        as_of=as_of,
        accounts=own or None,
        names=_names(warehouse) if settings.report_names else None,
    )
    return report.write(html, settings.published / "report")


def _names(warehouse: Warehouse) -> dict[str, str]:
    """The best known name of each person: the display name, else the native id."""
    identity = warehouse.read("dim_identity").select("identity_id", "person_id")
    named = (
        warehouse.read("identity_name")
        .join(identity, on="identity_id")
        .select("person_id", "identity_id", name=pl.coalesce("person_name", "person"))
        .sort("person_id", "identity_id")
        .group_by("person_id", maintain_order=True)
        .agg(pl.col("name").first())
        .collect()
    )
    return dict(named.iter_rows())
