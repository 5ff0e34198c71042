"""Raw to staging: one file a platform. Rename, type, deduplicate, set aside what cannot be read."""
