"""Environment of a task: the variables that its program sees, put together in one place."""

from collections.abc import Mapping
from pathlib import Path

from framework.files import AttemptFiles

# The worker's environment holds more than a task may see: only these variables are passed on.
_PASSED_NAMES = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPYCACHEPREFIX")
_PASSED_PREFIXES = ("CUDA_", "LC_", "NVIDIA_", "OMP_", "WANDB_")

_ATTEMPT_NAMES = ("TASK_ID", "TASK_ATTEMPT", "TASK_DIR", "TASK_PREVIOUS_DIR")


def task_environment(
    given: Mapping[str, str], files: AttemptFiles, code_path: Path, extra: Mapping[str, str]
) -> dict[str, str]:
    """Return all variables that the attempt with `files` sees, in its program and in `${envvar:NAME}`.

    `given` is the worker's environment, of which a few variables are passed on. `code_path` is the directory
    that holds the package `framework`. `extra` are the variables of the devices that the task was given.
    TASK_PREVIOUS_DIR is there only if an earlier attempt ran on this host.
    """
    previous = files.previous_work
    passed = {
        name: value
        for name, value in given.items()
        if name in _PASSED_NAMES or name.startswith(_PASSED_PREFIXES)
    }
    return {
        **passed,
        **extra,
        "PYTHONPATH": str(code_path / "framework" / "in_tasks"),
        "PYTHONUNBUFFERED": "1",  # metrics in a buffer are seen only when it is full
        "TASK_ID": files.task,
        "TASK_ATTEMPT": str(files.attempt),
        "TASK_DIR": str(files.work),
        **({"TASK_PREVIOUS_DIR": str(previous)} if previous else {}),
    }


def shared_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a task's environment that do not belong to one attempt."""
    return {name: value for name, value in environment.items() if name not in _ATTEMPT_NAMES}
