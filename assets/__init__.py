"""The transformations: staging, core, folds and marts as assets; the mathematics in `metrics`."""
