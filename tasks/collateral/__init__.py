"""Collateral: what a machine needs, what is deposited for it, and every move of it, exact to the rao."""
