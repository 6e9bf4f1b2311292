"""Failed tasks of a sweep, grouped by their reason."""

from __future__ import annotations

import sys
from collections import Counter

from framework.journal.records import TaskRecord
from framework.journal.store import Journal
from framework.project.project import Project
from framework.scheduler.sweep_events import LONGEST_REASON, LogPlace, described
from framework.text import one_line

GROUPS_SHOWN = 5
_MOST_GROUPS = 1000  # that are told apart


def print_failures(project: Project, journal: Journal, log_place: LogPlace) -> None:
    """Print to stderr a line for each reason for which tasks have failed, the most frequent first.

    It names the first task of the group, in the order of the sweep, and where its logs are.
    """
    firsts: dict[str, TaskRecord] = {}
    tasks: Counter[str] = Counter()  # by reason
    for record in journal.ended_members():
        if record.state == "failed":
            if len(firsts) < _MOST_GROUPS or record.reason in firsts:
                firsts.setdefault(record.reason, record)
            tasks[record.reason if record.reason in firsts else ""] += 1
    shown = [(reason, count) for reason, count in tasks.most_common() if reason in firsts][:GROUPS_SHOWN]
    for reason, count in shown:
        first = firsts[reason]
        name = described(project.complete(first.number, first.parameters))
        example = name if count == 1 else f"{count} tasks, as {name},"
        hosts = " and ".join(sorted(journal.failed_on(first.task)) or [first.host])
        why = one_line(reason, LONGEST_REASON) or "no reason is known"
        print(f"failed: {example} on {hosts}: {why}; logs: {log_place(first)}", file=sys.stderr)
    if others := tasks.total() - sum(count for _, count in shown):
        print(f"failed for other reasons: {others}; see results.csv", file=sys.stderr)
