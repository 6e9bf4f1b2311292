"""Environment of a task: the variables that it sees, and those that a server shares between attempts."""

from pathlib import Path

from framework.files import AttemptFiles, WorkerFiles
from framework.runner.environment import attempt_variables, given_environment, shared_environment

FILES: AttemptFiles = WorkerFiles(Path("/a worker's data")).attempt("0123456789abcdef", 3)
FIXED = {
    "PWD": "/a worker's data/tasks/0123456789abcdef/3/files",
    "PYTHONPATH": "/code/v1/framework/in_tasks",
    "PYTHONUNBUFFERED": "1",
    "TASK_ID": "0123456789abcdef",
    "TASK_ATTEMPT": "3",
    "TASK_DIR": "/a worker's data/tasks/0123456789abcdef/3/files",
}


def variables(
    given: dict[str, str], files: AttemptFiles = FILES, extra: dict[str, str] | None = None
) -> dict[str, str]:
    """What a task sees: what its runner has, and on top of it what the worker adds."""
    given = given_environment(given)
    return {**given, **attempt_variables(files, Path("/code/v1"), given, extra or {})}


def test_a_task_sees_all_variables_of_the_image_and_its_own() -> None:
    passed = {
        "PATH": "/bin", "HOME": "/tmp", "LANG": "C", "LD_LIBRARY_PATH": "/lib", "LD_PRELOAD": "x.so",
        "CUDA_HOME": "/usr/local/cuda", "PYTHONSTARTUP": "x.py", "OF_THE_IMAGE": "x", "EMPTY": "",
    }  # fmt: skip
    replaced = {
        "PWD": "/",
        "TASK_DIR": "/other",
        "TASK_ID": "other",
        "TASK_ATTEMPT": "9",
        "PYTHONUNBUFFERED": "",
    }
    assert variables(passed | replaced) == passed | FIXED


def test_a_task_does_not_see_what_its_runner_alone_is_told() -> None:
    assert variables({"IMAGE": "me/mine:1"}) == FIXED


def test_the_path_of_the_images_packages_is_extended() -> None:
    found = variables({"PYTHONPATH": "/opt/theirs:/opt/more"})
    assert found["PYTHONPATH"] == "/code/v1/framework/in_tasks:/opt/theirs:/opt/more"
    assert variables({"PYTHONPATH": ""})["PYTHONPATH"] == FIXED["PYTHONPATH"]


def test_what_the_task_was_given_replaces_the_runners_variable_and_never_its_own() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "all", "PATH": "/bin"}
    extra = {"CUDA_VISIBLE_DEVICES": "GPU-1", "DEVICE": "x", "TASK_DIR": "/other"}
    assert variables(given, extra=extra) == {
        "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "GPU-1", "DEVICE": "x", **FIXED,
    }  # fmt: skip


def test_a_later_attempt_sees_the_directory_of_the_last_one_that_ran_on_this_host(tmp_path: Path) -> None:
    attempts = [WorkerFiles(tmp_path).attempt("0" * 16, number) for number in (1, 2, 3)]
    attempts[0].work.mkdir(parents=True)
    environments = [variables({}, files) for files in attempts]
    assert "TASK_PREVIOUS_DIR" not in environments[0]
    assert [each["TASK_PREVIOUS_DIR"] for each in environments[1:]] == [str(attempts[0].work)] * 2
    attempts[1].directory.mkdir()
    attempts[1].work.touch()  # no directory
    assert variables({}, attempts[2]) == environments[2]
    attempts[1].work.unlink()
    attempts[1].work.mkdir()
    last = variables({}, attempts[2])
    assert last["TASK_PREVIOUS_DIR"] == str(attempts[1].work)
    assert "TASK_PREVIOUS_DIR" not in shared_environment(last)


def test_attempts_share_everything_but_their_own_variables() -> None:
    first, second = (
        variables({"PATH": "/bin"}, WorkerFiles(Path("/data")).attempt(task, 1))
        for task in ("0" * 16, "1" * 16)
    )
    assert first != second
    shared = {"PATH": "/bin", "PYTHONPATH": "/code/v1/framework/in_tasks", "PYTHONUNBUFFERED": "1"}
    assert shared_environment(first) == shared_environment(second) == shared
