"""A miner brings its machines in: what they must have, what they lack, and the command that mends it."""
