"""The credential of our Prefect server, in the environment. Imported before Prefect, which reads its settings when it is imported."""

from __future__ import annotations

import os

from deployments.prefect_auth import take_auth

take_auth(os.environ)
