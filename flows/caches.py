"""Where libraries keep their caches: in our own folder, never in the home folder. Imported before those libraries are."""

from __future__ import annotations

import os
from pathlib import Path

# matplotlib keeps a list of fonts; it looks at this once, when it is imported.
os.environ.setdefault(
    "MPLCONFIGDIR", str(Path(os.environ.get("SUBNET_FOLDER", ".local")).absolute() / "cache" / "matplotlib")
)
