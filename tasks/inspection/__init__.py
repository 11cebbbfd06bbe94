"""Facts asked in one round trip, and the checks over them."""
