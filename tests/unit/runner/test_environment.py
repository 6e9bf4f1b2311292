"""Environment of a task: the variables that it sees, and those that a server shares between attempts."""

from pathlib import Path

from framework.files import AttemptFiles, WorkerFiles
from framework.runner.environment import shared_environment, task_environment

FILES: AttemptFiles = WorkerFiles(Path("/a worker's data")).attempt("0123456789abcdef", 3)
FIXED = {
    "PYTHONPATH": "/code/v1/framework/in_tasks",
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


def test_a_later_attempt_sees_the_directory_of_the_last_one_that_ran_on_this_host(tmp_path: Path) -> None:
    attempts = [WorkerFiles(tmp_path).attempt("0" * 16, number) for number in (1, 2, 3)]
    attempts[0].work.mkdir(parents=True)
    environments = [task_environment({}, files, Path("/code/v1"), {}) for files in attempts]
    assert "TASK_PREVIOUS_DIR" not in environments[0]
    assert [each["TASK_PREVIOUS_DIR"] for each in environments[1:]] == [str(attempts[0].work)] * 2
    attempts[1].directory.mkdir()
    attempts[1].work.touch()  # no directory
    assert task_environment({}, attempts[2], Path("/code/v1"), {}) == environments[2]
    attempts[1].work.unlink()
    attempts[1].work.mkdir()
    last = task_environment({}, attempts[2], Path("/code/v1"), {})
    assert last["TASK_PREVIOUS_DIR"] == str(attempts[1].work)
    assert "TASK_PREVIOUS_DIR" not in shared_environment(last)


def test_attempts_share_everything_but_their_own_variables() -> None:
    first, second = (
        task_environment({"PATH": "/bin"}, WorkerFiles(Path("/data")).attempt(task, 1), Path("/code/v1"), {})
        for task in ("0" * 16, "1" * 16)
    )
    assert first != second
    shared = {"PATH": "/bin", "PYTHONPATH": "/code/v1/framework/in_tasks", "PYTHONUNBUFFERED": "1"}
    assert shared_environment(first) == shared_environment(second) == shared
