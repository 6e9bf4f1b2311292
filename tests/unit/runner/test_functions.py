"""Functions as they are really called: one import, processes of their own, and ends of all kinds."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import UserDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from framework.errors import FrameworkError
from framework.files import AttemptFiles, WorkerFiles
from framework.messages.metrics import Metric
from framework.runner import attempt as execution
from framework.runner.attempt import Execution, run_attempt
from framework.runner.environment import task_environment
from framework.runner.fork_server import checked_metrics
from framework.runner.functions import Call, Functions

CODE = Path("/code/v1")
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/tmp", "BROKER": "secret", "CUDA_VISIBLE_DEVICES": "0"}

# Every module begins so: what it does when it is imported can be counted, and what runs can be found.
HEAD = """\
import os, sys, time
from pathlib import Path
HERE = Path(__file__).parent
def note(name):
    with open(HERE / name, "a") as file:
        file.write(f"{os.getpid()}\\n")
note("imported")
"""


class Bench:
    """A project with a module `train`, and a worker's disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.project = path / "a project"
        self.project.mkdir()
        self.functions = Functions()
        self.seen: list[dict[str, Metric]] = []
        self.attempts: list[AttemptFiles] = []
        self.threads = ThreadPoolExecutor(8)

    def write(self, program: str) -> None:
        (self.project / "train.py").write_text(HEAD + textwrap.dedent(program))

    def run(
        self,
        timeout: float | None = 20.0,
        function: str = "train:run",
        stop: threading.Event | None = None,
        project: Path | None = None,
        environment: dict[str, str] | None = None,
        **parameters: Any,
    ) -> Execution:
        files = WorkerFiles(self.path / "worker's data").attempt(f"{len(self.attempts):016x}", 3)
        self.attempts.append(files)
        return run_attempt(
            Call(self.functions, function, parameters),
            files,
            project or self.project,
            task_environment(ENVIRONMENT | (environment or {}), files, CODE, {}),
            timeout,
            self.seen.append,
            stop or threading.Event(),
        )

    def begin(self, **options: Any) -> "Future[Execution]":
        """Run it in a thread, once the one before has its place."""
        number = len(self.attempts)
        future = self.threads.submit(self.run, **options)
        wait_for(lambda: len(self.attempts) > number)
        return future

    def pids(self, name: str) -> list[int]:
        file = self.project / name
        return list(map(int, file.read_text().split())) if file.exists() else []

    @property
    def stdout(self) -> str:
        return self.attempts[-1].stdout.read_text()

    @property
    def stderr(self) -> str:
        return self.attempts[-1].stderr.read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.threads.shutdown()
    bench.functions.close()
    with pytest.raises(ChildProcessError):  # no process is left
        os.waitpid(-1, os.WNOHANG)
    for name in ("imported", "called"):
        for pid in bench.pids(name):
            wait_for(lambda pid=pid: gone(pid))  # type: ignore[misc]


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "GRACE_SECONDS", 0.3)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def test_a_function_that_works(bench: Bench) -> None:
    (bench.project / "data.txt").write_text("from the project")
    bench.write("""
        def run(**parameters):
            assert os.getcwd() == os.environ["TASK_DIR"]
            print(open("data.txt").read(), repr(parameters))
            print("Training: a=1, b=x")
            print("oops", file=sys.stderr)
            Path("mine.txt").write_text("kept")
            return {"a": 2, "c": 0.5}
    """)
    parameters: dict[str, Any] = {
        "i": 1,
        "f": 1e-3,
        "one": 1.0,
        "yes": True,
        "no": False,
        "text": "it's \n 🚲",
        "big": 2**70,
    }
    found = bench.run(**parameters)
    assert (found.state, found.exit_code, found.reason) == ("done", 0, "")
    assert found.metrics == {"a": 2, "b": "x", "c": 0.5}
    assert 0 < found.seconds < 10
    assert bench.stdout == f"from the project {parameters!r}\nTraining: a=1, b=x\n"
    assert bench.stderr == "oops\n"
    left = sorted(path.name for path in bench.attempts[0].work.iterdir())
    assert left == ["metrics.json", "mine.txt"]


