"""A whole subnet on one machine."""
