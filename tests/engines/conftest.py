"""What the engines' tests share: one small Spark session for all of them, where Spark can run."""

import importlib.util
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.spark import session, stop

SMALL = {
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "2",
    # Compiling a plan takes longer than running it on a few rows.
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}


def why_no_spark() -> str | None:
    """Why Spark cannot run here; null where it can."""
    if importlib.util.find_spec("pyspark") is None:
        return "PySpark is not installed (extra `spark`)"
    return None if shutil.which("java") else "Java is not installed, which Spark needs"


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Spark session of this process; its Java ends with the tests."""
    if reason := why_no_spark():
        pytest.skip(reason)
    folder: Path = tmp_path_factory.mktemp("spark")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = session("local[2]", folder=folder, memory="1GB", more=SMALL)
    yield opened
    stop(opened)