def test_the_import_is_paid_once_and_each_call_has_a_process_of_its_own(bench: Bench) -> None:
    bench.write("""
        print("Import: n=1")
        CALLS = []
        def run(x):
            CALLS.append(x)
            note("called")
            sys.modules["train"].run = None
            return {"calls": len(CALLS)}
    """)
    assert [bench.run(x=x).metrics for x in range(3)] == [{"n": 1, "calls": 1}, {"calls": 1}, {"calls": 1}]
    assert (len(bench.pids("imported")), len(set(bench.pids("called")))) == (1, 3)
    assert [files.stdout.read_text() for files in bench.attempts] == ["Import: n=1\n", "", ""]


def test_a_module_in_a_package_finds_its_neighbours(bench: Bench) -> None:
    (bench.project / "models" / "deep").mkdir(parents=True)
    (bench.project / "helper.py").write_text("X = 5")
    (bench.project / "framework.py").write_text("raise RuntimeError('not this one')")
    (bench.project / "models" / "deep" / "train.py").write_text(
        "import helper, sys\nfrom framework import report\n"
        "def run():\n    report(x=helper.X); print(sys.argv)\n"
    )
    assert bench.run(function="models.deep.train:run").metrics == {"x": 5}
    assert bench.stdout == "report: x=5\n['models.deep.train:run']\n"


def test_the_environment_is_what_a_task_may_see(bench: Bench) -> None:
    bench.write("""
        import json
        AT_IMPORT = dict(os.environ)
        os.environ["OMP_NUM_THREADS"] = "1"
        def run():
            print(json.dumps([AT_IMPORT, dict(os.environ)]))
    """)

    def seen(environment: dict[str, str]) -> list[dict[str, str]]:
        bench.run(environment=environment)
        both: list[dict[str, str]] = json.loads(bench.stdout)
        for each in both:
            each.pop("LC_CTYPE", None)  # Python's own, where no locale is set
        return both

    def attempt(number: int) -> dict[str, str]:
        return {
            "TASK_ID": f"{number:016x}", "TASK_ATTEMPT": "3", "TASK_DIR": str(bench.attempts[number].work),
        }  # fmt: skip

    at_import, in_call = seen({"CUDA_VISIBLE_DEVICES": "0", "CUDA_CACHE": "x"})
    assert at_import == {
        "PATH": ENVIRONMENT["PATH"], "HOME": "/tmp", "CUDA_VISIBLE_DEVICES": "0", "CUDA_CACHE": "x",
        "PYTHONPATH": str(CODE), "PYTHONUNBUFFERED": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }  # fmt: skip
    del at_import["PYTORCH_NVML_BASED_CUDA_CHECK"]
    assert in_call == at_import | {"OMP_NUM_THREADS": "1"} | attempt(0)
    again, in_call = seen({"CUDA_VISIBLE_DEVICES": "3", "OMP_NUM_THREADS": "8"})
    assert again == at_import | {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    del at_import["CUDA_CACHE"]
    assert in_call == at_import | {"CUDA_VISIBLE_DEVICES": "3", "OMP_NUM_THREADS": "8"} | attempt(1)
    assert len(bench.pids("imported")) == 1


def test_no_descriptor_of_the_framework_is_open_in_a_call(bench: Bench) -> None:
    bench.write("""
        MINE = open(__file__)
        def run():
            import subprocess
            fds = [int(fd) for fd in os.listdir("/proc/self/fd")]
            print([os.readlink(f"/proc/self/fd/{fd}") for fd in fds if fd > 2 and fd != max(fds)])
            subprocess.run(["ls", "/proc/self/fd"])
    """)
    bench.run()
    own, *inherited = bench.stdout.splitlines()
    assert own == str([str(bench.project / "train.py")])
    assert inherited == ["0", "1", "2", "3"]  # the last is ls's own


ENDS = {
    "raise ValueError('bad x')": (1, "exit code 1: ValueError: bad x"),
    "os.environ['NONE']": (1, "exit code 1: KeyError: 'NONE'"),
    "sys.exit(3)": (3, "exit code 3"),
    "sys.exit(-1)": (255, "exit code 255, as after signal 127"),
    "sys.exit('no data')": (1, "exit code 1: no data"),
    "sys.exit()": (0, ""),
    "os._exit(4)": (4, "exit code 4"),
    "os.abort()": (134, "killed by SIGABRT"),
    "import ctypes; ctypes.string_at(0)": (139, "killed by SIGSEGV"),
    "os.kill(os.getpid(), 9)": (137, "killed by SIGKILL (out of memory?)"),
    "os.kill(os.getppid(), 9); time.sleep(60)": (
        None, "its exit code is unknown: the process that observed it was killed",
    ),
    "pass": (0, ""),
}  # fmt: skip


def test_the_end_of_a_call_is_its_own(bench: Bench) -> None:
    bench.write("""
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        def run(body):
            note("called")
            print("a=1")
            exec(body)
    """)
    found = {body: bench.run(body=body) for body in ENDS}
    assert {body: (each.exit_code, each.reason) for body, each in found.items()} == ENDS
    for each in found.values():
        assert each.metrics == {"a": 1}
        assert each.state == ("done" if each.exit_code == 0 else "failed")
    assert len(bench.pids("imported")) == 1


def test_a_traceback_is_of_the_users_code_alone(bench: Bench) -> None:
    bench.write("""
        def run(x):
            return 1 / x
    """)
    bench.run(x=0)
    assert "ZeroDivisionError" in bench.stderr
    assert "fork_server" not in bench.stderr
    assert bench.run(y=0).reason == ("exit code 1: TypeError: run() got an unexpected keyword argument 'y'")


class Index:
    def __index__(self) -> int:
        return 3


@pytest.mark.parametrize(
    ("returned", "metrics"),
    [
        ({}, {}),
        (
            {"a": True, "b": -3, "c": "text", "d": float("nan"), "e": 2.5},
            {"a": 1, "b": -3, "c": "text", "d": "nan", "e": 2.5},
        ),
        ({"half": Fraction(1, 2), "three": Index()}, {"half": 0.5, "three": 3}),
        (UserDict(a=1), {"a": 1}),
    ],
    ids=str,
)
def test_what_a_function_may_return(returned: object, metrics: dict[str, Metric]) -> None:
    found = checked_metrics(returned)
    assert found == metrics
    assert [type(value) for value in found.values()] == [type(value) for value in metrics.values()]


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (0.5, "float, not a mapping of names to numbers or text"),
        ([("a", 1)], "list, not a mapping of names to numbers or text"),
        ({1: 2}, "1 is not the name of a metric; a name is text"),
        ({"a b": 2}, "'a b' cannot name a metric; use letters"),
        ({"a": [1]}, "metric a: a value is a number or text, not list"),
        ({"a": None}, "metric a: a value is a number or text, not NoneType"),
        ({"a": "x" * 300}, "metric a: a text of 300 characters"),
    ],
)
def test_what_a_function_may_not_return(returned: object, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}"):
        checked_metrics(returned)


