"""Attempts as they really run: exit codes, signals, time limits, output, metrics, what is left of them."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from framework.errors import FrameworkError
from framework.files import AttemptFiles, WorkerFiles
from framework.messages.metrics import Metric
from framework.runner import attempt as execution
from framework.runner import output
from framework.runner.attempt import Execution, run_attempt
from framework.runner.environment import task_environment
from framework.runner.programs import Command

CODE = Path("/code/v1")
TASK = "0123456789abcdef"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/tmp",
    "BROKER": "secret",
    "CUDA_VISIBLE_DEVICES": "1",
    "LD_PRELOAD": "",
}


class Bench:
    """A project and a worker's disk."""

    def __init__(self, path: Path) -> None:
        self.project = path / "a project"
        self.project.mkdir()
        self.files = self.attempt(TASK)
        self.seen: list[dict[str, Metric]] = []
        self.stop = threading.Event()

    def attempt(self, task: str) -> AttemptFiles:
        return WorkerFiles(self.project.parent / "worker's data").attempt(task, 3)

    def run(self, *argv: str, timeout: float | None = 20.0, files: AttemptFiles | None = None) -> Execution:
        files = files or self.files
        environment = task_environment(ENVIRONMENT, files, CODE, {})
        return run_attempt(
            Command(argv), files, self.project, environment, timeout, self.on_metrics, self.stop
        )

    def on_metrics(self, metrics: dict[str, Metric]) -> None:
        self.seen.append(metrics)

    def python(self, program: str, timeout: float | None = 20.0) -> Execution:
        return self.run(sys.executable, "-c", program, timeout=timeout)

    def shell(self, script: str, timeout: float | None = 20.0) -> Execution:
        return self.run("sh", "-c", script, timeout=timeout)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "GRACE_SECONDS", 0.3)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    try:
        return (
            " Z " in Path(f"/proc/{pid}/stat").read_text() or " X " in Path(f"/proc/{pid}/stat").read_text()
        )
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def test_a_program_that_works(bench: Bench) -> None:
    found = bench.python(
        "import sys; print('Training: a=1, b=x'); print('oops', file=sys.stderr); print('a=2')"
    )
    assert (found.state, found.exit_code, found.reason) == ("done", 0, "")
    assert found.metrics == {"a": 2, "b": "x"}
    assert 0 < found.seconds < 10
    assert bench.files.stdout.read_text() == "Training: a=1, b=x\na=2\n"
    assert bench.files.stderr.read_text() == "oops\n"


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
        ("exit 255", 255, "exit code 255, as after signal 127"),
    ],
)
def test_a_program_that_fails(bench: Bench, script: str, exit_code: int, reason: str) -> None:
    found = bench.shell("ulimit -c 0; echo a=1; " + script)
    assert (found.state, found.exit_code, found.reason) == ("failed", exit_code, reason)
    assert found.metrics == {"a": 1}


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
def test_a_program_that_never_starts(bench: Bench, argv: list[str], reason: str) -> None:
    (bench.project / "data.txt").touch()
    for name, text in (("broken", "no script"), ("lost", "#!/no/such/interpreter\n")):
        (bench.project / name).write_text(text)
        (bench.project / name).chmod(0o755)
    found = bench.run(*argv)
    assert (found.state, found.exit_code) == ("failed", None)
    assert found.reason.startswith(reason)
    assert list(bench.files.work.iterdir()) == []


def test_arguments_arrive_as_they_are(bench: Bench) -> None:
    arguments = ["--x=", "--y=a b", '--z=it\'s "$HOME" * \n\t\\', "grüße 🚲", "-", "--"]
    bench.run(sys.executable, "-c", "import json, sys; print(json.dumps(sys.argv[1:]))", *arguments)
    assert json.loads(bench.files.stdout.read_text()) == arguments


