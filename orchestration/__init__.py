"""The night: settings, warehouse, Dagster definitions, publishing, command line."""
