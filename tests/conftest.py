"""The fixtures of all tests on hosts: one test bed for tests/hosts and tests/faults."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "hosts"))

from fixtures import bed, checkout, pytest_terminal_summary

__all__ = ["bed", "checkout", "pytest_terminal_summary"]
