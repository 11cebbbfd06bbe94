"""The GPU proof: challenge, wave, verdict."""
