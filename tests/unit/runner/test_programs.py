"""Commands: their arguments, environment and input, and the reasons for which they do not start."""

import json
import os
import sys
from pathlib import Path

import pytest
from attempt_bench import ENVIRONMENT, TASK, TASK_PATH, CommandBench


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["no-such-program"], "command not found: 'no-such-program'; it must be in the image"),
        (["./data.txt"], "'./data.txt' is not executable; run chmod +x"),
        (["./broken"], "'./broken' cannot be executed: Exec format error"),
        (["./lost"], "command not found: './lost'"),
        (["echo", "a\0b"], "'echo' cannot be executed: embedded null byte"),
        (["echo", "x" * 3_000_000], "'echo' cannot be executed: Argument list too long"),
    ],
)
def test_a_program_that_never_starts(commands: CommandBench, argv: list[str], reason: str) -> None:
    (commands.project / "data.txt").touch()
    for name, text in (("broken", "no script"), ("lost", "#!/no/such/interpreter\n")):
        (commands.project / name).write_text(text)
        (commands.project / name).chmod(0o755)
    found = commands.run(*argv)
    assert (found.state, found.exit_code) == ("failed", None)
    assert found.reason.startswith(reason)
    assert list(commands.files.work.iterdir()) == []


def test_arguments_arrive_as_they_are(commands: CommandBench) -> None:
    arguments = ["--x=", "--y=a b", '--z=it\'s "$HOME" * \n\t\\', "grüße 🚲", "-", "--"]
    commands.run(sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *arguments)
    assert json.loads(commands.files.stdout.read_text()) == arguments


def test_the_environment_is_what_a_task_may_see(commands: CommandBench) -> None:
    commands.python("import json, os; print(json.dumps(dict(os.environ)))")
    seen = json.loads(commands.files.stdout.read_text())
    seen.pop("LC_CTYPE", None)  # Python's own, where no locale is set
    assert seen == {
        **ENVIRONMENT, "PYTHONUNBUFFERED": "1", "PYTHONPATH": TASK_PATH,
        "TASK_ID": TASK, "TASK_ATTEMPT": "3", "TASK_DIR": str(commands.files.work),
        "PWD": str(commands.files.work),
    }  # fmt: skip


def test_standard_input_is_empty(commands: CommandBench) -> None:
    own = os.dup(0)
    reader, writer = os.pipe()
    os.write(writer, b"the worker's\n")
    os.dup2(reader, 0)
    for descriptor in (reader, writer):
        os.close(descriptor)
    try:
        assert commands.shell("cat").state == "done"
    finally:
        os.dup2(own, 0)
        os.close(own)
    assert commands.files.stdout.read_text() == ""


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_program_that_opens_its_output_again_overwrites_nothing(commands: CommandBench, name: str) -> None:
    number = {"stdout": 1, "stderr": 2}[name]
    commands.shell(f"echo 1 >&{number}; echo 2 >>/dev/{name}; echo 3 >&{number}")
    commands.shell(f"echo 4 >&{number}")
    assert (commands.files.directory / name).read_text() == "1\n2\n3\n4\n"


def test_the_kernel_prefers_the_task_when_memory_is_short(commands: CommandBench) -> None:
    score = min(int(Path("/proc/self/oom_score_adj").read_text()) + 500, 1000)
    found = commands.shell(f"until [ $(cat /proc/self/oom_score_adj) = {score} ]; do sleep 0.02; done")
    assert found.state == "done"
