"""The outside world, one narrow seam each."""
