"""The fixtures of all tests on hosts: one test bed for tests/hosts and tests/faults."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "hosts"))
sys.path.insert(0, str(Path(__file__).parent / "faults"))

from figures import figures, show_figures
from fixtures import bed, checkout, show_what_is_wrong
from schedule import pytest_addoption
from sets import infrastructure

__all__ = ["bed", "checkout", "figures", "infrastructure", "pytest_addoption"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lift the time limit of pyproject.toml from tests on hosts, which take minutes."""
    for item in items:
        if not item.path.is_relative_to(Path(__file__).parent / "unit"):
            item.add_marker(pytest.mark.timeout(0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Below the list of what failed."""
    show_figures(terminalreporter, config)
    show_what_is_wrong(terminalreporter)
