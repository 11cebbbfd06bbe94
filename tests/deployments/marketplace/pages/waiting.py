"""Waiting for what happens in another thread."""

import threading


def until(look):
    """What it comes to, within seconds."""
    for _ in range(500):
        if found := look():
            return found
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")
