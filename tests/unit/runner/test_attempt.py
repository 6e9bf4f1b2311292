"""Attempts as they really run: exit codes, signals, time limits, and what is left of them."""

import asyncio
import errno
import os
import sys
import threading

import pytest
from attempt_bench import ENVIRONMENT, CommandBench, gone, make_job, run_to_timeout
from runner_bench import wait_until

from framework.errors import FrameworkError
from framework.runner.attempt import Attempt, Execution
from framework.runner.children import Children
from framework.runner.functions import Functions
from framework.runner.orphans import task_processes
from framework.runner.process import End
from framework.runner.programs import _CommandProcess


def test_a_program_that_works(commands: CommandBench) -> None:
    found = commands.python(
        "import sys; print('Training: a=1, b=x'); print('oops', file=sys.stderr); print('a=2')"
    )
    assert (found.state, found.exit_code, found.reason) == ("done", 0, "")
    assert found.metrics == {"a": 2, "b": "x"}
    assert 0 < found.seconds < 60
    assert commands.files.stdout.read_text() == "Training: a=1, b=x\na=2\n"
    assert commands.files.stderr.read_text() == "oops\n"


@pytest.mark.parametrize(
    ("script", "exit_code", "reason"),
    [
        ("exit 3", 3, "exit code 3"),
        (
            "echo first >&2; echo 'the \033[1mlast\033[0m one' >&2; echo >&2; exit 1",
            1,
            "exit code 1: the  [1mlast [0m one",
        ),
        ("kill -9 $$", 137, "killed by SIGKILL (out of memory?)"),
        ("kill -SEGV $$", 139, "killed by SIGSEGV"),
        ("exit 137", 137, "exit code 137, as after SIGKILL (out of memory?)"),
        ("exit 192", 192, "exit code 192, as after SIGRTMAX"),
        ("exit 193", 193, "exit code 193"),
        ("exit 255", 255, "exit code 255"),
    ],
)
def test_a_program_that_fails(commands: CommandBench, script: str, exit_code: int, reason: str) -> None:
    found = commands.shell("ulimit -c 0; echo a=1; " + script)
    assert (found.state, found.exit_code, found.reason) == ("failed", exit_code, reason)
    assert found.metrics == {"a": 1}


def test_the_working_directory(commands: CommandBench) -> None:
    (commands.project / "data").mkdir()
    (commands.project / "data" / "a b.txt").write_text("from the project")
    (commands.project / "helper.py").write_text("X = 5")
    (commands.project / "main.py").write_text(
        "import helper, os\n"
        "assert os.getcwd() == os.environ['TASK_DIR'] and helper.X == 5\n"
        "print(open('data/a b.txt').read())\n"
        "open('mine.txt', 'w').write('kept')\n"
        "os.remove('helper.py'); open('helper.py', 'w').write('mine too')\n"
        "os.remove('link'); os.symlink('mine.txt', 'link')\n"
    )
    (commands.project / "link").touch()
    (commands.project / "metrics.json").write_text('{"stale": 1}')
    found = commands.run(sys.executable, "main.py")
    assert (found.state, found.metrics) == ("done", {})
    assert commands.files.stdout.read_text() == "from the project\n"
    assert sorted(path.name for path in commands.files.work.iterdir()) == ["helper.py", "link", "mine.txt"]
    assert (commands.project / "helper.py").read_text() == "X = 5"


def test_a_metrics_file_of_the_project_is_neither_read_nor_written(commands: CommandBench) -> None:
    (commands.project / "metrics.json").write_text('{"stale": 1}')
    found = commands.shell("""echo '{"a": 2}' >metrics.json""")
    assert (found.state, found.metrics) == ("done", {"a": 2})
    assert (commands.project / "metrics.json").read_text() == '{"stale": 1}'


def test_a_timeout_ends_the_whole_group(commands: CommandBench) -> None:
    script = "sleep 60 & echo $! > child; trap 'echo bye; exit 0' TERM; echo a=1; wait"
    found, timeout = run_to_timeout(lambda timeout: commands.shell(script, timeout=timeout))
    assert (found.state, found.exit_code, found.reason) == (
        "timeout",
        0,
        f"ran longer than its timeout of {timeout:g} s",
    )
    assert found.seconds < 59
    assert found.metrics == {"a": 1}
    assert commands.files.stdout.read_text().endswith("a=1\nbye\n")
    wait_until(lambda: gone(int((commands.files.work / "child").read_text())))


def test_what_ignores_term_is_killed(commands: CommandBench) -> None:
    script = "trap '' TERM; echo a=1; while :; do sleep 0.1; done"
    found, timeout = run_to_timeout(lambda timeout: commands.shell(script, timeout=timeout))
    assert (found.state, found.exit_code) == ("timeout", 137)
    assert found.seconds > timeout + 0.2, "GRACE_SECONDS"