def test_a_function_that_returns_what_cannot_be_metrics_has_failed(bench: Bench) -> None:
    bench.write("""
        def run():
            print("a=1")
            return {"b": 2, "c": [1]}
    """)
    found = bench.run()
    assert (found.state, found.exit_code, found.metrics) == ("failed", 1, {"a": 1})
    assert found.reason == (
        "exit code 1: the value that train:run returned cannot be metrics: "
        "metric c: a value is a number or text, not list"
    )


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import nothing_like_it", "exit code 1: train:run cannot be imported: ModuleNotFoundError: No"),
        ("def run(:", "exit code 1: train:run cannot be imported: SyntaxError: "),
        ("sys.exit(3)", "exit code 1: train:run cannot be imported: SystemExit: 3"),
        ("def ran(): pass", "exit code 1: train:run cannot be imported: AttributeError: module 'train'"),
        ("run = 5", "exit code 1: train:run cannot be imported: TypeError: 'run' in train is no function"),
        ("os._exit(3)", "train:run cannot be imported: Python ended with exit code 3: oops"),
        ("os.kill(os.getpid(), 6)", "train:run cannot be imported: Python was killed by SIGABRT: oops"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_tried_again_for_the_next_task(
    bench: Bench, program: str, reason: str
) -> None:
    bench.write(f"print('oops', file=sys.stderr)\n{program}")
    for _ in range(2):
        found = bench.run()
        assert found.state == "failed"
        assert found.reason.startswith(reason)
        assert "framework" not in bench.stderr
    assert len(bench.pids("imported")) == (0 if "(:" in program else 2)
    bench.write("def run(): return {'a': 1}")
    os.utime(bench.project / "train.py", (1, 1))  # Python looks at seconds, and the size may be the same
    assert bench.run().metrics == {"a": 1}


def test_a_timeout_ends_the_whole_group(bench: Bench) -> None:
    bench.write("""
        import signal, subprocess
        signal.signal(signal.SIGTERM, lambda *_: (print("bye"), sys.exit(0)))  # as it would be in a script
        def run():
            child = subprocess.Popen(["sleep", "60"])
            (HERE / "called").write_text(str(child.pid))
            print("a=1")
            time.sleep(60)
    """)
    began = time.monotonic()
    found = bench.run(timeout=0.5)
    assert time.monotonic() - began < 10
    assert (found.state, found.exit_code, found.reason) == (
        "timeout", 0, "ran longer than its timeout of 0.5 s",
    )  # fmt: skip
    assert found.metrics == {"a": 1}
    assert bench.stdout == "a=1\nbye\n"


def test_what_ignores_term_is_killed(bench: Bench) -> None:
    bench.write("""
        import signal
        def run():
            note("called")
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True: time.sleep(0.1)
    """)
    found = bench.run(timeout=0.5)
    assert (found.state, found.exit_code) == ("timeout", 137)


def test_stop(bench: Bench) -> None:
    bench.write("""
        def run():
            note("called")
            time.sleep(60)
    """)
    stop = threading.Event()
    running = bench.begin(stop=stop)
    wait_for(lambda: bench.pids("called"))
    stop.set()
    found = running.result(10)
    assert (found.state, found.reason) == ("stopped", "stopped by the master, or because its worker stopped")


def test_what_is_left_in_the_group_is_killed(bench: Bench) -> None:
    bench.write("""
        def run():
            if os.fork() == 0:
                note("called")
                time.sleep(60)
            while not (HERE / "called").exists(): time.sleep(0.01)
    """)
    assert bench.run().state == "done"  # that its child is gone, the fixture finds out


def test_what_python_does_at_its_end(bench: Bench) -> None:
    bench.write("""
        import atexit, threading
        atexit.register(print, "registered by the import")
        def run():
            atexit.register(print, "registered by the call")
            threading.Thread(target=lambda: (time.sleep(0.2), print("a thread"))).start()
            print("no newline", end="")
    """)
    for _ in range(2):
        assert bench.run().state == "done"
        assert bench.stdout == "no newlinea thread\nregistered by the call\nregistered by the import\n"


def test_metrics_come_while_it_runs(bench: Bench) -> None:
    bench.write("""
        def run():
            print("Step: i=1")
            while not (HERE / "go").exists(): time.sleep(0.01)
            print("Step: i=2")
    """)
    running = bench.begin()
    wait_for(lambda: bench.seen == [{"i": 1}])
    (bench.project / "go").touch()
    assert running.result(10).metrics == {"i": 2}


def test_the_kernel_prefers_the_task_when_memory_is_short(bench: Bench) -> None:
    bench.write("""
        def run():
            print(Path("/proc/self/oom_score_adj").read_text())
    """)
    bench.run()
    assert int(bench.stdout) == min(int(Path("/proc/self/oom_score_adj").read_text()) + 500, 1000)


def test_calls_share_no_random_numbers_unless_the_import_seeds_them(bench: Bench) -> None:
    program = """
        import random
        def run():
            return {"x": random.random()}
    """
    bench.write(program)
    assert bench.run().metrics != bench.run().metrics
    bench.functions.close()
    bench.write(textwrap.dedent(program) + "random.seed(0)")
    assert bench.run().metrics == bench.run().metrics


def test_many_at_once(bench: Bench) -> None:
    bench.write("""
        def run(x):
            note("called")
            while len((HERE / "called").read_text().split()) < 4: time.sleep(0.01)
            print(f"x={x}")
            sys.exit(x)
    """)
    found = [each.result(20) for each in [bench.begin(x=x) for x in range(4)]]
    assert [(each.exit_code, each.metrics) for each in found] == [(x, {"x": x}) for x in range(4)]
    assert len(bench.pids("imported")) == 1


WAITING = """
    def run(x):
        note("called")
        while not (HERE / "go").exists(): time.sleep(0.01)
        return {"x": x}
"""


def test_a_server_that_is_killed_takes_no_call_with_it(bench: Bench) -> None:
    bench.write(WAITING)
    running = [bench.begin(x=x) for x in range(2)]
    wait_for(lambda: len(bench.pids("called")) == 2)
    (server,) = bench.pids("imported")
    os.kill(server, signal.SIGKILL)
    wait_for(lambda: gone(server))
    (bench.project / "go").touch()
    found = [each.result(10) for each in running]
    assert [(each.state, each.metrics) for each in found] == [("done", {"x": x}) for x in range(2)]
    assert bench.run(x=5).metrics == {"x": 5}
    assert len(bench.pids("imported")) == 2


def test_a_server_that_dies_before_it_forks_is_replaced(bench: Bench) -> None:
    bench.write(WAITING)
    (bench.project / "go").touch()
    bench.run(x=1)
    (server,) = bench.pids("imported")
    os.kill(server, signal.SIGSTOP)
    waiting = bench.begin(x=2)
    wait_for(lambda: bench.attempts[1].stderr.exists())
    os.kill(server, signal.SIGKILL)
    assert waiting.result(10).metrics == {"x": 2}


def test_a_new_version_of_the_project_ends_the_server_of_the_older_one(bench: Bench, tmp_path: Path) -> None:
    bench.write(WAITING)
    running = bench.begin(x=1)
    wait_for(lambda: bench.pids("called"))
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "train.py").write_text("def run(x): return {'x': 2 * x}")
    assert bench.run(x=2, project=newer).metrics == {"x": 4}
    (server,) = bench.pids("imported")
    wait_for(lambda: gone(server))
    (bench.project / "go").touch()
    assert running.result(10).metrics == {"x": 1}


