"""The best combinations, and what is to be said about the metric that they are ranked by."""

from __future__ import annotations

import sys

from framework.journal.ranking import ranking
from framework.journal.store import Journal
from framework.journal.unreported_metric import metric_warning
from framework.project.project import Project


def print_best(project: Project, journal: Journal, number: int) -> None:
    """Print the `number` best combinations, and a warning if tasks have not reported the metric."""
    if table := ranking(project, journal, number):
        print(table, flush=True)
    if warning := metric_warning(project, journal):
        print(warning, file=sys.stderr)
