"""Environment of a task: the variables that its program sees, put together in one place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Mapping

from framework.files import AttemptFiles

_ATTEMPT_NAMES = (
    *("PWD", "TASK_ID", "TASK_ATTEMPT", "TASK_DIR", "TASK_PREVIOUS_DIR"),
    *("TASK_SLOT", "MASTER_PORT"),
)
_OWN_NAMES = ("IMAGE", "INFRAINIT_MOUNTS")  # what the runner itself is told


def given_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the runner that its tasks see too: those of the image, or of the user."""
    return {name: value for name, value in environment.items() if name not in _OWN_NAMES}


def attempt_variables(
    files: AttemptFiles,
    code_path: Path,
    given: Mapping[str, str],
    extra: Mapping[str, str],
    workdir: str = "",
) -> dict[str, str]:
    """Return the variables that an attempt sees beside those that it is `given`, or in their place.

    `code_path` is the directory that holds the package `framework`. `extra` are the variables of the devices
    that the task was given, and the like; `workdir` is as in Job. TASK_PREVIOUS_DIR is there only if an
    earlier attempt ran on this host.
    """
    previous = files.previous_work
    path = [os.path.join(code_path, "framework", "in_tasks"), given.get("PYTHONPATH", "")]
    return {
        **extra,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PWD": str(files.work / workdir),  # as a shell sets it
        "PYTHONUNBUFFERED": "1",  # metrics in a buffer are seen only when it is full
        "TASK_ID": files.task,
        "TASK_ATTEMPT": str(files.attempt),
        "TASK_DIR": str(files.work),
        **({"TASK_PREVIOUS_DIR": str(previous)} if previous else {}),
    }


def shared_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a task's environment that do not belong to one attempt."""
    return {name: value for name, value in environment.items() if name not in _ATTEMPT_NAMES}