def test_an_import_that_takes_too_long_is_begun_anew_for_those_who_can_wait(bench: Bench) -> None:
    bench.write("""
        if len((HERE / "imported").read_text().split()) == 1: time.sleep(60)
        def run(x):
            return {"x": x}
    """)
    waiting = bench.begin(x=1)
    wait_for(lambda: bench.pids("imported"))
    found = bench.run(timeout=0.3, x=2)
    assert (found.state, found.exit_code) == ("timeout", None)
    assert waiting.result(10).metrics == {"x": 1}
    assert bench.run(x=3).metrics == {"x": 3}
    assert len(bench.pids("imported")) == 2


def test_a_stop_while_it_is_imported(bench: Bench) -> None:
    bench.write("time.sleep(60)")
    stop = threading.Event()
    waiting = bench.begin(stop=stop)
    wait_for(lambda: bench.pids("imported"))
    stop.set()
    assert waiting.result(10).state == "stopped"
    wait_for(lambda: gone(bench.pids("imported")[0]))


@pytest.mark.parametrize("number", [1, 2], ids=["the server's", "the keeper's"])
def test_a_fork_that_fails_is_not_the_tasks_fault(bench: Bench, number: int) -> None:
    bench.write(f"""
        import errno
        fork, forks = os.fork, 0
        def fail():
            global forks
            forks += 1
            if forks == {number}: raise OSError(errno.EAGAIN, "out of processes")
            return fork()
        os.fork = fail
        def run(): pass
    """)
    with pytest.raises(FrameworkError, match="cannot start a process: Resource temporarily unavailable"):
        bench.run()


