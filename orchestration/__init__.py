"""The night: settings, warehouse, Dagster definitions, publishing, command line."""

import os

# Fits are small: a second BLAS thread makes them three times slower. NumPy and SciPy ask when they are loaded, so
# this comes before every module of ours that imports them; whoever has set a number keeps it.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # noqa: TID251 - settings are read too late for that
