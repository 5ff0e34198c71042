"""The catalogue: every table from staging to marts, in the order in which they are derived."""

from quality.catalog import core, folds, marts, staging
from quality.catalog.model import Table

TABLES: dict[str, Table] = {
    table.name: table for table in (*staging.TABLES, *core.TABLES, *folds.TABLES, *marts.TABLES)
}
MARTS: dict[str, Table] = {table.name: table for table in marts.TABLES}