def test_the_environment_is_what_a_task_may_see(bench: Bench) -> None:
    bench.python("import json, os; print(json.dumps(dict(os.environ)))")
    seen = json.loads(bench.files.stdout.read_text())
    seen.pop("LC_CTYPE", None)  # Python's own, where no locale is set
    assert seen == {
        "PATH": ENVIRONMENT["PATH"], "HOME": "/tmp", "CUDA_VISIBLE_DEVICES": "1", "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": str(CODE), "TASK_ID": TASK, "TASK_ATTEMPT": "3", "TASK_DIR": str(bench.files.work),
    }  # fmt: skip


def test_the_working_directory(bench: Bench) -> None:
    (bench.project / "data").mkdir()
    (bench.project / "data" / "a b.txt").write_text("from the project")
    (bench.project / "helper.py").write_text("X = 5")
    (bench.project / "main.py").write_text(
        "import helper, os\n"
        "assert os.getcwd() == os.environ['TASK_DIR'] and helper.X == 5\n"
        "print(open('data/a b.txt').read())\n"
        "open('mine.txt', 'w').write('kept')\n"
        "os.remove('helper.py'); open('helper.py', 'w').write('mine too')\n"
    )
    (bench.project / "metrics.json").write_text('{"stale": 1}')
    found = bench.run(sys.executable, "main.py")
    assert (found.state, found.metrics) == ("done", {})
    assert bench.files.stdout.read_text() == "from the project\n"
    assert sorted(path.name for path in bench.files.work.iterdir()) == ["helper.py", "mine.txt"]
    assert (bench.project / "helper.py").read_text() == "X = 5"


def test_standard_input_is_empty(bench: Bench) -> None:
    assert bench.shell("cat").state == "done"


def test_a_timeout_ends_the_whole_group(bench: Bench) -> None:
    began = time.monotonic()
    found = bench.shell(
        "sleep 60 & echo $! > child; trap 'echo bye; exit 0' TERM; echo a=1; wait", timeout=0.3
    )
    assert time.monotonic() - began < 5
    assert (found.state, found.exit_code, found.reason) == (
        "timeout",
        0,
        "ran longer than its timeout of 0.3 s",
    )
    assert found.metrics == {"a": 1}
    assert bench.files.stdout.read_text() == "a=1\nbye\n"
    wait_for(lambda: gone(int((bench.files.work / "child").read_text())))


def test_what_ignores_term_is_killed(bench: Bench) -> None:
    found = bench.shell("trap '' TERM; while :; do sleep 0.1; done", timeout=0.2)
    assert (found.state, found.exit_code) == ("timeout", 137)
    assert 0.4 < found.seconds < 5


def test_stop(bench: Bench) -> None:
    threading.Timer(0.2, bench.stop.set).start()
    found = bench.shell("sleep 60")
    assert (found.state, found.reason) == ("stopped", "stopped by the master, or because its worker stopped")
    assert found.seconds < 5


def test_what_is_left_in_the_group_is_killed(bench: Bench) -> None:
    found = bench.shell("(trap '' TERM HUP; sleep 60) & echo $! > child; exit 0")
    assert found.state == "done"
    assert found.seconds < 5
    wait_for(lambda: gone(int((bench.files.work / "child").read_text())))


def test_metrics_come_while_it_runs(bench: Bench) -> None:
    program = "import time\nfor i in range(12): print(f'Step: i={i}', flush=True); time.sleep(0.2)"
    found = bench.python(program)
    assert found.metrics == {"i": 11}
    steps = [int(seen["i"]) for seen in bench.seen]
    assert 2 <= len(steps) <= 4
    assert steps == sorted(set(steps))


def test_an_error_in_on_metrics_is_not_the_tasks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(metrics: dict[str, Metric]) -> None:
        raise RuntimeError("the broker is gone")

    monkeypatch.setattr(bench, "on_metrics", fail)
    found = bench.shell("echo a=1; sleep 0.7")
    assert (found.state, found.metrics) == ("done", {"a": 1})


