"""Where the bench leaves its table and its working files."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("SUBNET_FOLDER") or REPOSITORY / ".local").expanduser().absolute()
