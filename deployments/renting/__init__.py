"""The renter's side of the market: a client of its HTTP API, and what stands around it on the renter's computer."""
