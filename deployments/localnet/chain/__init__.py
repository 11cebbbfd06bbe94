"""A whole chain in one SQLite file, injected into the unmodified bittensor SDK."""
