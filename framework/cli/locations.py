"""Locations of code and data in the containers."""

from __future__ import annotations

import os
from pathlib import Path

CODE = Path(os.environ.get("CODE", "/code"))
DATA = Path(os.environ.get("DATA", "/data"))
