"""Bandwidth, smoothed over epochs so that one slow or lucky minute does not decide."""

from __future__ import annotations


def smooth(previous: float | None, sample: float, weight: float) -> float:
    """Return weight x sample + (1 - weight) x previous; a first sample stands alone."""
    return sample if previous is None else weight * sample + (1 - weight) * previous
