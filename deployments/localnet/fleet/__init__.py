"""The fleet: thousands of simulated executors, near and far, some of them broken or hostile, for measuring epochs at size."""
