"""Locations of code and data in the containers, and of local runs."""

from __future__ import annotations

import os
from pathlib import Path

CODE = Path(os.environ.get("CODE", "/code"))
DATA = Path(os.environ.get("DATA", "/data"))
LOCAL_RUNS = Path("results/local")  # get_results.sh writes nothing there, and pushes leave out results/
