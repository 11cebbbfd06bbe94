"""How it runs, one folder a role."""