WORKER = """
import json, os, sys, threading
from pathlib import Path
from framework.runner.attempt import run_attempt
from framework.runner.environment import task_environment
from framework.files import WorkerFiles
from framework.runner.functions import Call, Functions
files = WorkerFiles(Path(sys.argv[1])).attempt("0" * 16, 1)
run_attempt(Call(Functions(), "train:run", {"x": 1}), files, Path(sys.argv[2]),
            task_environment(os.environ, files, Path("/code/v1"), {}), None, print, threading.Event())
"""


def test_server_and_calls_end_with_the_worker(bench: Bench, tmp_path: Path) -> None:
    bench.write(WAITING)
    worker = subprocess.Popen([sys.executable, "-c", WORKER, tmp_path / "data", bench.project])
    wait_for(lambda: bench.pids("called"))
    keeper = parent(bench.pids("called")[0])
    worker.kill()
    worker.wait()
    for pid in (*bench.pids("imported"), *bench.pids("called"), keeper):
        wait_for(lambda pid=pid: gone(pid))  # type: ignore[misc]


def test_nothing_stays_open(bench: Bench) -> None:
    bench.write("def run(x): sys.exit(x)")
    bench.run(x=0)
    (server,) = bench.pids("imported")

    def held() -> tuple[int, int, int]:
        return (
            len(os.listdir("/proc/self/fd")),
            threading.active_count(),
            len(os.listdir(f"/proc/{server}/fd")),
        )

    before = held()
    for x in range(5):
        bench.run(x=x)
    assert held() == before
