"""Renting: leases, prices and money as rules over records, and the steps that do them."""
