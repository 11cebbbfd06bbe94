"""One module a command; `deployments.cli` imports one only when it is called."""
