"""How it runs, one folder a role."""

from deployments.late_grammar import put_off

put_off()  # before anything here imports Prefect
