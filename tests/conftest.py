"""The fixtures of all tests on hosts: one test bed for tests/hosts and tests/faults."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "hosts"))
sys.path.insert(0, str(Path(__file__).parent / "faults"))

from fixtures import bed, checkout, pytest_terminal_summary
from sets import infrastructure

__all__ = ["bed", "checkout", "infrastructure", "pytest_terminal_summary"]
