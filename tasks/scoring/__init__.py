"""Scores in pandas, one function a term."""
