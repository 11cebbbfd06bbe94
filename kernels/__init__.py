"""Compute: NumPy and Numba only; shipped to the executor as it is."""
