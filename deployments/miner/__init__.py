"""The miner's agent."""