def test_stop(commands: CommandBench) -> None:
    def stop() -> None:
        wait_until((commands.files.work / "began").exists)
        commands.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    found = commands.shell("touch began; exec sleep 100", timeout=None)
    thread.join()
    assert (found.state, found.reason) == ("stopped", "stopped by the master, or because its worker stopped")
    assert found.seconds < 90


def test_what_is_left_in_the_group_is_killed(commands: CommandBench) -> None:
    found = commands.shell("(trap '' TERM HUP; sleep 60) & echo $! > child; exit 0")
    assert found.state == "done"
    assert found.seconds < 50
    wait_until(lambda: gone(int((commands.files.work / "child").read_text())))


def test_what_is_left_in_another_session_is_ended(commands: CommandBench) -> None:
    found = commands.python("import subprocess; subprocess.Popen(['sleep', '60'], start_new_session=True)")
    assert (found.state, found.exit_code) == ("done", 0)
    assert found.reason == "processes that it left running were ended: 1"
    assert list(task_processes(commands.files.directory)) == []


def test_a_worker_in_another_session_outlives_no_timeout(commands: CommandBench) -> None:
    program = (
        "import signal, subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "process = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "print('a=1', flush=True)\nprocess.wait()"
    )
    found, timeout = run_to_timeout(lambda timeout: commands.python(program, timeout=timeout))
    assert (found.state, found.exit_code) == ("timeout", 137)
    assert found.reason.endswith(f"of {timeout:g} s; processes that it left running were ended: 1")
    assert list(task_processes(commands.files.directory)) == []


def test_a_task_that_removes_its_directory(commands: CommandBench) -> None:
    assert commands.shell('rm -r "$TASK_DIR"').state == "done"


def test_a_host_that_is_short_of_something(commands: CommandBench) -> None:
    commands.files.directory.parent.mkdir(parents=True)
    commands.files.directory.touch()  # stands where the directory should be
    with pytest.raises(FrameworkError, match="cannot be prepared"):
        commands.shell("true")


def test_a_host_that_is_short_of_processes(commands: CommandBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_spawn", fail)
        with pytest.raises(FrameworkError, match="cannot start a process: Resource temporarily"):
            commands.shell("true")
    assert commands.shell("true").state == "done", "it can be run again"


def test_what_is_written_at_the_very_end_is_read(commands: CommandBench) -> None:
    found = commands.shell("sleep 0.6; yes 'some text' | head -c 3000000; echo a=1; printf b=2")
    assert found.metrics == {"a": 1, "b": 2}


def test_a_stop_before_it_begins(commands: CommandBench) -> None:
    found = asyncio.run(stopped_at_once(commands))
    assert found.state == "stopped"
    assert found.seconds < 50


@pytest.mark.parametrize(("script", "state"), [("exit 0", "done"), ("exit 3", "stopped")])
def test_a_stop_at_the_end_changes_nothing_for_what_has_worked(
    commands: CommandBench, monkeypatch: pytest.MonkeyPatch, script: str, state: str
) -> None:
    on_end = _CommandProcess._on_end
    monkeypatch.chdir(commands.project)  # a program is started in another one

    async def run() -> Execution:
        children = Children()
        job = make_job(commands.files, commands.project, command=["sh", "-c", script])
        attempt = Attempt(job, ENVIRONMENT, children, Functions(children), commands.on_metrics)

        def stop_at_end(process: _CommandProcess, end: End) -> None:
            on_end(process, end)
            attempt.stop()

        monkeypatch.setattr(_CommandProcess, "_on_end", stop_at_end)
        return await attempt.run()

    assert asyncio.run(run()).state == state


async def stopped_at_once(commands: CommandBench) -> Execution:
    children = Children()
    job = make_job(commands.files, commands.project, command=["sleep", "60"])
    attempt = Attempt(job, ENVIRONMENT, children, Functions(children), commands.on_metrics)
    attempt.stop()
    return await attempt.run()


def test_many_at_once(commands: CommandBench) -> None:
    scripts = [f"sleep 0.{number % 4}; echo n={number}; exit {number % 3}" for number in range(40)]
    found = commands.run_all(
        (commands.attempt(f"{number:016x}"), ["sh", "-c", script]) for number, script in enumerate(scripts)
    )
    assert [(each.exit_code, each.metrics) for each in found] == [
        (number % 3, {"n": number}) for number in range(40)
    ]


def test_no_file_stays_open(commands: CommandBench) -> None:
    before = (len(os.listdir("/proc/self/fd")), threading.active_count())
    for number in range(5):
        commands.run("true", files=commands.attempt(f"{number:016x}"))
        commands.run("no-such-program", files=commands.attempt(f"{number:016x}"))
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
