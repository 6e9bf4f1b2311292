"""The runner, and what tasks import, with each Python that is here: an image may have 3.8, and no packages.

Which files these are is said in pyproject.toml, where ruff keeps them so, too.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest
from attempt_bench import make_job
from runner_bench import RunnerBench

from framework.files import WorkerFiles
from framework.runner.descriptors import send_descriptors

ROOT = Path(__file__).parents[3]
OLDEST, OLDEST_OF_OURS = 8, 10  # of Python 3: for the runner, and for everything else
PATTERNS = re.findall(r'^"(framework/.+)" = "py38"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
FILES = sorted(file for pattern in PATTERNS for file in ROOT.glob(pattern) if file.suffix == ".py")

# Prints the errors of imports, and the modules that are neither Python's nor ours.
IMPORTS = """
import importlib, json, os, sys, sysconfig, traceback
root, *names = sys.argv[1:]
sys.path.insert(0, root)
errors = {}
for name in names:
    for each in [each for each in sys.modules if each.partition(".")[0] == "framework"]:
        del sys.modules[each]
    try:
        importlib.import_module(name)
    except Exception:
        errors[name] = "".join(traceback.format_exception_only(*sys.exc_info()[:2]))
own = os.path.join(root, "framework")
python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
known = tuple(os.path.join(os.path.realpath(each), "") for each in (*python, own))
files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
foreign = [name for name, file in files.items() if file and not os.path.realpath(file).startswith(known)]
print(json.dumps([errors, foreign]))
"""


# Leaves a process in another session.
DAEMON = "setsid sh -c 'touch there; exec sleep 60' & until [ -e there ]; do sleep 0.02; done"


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).replace(".__init__", "")


NAMES = [module_name(file) for file in FILES]


@cache
def interpreters() -> Mapping[str, str]:
    """The interpreters in PATH by their version; a shim may stand there for one that is not installed."""
    found = {}
    for version in (f"3.{minor}" for minor in range(OLDEST, 30)):
        path = shutil.which(f"python{version}")
        if path and not subprocess.run([path, "--version"], capture_output=True, check=False).returncode:
            found[version] = path
    return found


@pytest.fixture(params=list(interpreters().values()), ids=list(interpreters()))
def python(request: pytest.FixtureRequest) -> str:
    path: str = request.param
    return path


def imports(file: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in NAMES else str(node.module) for name in names)


def test_there_is_a_python_that_is_older_than_the_one_for_everything_else() -> None:
    if not any(int(version.split(".")[1]) < OLDEST_OF_OURS for version in interpreters()):
        tried = ", ".join(interpreters()) or "none"
        pytest.skip(f"neither python3.8 nor python3.9 is in PATH: the runner was tried with {tried} only")


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_the_syntax_is_that_of_python_3_8(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=(3, OLDEST))


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_imports_are_of_the_standard_library_and_of_these_files(file: Path) -> None:
    foreign = {
        name
        for name in imports(file)
        if name.partition(".")[0] not in sys.stdlib_module_names and name not in NAMES
        if not (
            file == ROOT / "framework/__init__.py" and name.startswith("framework.export.")
        )  # of results()
    }
    assert foreign == set()


def test_each_can_be_imported_without_packages(python: str) -> None:
    argv = [python, "-I", "-S", "-B", "-c", IMPORTS, str(ROOT), *NAMES]
    errors, foreign = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    assert (errors, foreign) == ({}, [])


def test_a_task_reports_metrics(python: str, tmp_path: Path) -> None:
    program = "import framework, infrainit; framework.report(n=3, yes=True); infrainit.report(x=0.5, t='a')"
    argv = [python, "-S", "-B", "-c", program]
    environment = {"PYTHONPATH": str(ROOT / "framework" / "in_tasks")}
    found = subprocess.run(
        argv, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    assert found.stdout == "report: n=3, yes=1\nreport: x=0.5, t=a\n"


def test_the_fork_server_calls_a_function(python: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import atexit, os\n"
        "def fail(): raise ValueError('at the end')\n"
        "def run(x):\n"
        "    atexit.register(print, 'printed at the end', x)\n"
        "    atexit.register(fail)\n"
        "    return {'twice': 2 * x, 'is': True, 'none': None}\n"
    )
    with ForkServer(python, tmp_path, "train:run") as server:
        for x in (1, 2):
            call = server.call({"x": x})
            assert call.started.keys() == {"pid", "is_imported"}
            assert call.end["exit_code"] == 0
            assert call.end["remarks"] == [
                "train:run returned what is no metric: metric none: a value is a number or text, not NoneType"
            ]
            assert call.stdout == f"printed at the end {x}\n"
            assert call.stderr.count("ValueError: at the end") == 1
            assert json.loads(server.metrics.read_text()) == {"twice": 2 * x, "is": 1}
        call = server.call({"y": 1})
        assert call.end["exit_code"] == 1
        assert "TypeError: run()" in call.stderr
    assert server.exit_code == 0


@pytest.fixture
def bench(python: str, tmp_path: Path) -> Iterator[RunnerBench]:
    bench = RunnerBench(tmp_path, python=python)
    bench.start()
    yield bench
    bench.end()


def test_the_runner_executes_commands_and_calls(python: str, bench: RunnerBench, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(
        "import sys\n"
        "def run(x):\n"
        "    print('python: major=%d, minor=%d' % sys.version_info[:2])\n"
        "    return {'twice': 2 * x}\n"
    )
    programs: list[dict[str, Any]] = [
        {"command": ["sh", "-c", f"echo n=1; {DAEMON}; exit 3"]},
        {"command": ["no-such-program"]},
        {"function": "train:run", "parameters": {"x": 2}},
        {"function": "train:run", "parameters": {"y": 2}},
        {"command": ["sleep", "60"]},
    ]
    jobs = [
        make_job(
            WorkerFiles(tmp_path / "worker's data").attempt(f"{number:016x}", 1),
            project,
            ranked="n",
            early_termination={"type": "asha", "min_iter": 1, "max_iter": None, "eta": 2},
            timeout=60.0,
            **program,
        )
        for number, program in enumerate(programs)
    ]
    bench.run(*jobs)
    bench.send(do="stop", attempts=[jobs[-1].attempt])
    ends = [bench.wait("ended", attempt=job.attempt, seconds=100)["execution"] for job in jobs]
    minor = int(python.rpartition(".")[2])
    assert [(end["state"], end["exit_code"], end["metrics"]) for end in ends] == [
        ("failed", 3, {"n": 1}),
        ("failed", None, {}),
        ("done", 0, {"twice": 4, "major": 3, "minor": minor}),
        ("failed", 1, {}),
        ("stopped", 143, {}),
    ]
    assert ends[0]["reason"] == "exit code 3; processes that it left running were ended: 1"
    assert "unexpected keyword argument 'y'" in ends[3]["reason"]
    bench.kill()
    bench.start()
    assert {name: each["ended"] for name, each in bench.held().items()} == {
        job.attempt: end for job, end in zip(jobs, ends, strict=True)
    }
    bench.send(do="forget", attempts=[job.attempt for job in jobs])
    os.kill(bench.pid, signal.SIGTERM)
    assert bench.exit_code() == 0
    assert bench.messages.read_text() == "runner: told to end: running tasks are stopped, and handed back\n"


@dataclass(frozen=True)
class Call:
    """What the server said about a call, and what the call wrote."""

    started: dict[str, Any]
    end: dict[str, Any]
    stdout: str
    stderr: str


class ForkServer:
    """A fork server of another Python, and the side of it that sends calls."""

    def __init__(self, python: str, project: Path, name: str) -> None:
        self.metrics = project / "metrics.json"
        self._project = project
        self._requests, theirs = socket.socketpair()
        argv = [python, "-B", "-m", "framework.runner.fork_server", str(project), name, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(argv, cwd=ROOT, pass_fds=[theirs.fileno()])

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        self.exit_code = self._process.wait(60)

    def call(self, parameters: Mapping[str, object]) -> Call:
        content = {
            "parameters": parameters,
            "environment": dict(os.environ),
            "directory": str(self._project),
            "metrics": str(self.metrics),
        }
        ours, theirs = socket.socketpair()
        with ours, TemporaryFile() as stdout, TemporaryFile() as stderr, TemporaryFile() as request:
            request.write(json.dumps(content).encode())
            request.seek(0)
            with theirs:
                files = (theirs, stdout, stderr, request)
                send_descriptors(self._requests, b"\n", [each.fileno() for each in files])
            ours.settimeout(60)
            with ours.makefile("rb") as messages:
                started, end = (json.loads(messages.readline()) for _ in range(2))
            for file in (stdout, stderr):
                file.seek(0)
            return Call(started, end, stdout.read().decode(), stderr.read().decode())
