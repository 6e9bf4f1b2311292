"""Warning about the project's metric: tasks are done and have not reported it."""

from __future__ import annotations

from framework.journal.store import Journal
from framework.project.project import Project

_NAMES_SHOWN = 10  # metrics that were reported in place of the project's


def metric_warning(project: Project, journal: Journal) -> str:
    """Say what done tasks of the current sweep lack of the project's metric; empty if it is there."""
    if project.metric is None:
        return ""
    done, reported, finite = journal.metric_counts(project.metric)
    if done and not reported:
        return unreported_message(project.metric, journal)
    if reported < done:
        return f"{done - reported} of {done} tasks that are done have not reported {project.metric}"
    if done and not finite:
        return f"{project.metric} is nan or infinite in all tasks that are done: nothing is ranked"
    return ""


def unreported_message(metric: str, journal: Journal) -> str:
    """Say that no task has reported `metric`, and which metrics were reported."""
    names = sorted(journal.sweep_metric_names())
    if metric in names:
        return f"no task has reported {metric} as a number"
    if not names:
        return f"no task has reported {metric}, or any other metric; print lines such as '{metric}=0.5'"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"no task has reported {metric}; reported: {', '.join(names[:_NAMES_SHOWN])}{more}"