def test_output_of_all_kinds(bench: Bench) -> None:
    found = bench.python(
        "import os, time\n"
        "def write(data): os.write(1, data)\n"
        "write(b'a=1'); time.sleep(0.7); write(b'2\\n')\n"  # a line in two parts
        "write(b'\\xff\\xfe b=1\\n' + b'Epoch \\xc3\\x28: c=3\\n')\n"
        "write(b'10%\\rProgress: d=4\\r100%\\n')\n"
        "write(b'x' * 200_000); time.sleep(0.7); write(b', e=1\\nT: f=6\\n')\n"  # a line that is too long
        "write(b'\\n\\0g=7\\n')\n"
        "write(b'h=8')"  # the last line is not finished
    )
    assert found.metrics == {"a": 12, "c": 3, "d": 4, "f": 6, "h": 8}


def test_much_output_costs_no_memory(bench: Bench) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = bench.shell("head -c 40000000 /dev/zero; head -c 20000000 /dev/zero | tr '\\0' '\\n'; echo a=1")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert found.metrics == {"a": 1}
    assert bench.files.stdout.stat().st_size > 60_000_000
    bench.files.stdout.unlink()
    assert grown < 30_000  # KiB


def test_more_metrics_than_a_result_can_hold(bench: Bench) -> None:
    found = bench.python("for i in range(600): print(f'm{i}={i}')")
    assert found.state == "done"
    assert len(found.metrics) == output.MOST_METRICS
    assert "the others are ignored" in found.reason


@pytest.mark.parametrize(
    ("text", "metrics", "remark"),
    [
        ('{"b": 2, "a": 3.5, "on": true, "bad": NaN}', {"a": 3.5, "b": 2, "on": 1, "bad": "nan"}, ""),
        (
            '{"b": [1], "c": 1}',
            {"a": 1, "c": 1},
            "metrics.json: metric b: a value is a number or text, not list",
        ),
        ('{"b c": 1}', {"a": 1}, "metrics.json: 'b c' cannot name a metric"),
        ("[1]", {"a": 1}, "metrics.json is ignored: it is not a JSON object"),
        ("{", {"a": 1}, "metrics.json is ignored: it is not JSON ("),
        ("", {"a": 1}, "metrics.json is ignored: it is not JSON ("),
        ("[" * 100_000, {"a": 1}, "metrics.json is ignored: it is not JSON ("),
        (" " * 2_000_000, {"a": 1}, "metrics.json is ignored: it is larger than"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_metrics_file(bench: Bench, text: str, metrics: dict[str, Metric], remark: str) -> None:
    (bench.project / "text").write_text(text)
    found = bench.shell('echo a=1; cp text "$TASK_DIR/metrics.json"')
    assert (found.state, found.metrics) == ("done", metrics)
    assert found.reason.startswith(remark)
    assert bool(found.reason) == bool(remark)


def test_a_metrics_file_that_is_none(bench: Bench) -> None:
    found = bench.shell("mkfifo metrics.json")
    assert (found.state, found.metrics, found.reason) == ("done", {}, "")


def test_a_task_that_removes_its_directory(bench: Bench) -> None:
    assert bench.shell('rm -r "$TASK_DIR"').state == "done"


def test_the_kernel_prefers_the_task_when_memory_is_short(bench: Bench) -> None:
    bench.shell("sleep 0.2; cat /proc/self/oom_score_adj")
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert int(bench.files.stdout.read_text()) == min(own + 500, 1000)


def test_a_host_that_is_short_of_something(bench: Bench) -> None:
    bench.files.directory.parent.mkdir(parents=True)
    bench.files.directory.touch()  # stands where the directory should be
    with pytest.raises(FrameworkError, match="cannot be prepared"):
        bench.shell("true")


def test_many_at_once(bench: Bench) -> None:
    found: dict[int, Execution] = {}

    def run(number: int) -> None:
        script = f"sleep 0.{number % 4}; echo n={number}; exit {number % 3}"
        found[number] = bench.run("sh", "-c", script, files=bench.attempt(f"{number:016x}"))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: (each.exit_code, each.metrics) for number, each in found.items()} == {
        number: (number % 3, {"n": number}) for number in range(40)
    }


def test_no_file_stays_open(bench: Bench) -> None:
    before = (len(os.listdir("/proc/self/fd")), threading.active_count())
    for number in range(5):
        bench.run("true", files=bench.attempt(f"{number:016x}"))
        bench.run("no-such-program", files=bench.attempt(f"{number:016x}"))
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == before
