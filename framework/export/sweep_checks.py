"""Check of sweep.json: a host has sent it, and reports and exports are made of it"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from framework.messages.checks import Check, are_metrics, is_bool, is_duration, is_time
from framework.messages.task_ids import is_task_id
from framework.space.values import value_problem

_MOST = 2**63
_LATER = {"outdated", "complete"}  # older versions have not written them


def sweep_problem(sweep: object) -> str | None:
    """What is wrong with the content of a sweep.json of version 1; None if nothing is."""
    return _problem(sweep, _HEAD, "it")


def _problem(content: object, checks: Mapping[str, Check], name: str) -> str | None:
    if not isinstance(content, dict):
        return f"{name} is no object"
    for field in checks.keys() - _LATER - content.keys():
        return f"{name} has no {field}"
    for field in [each for each in checks if each in content]:
        if not checks[field](content[field]):
            return f"{name} has a wrong {field}: {content[field]!r:.100}"
    for field in ("tasks", "under_way") if checks is _HEAD else ():
        for number, task in enumerate(content[field], start=1):
            if problem := _problem(task, _TASK, f"number {number} of its {field}"):
                return problem
    return None


def _or_none(is_valid: Check) -> Check:
    return lambda value: value is None or is_valid(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value_problem(value) is None


def _is_list(is_valid: Callable[[Any], bool]) -> Check:
    return lambda value: isinstance(value, list) and all(map(is_valid, value))


def _is_whole(value: object) -> bool:
    return type(value) is int and abs(value) < _MOST


def _is_count(value: object) -> bool:
    return _is_whole(value) and value >= 0  # type: ignore[operator]  # it is a number


def _are_values(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_text(name) and not value_problem(value[name]) for name in value
    )


_HEAD: dict[str, Check] = {
    "project": _is_text,
    "metric": _or_none(_is_text),
    "goal": lambda value: value in ("maximize", "minimize"),
    "written": is_time,
    "combinations": _is_count,
    "parameters": _is_list(_is_text),
    "metrics": _is_list(_is_text),
    "warning": _or_none(_is_text),
    "outdated": _is_count,
    "complete": is_bool,
    "tasks": _is_list(lambda value: isinstance(value, dict)),
    "under_way": _is_list(lambda value: isinstance(value, dict)),
}
_TASK: dict[str, Check] = {
    "task": is_task_id,
    "number": _is_count,
    "state": _is_text,
    "host": _is_text,
    "started": _or_none(is_time),
    "seconds": _or_none(is_duration),
    "exit_code": _or_none(_is_whole),
    "code": _is_text,
    "reason": _is_text,
    "program": _is_text,
    "parameters": _are_values,
    "metrics": are_metrics,
}
