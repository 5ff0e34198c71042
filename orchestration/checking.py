"""`rapport check`: every suite again, on the warehouse as it stands."""

from orchestration.settings import Settings
from orchestration.warehouse import Warehouse
from quality.catalog.tables import TABLES
from quality.expectations import validate


def run(settings: Settings) -> tuple[bool, str]:
    """Whether every contract holds, and a line for each table with what failed.

    Raises `LookupError` where there is no warehouse yet.
    """
    if not settings.warehouse_path.exists():
        raise LookupError(f"{settings.warehouse_path} does not exist yet: `rapport run` makes the first night.")
    warehouse = Warehouse(settings.warehouse_path, settings.duckdb_memory)
    present = {name: warehouse.previous(name) for name, table in TABLES.items() if warehouse.has(table.layer, name)}
    warehouse.close()
    lines, holds = [], True
    for name, previous in present.items():
        for severity in ("contract", "watch"):
            verdict = validate(
                TABLES[name],
                warehouse_path=warehouse.path,
                previous=previous,
                severity=severity,
                memory=warehouse.memory,
            )
            if severity == "contract" and not verdict.passed:
                holds = False
            mark = "✓" if verdict.passed else ("✗" if severity == "contract" else "!")
            lines.append(f"{mark} {name:<32} {severity:<9} {verdict.expectations} expectations")
            lines += [f"    {failure.message}" for failure in verdict.failures]
    return holds, "\n".join(lines)
