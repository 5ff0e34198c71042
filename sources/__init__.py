"""Connectors: one file a platform. They know dlt and the platform, nothing else of this project."""
