"""Environment of a task: the variables that it sees, and those that a server shares between attempts."""

from pathlib import Path

from framework.files import AttemptFiles, WorkerFiles
from framework.runner.environment import shared_environment, task_environment

FILES: AttemptFiles = WorkerFiles(Path("/a worker's data")).attempt("0123456789abcdef", 3)
FIXED = {
    "PYTHONPATH": "/code/v1",
    "PYTHONUNBUFFERED": "1",
    "TASK_ID": "0123456789abcdef",
    "TASK_ATTEMPT": "3",
    "TASK_DIR": "/a worker's data/tasks/0123456789abcdef/3/files",
}


def test_a_task_sees_a_few_of_the_workers_variables_and_its_own() -> None:
    passed = {
        "PATH": "/bin", "HOME": "/tmp", "USER": "me", "LANG": "C", "TZ": "UTC", "TMPDIR": "/t",
        "LD_LIBRARY_PATH": "/lib", "PYTHONPYCACHEPREFIX": "/cache",
        "CUDA_CACHE_PATH": "x", "LC_ALL": "C", "NVIDIA_VISIBLE_DEVICES": "all", "OMP_NUM_THREADS": "2",
    }  # fmt: skip
    hidden = {
        "BROKER": "secret", "CELERY_KEY": "secret", "LD_PRELOAD": "x.so", "PYTHONSTARTUP": "x.py",
        "PATHS": "x", "PYTHONPATH": "/other", "TASK_DIR": "/other", "TASK_ID": "other", "TASK_ATTEMPT": "9",
        "PYTHONUNBUFFERED": "",
    }  # fmt: skip
    assert task_environment(passed | hidden, FILES, Path("/code/v1"), {}) == passed | FIXED


def test_what_the_task_was_given_replaces_the_workers_variable_and_never_its_own() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "all", "PATH": "/bin"}
    extra = {"CUDA_VISIBLE_DEVICES": "GPU-1", "DEVICE": "x", "TASK_DIR": "/other"}
    assert task_environment(given, FILES, Path("/code/v1"), extra) == {
        "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "GPU-1", "DEVICE": "x", **FIXED,
    }  # fmt: skip


def test_attempts_share_everything_but_their_own_variables() -> None:
    first, second = (
        task_environment({"PATH": "/bin"}, WorkerFiles(Path("/data")).attempt(task, 1), Path("/code/v1"), {})
        for task in ("0" * 16, "1" * 16)
    )
    assert first != second
    shared = {"PATH": "/bin", "PYTHONPATH": "/code/v1", "PYTHONUNBUFFERED": "1"}
    assert shared_environment(first) == shared_environment(second) == shared
