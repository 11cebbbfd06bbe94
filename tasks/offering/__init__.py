"""What a miner offers: its own file of machines and terms, changes to it, and what validators told of them."""
