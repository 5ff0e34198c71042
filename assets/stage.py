"""Staging as assets: `stg_<source>__<shape>` is the function `<shape>` of `assets/staging/<source>.py`.

Its parameters are the source's raw tables, or other tables by their whole name. Which source fills
which shapes is the catalogue's to say, so a new platform changes nothing here.
"""

from functools import partial
from importlib import import_module

import dagster as dg

from assets.ingest import asset_name
from assets.table import asset_of
from quality.catalog.staging import SOURCES
from quality.catalog.tables import TABLES


def _raw(source: str, parameter: str) -> tuple[str, ...]:
    return (parameter if parameter in TABLES else asset_name(source, parameter),)


def _assets() -> list[dg.AssetsDefinition]:
    definitions = []
    for source, shapes in SOURCES.items():
        module = import_module(f"assets.staging.{source}")
        definitions += [
            asset_of(TABLES[f"stg_{source}__{shape}"], getattr(module, shape), partial(_raw, source))
            for shape in shapes
        ]
    return definitions


ASSETS = _assets()
