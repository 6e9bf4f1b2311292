"""The runner as a worker sees it: what it says, and what it still knows after either side has died."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attempt_bench import CODE, children, expect_no_child, gone, make_job, stat
from runner_bench import KEY, Event, RunnerBench, wait_until

from framework.files import WorkerFiles
from framework.project.early_termination import EarlyTermination
from framework.runner.job import Job
from framework.runner.log import Entry, RunnerLog
from framework.runner.orphans import kill_orphans, task_processes
from framework.runner.protocol import VERSION, encode

LEAVE_SECONDS = 0.5
FAST = {"attempt.GRACE_SECONDS": 0.3, "runner.CODE_SECONDS": 0.1, "runner.RETRY_SECONDS": 0.1}


class Bench(RunnerBench):
    """A runner, and jobs for it; each notes its start in the project, and its processes can be found."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self.project = path / "project"
        self.project.mkdir()
        self.given: list[Job] = []

    def job(self, script: str, **fields: Any) -> Job:
        number = len(self.given)
        files = WorkerFiles(self.path / "worker's data").attempt(f"{number:016x}", 3)
        script = f"echo $$ >>'{self.path}/started'; {script}"
        self.given.append(
            make_job(
                files, self.project, **{"command": ["sh", "-c", script], "context": {"n": number}, **fields}
            )
        )
        return self.given[-1]

    def begin(self, script: str, **fields: Any) -> str:
        """Give an attempt; return its name."""
        job = self.job(script, **fields)
        self.run(job)
        return job.attempt

    def execute(self, script: str, **fields: Any) -> Event:
        return self.wait("ended", attempt=self.begin(script, **fields))["execution"]  # type: ignore[no-any-return]

    def started(self) -> list[int]:
        """Process ids of the attempts that have begun."""
        file = self.path / "started"
        return list(map(int, file.read_text().split())) if file.exists() else []

    def believed(self) -> dict[str, Entry]:
        """What the log says on the disk."""
        copy = self.path / "copy of the log"
        copy.write_bytes(self.log.read_bytes())
        log = RunnerLog(copy, KEY.encode())
        log.close()
        return log.entries

    def let_go(self) -> None:
        (self.project / "go").touch()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.end()
    kill_orphans(bench.tasks)  # of a runner that was killed
    expect_no_child()


@pytest.fixture
def runner(bench: Bench) -> Bench:
    """One that runs already, as in a local run."""
    bench._constants = FAST
    bench.start()
    bench.wait("synced")
    return bench


def waiting(bench: Bench) -> str:
    """A script that runs until the bench lets it go."""
    return f"while ! [ -e '{bench.project}/go' ]; do sleep 0.02; done"


# What it says.


def test_it_says_who_it_is(bench: Bench) -> None:
    ours = {"IMAGE": "me/mine:1", "INFRAINIT_MOUNTS": "ro /data ~/data"}
    bench._environment = {"PATH": os.environ["PATH"], "OF_THE_IMAGE": "x", **ours}
    bench.start(link=True, welcome=False)
    hello = bench.hello
    incarnation = hello.pop("incarnation")
    hello["environment"].pop("LC_CTYPE", None)  # Python's own, where no locale is set
    assert hello == {
        "event": "hello", "version": VERSION, "key": None, "image": "me/mine:1", "process": bench.pid,
        "mounts": "ro /data ~/data",
        "environment": {"PATH": os.environ["PATH"], "OF_THE_IMAGE": "x"},
    }  # fmt: skip
    bench.kill()
    bench.start(link=True, welcome=False)
    assert bench.hello["incarnation"] != incarnation


def test_in_a_local_run_each_variable_is_the_users(bench: Bench) -> None:
    bench._environment = {"PATH": os.environ["PATH"], "IMAGE": "of the user"}
    bench.start(welcome=False)
    assert (bench.hello["image"], bench.hello["environment"]["IMAGE"]) == ("", "of the user")
    assert bench.hello["mounts"] is None


def test_an_attempt_from_its_beginning_to_its_end(runner: Bench) -> None:
    before = time.time()
    attempt = runner.begin("echo a=1; sleep 0.7; echo oops >&2; exit 3")
    ended = runner.wait("ended", attempt=attempt)
    assert [event["event"] for event in runner.events()] in (
        ["taken", "started", "metrics", "exited"],
        ["started", "taken", "metrics", "exited"],
    )
    (metrics,) = runner.events("metrics")
    assert (metrics["metrics"], metrics["reports"]) == ({"a": 1}, [])
    execution = ended.pop("execution")
    assert 0.7 < execution.pop("seconds") < 60
    assert execution == {
        "exit_code": 3, "state": "failed", "reason": "exit code 3: oops", "metrics": {"a": 1},
    }  # fmt: skip
    started = runner.wait("started")["when"]
    assert before <= started <= time.time()
    assert ended == {"event": "ended", "attempt": attempt, "context": {"n": 0}, "started": started}


def test_reports_at_which_tasks_are_compared(runner: Bench) -> None:
    rule = EarlyTermination("asha", 2, None, 2)
    attempt = runner.begin(
        "for i in 1 2 3 4 5; do echo loss=$i; done; sleep 0.7", ranked="loss", early_termination=rule.__dict__
    )
    assert runner.wait("metrics", attempt=attempt)["reports"] == [[2, 2], [4, 4]]


def test_a_call_of_a_function(runner: Bench) -> None:
    (runner.project / "train.py").write_text("def run(x): return {'twice': 2 * x}")
    job = runner.job("", command=[], function="train:run", parameters={"x": 3})
    runner.run(job)
    execution = runner.wait("ended", attempt=job.attempt)["execution"]
    assert (execution["state"], execution["metrics"]) == ("done", {"twice": 6})


def test_the_version_of_an_attempt_is_locked_until_it_has_ended(runner: Bench) -> None:
    version = runner.path / "VERSION"
    version.touch()
    lock = ["flock", "--exclusive", "--nonblock", str(version), "true"]
    first = runner.begin(waiting(runner))
    second = runner.begin("exit 0")
    runner.wait("started", attempt=first)
    runner.wait("ended", attempt=second)
    assert subprocess.run(lock).returncode == 1
    runner.let_go()
    runner.wait("ended", attempt=first)
    assert subprocess.run(lock).returncode == 0


def test_several_attempts_at_a_time(runner: Bench) -> None:
    jobs = [runner.job(f"{waiting(runner)}; echo n={number}; exit {number}") for number in range(8)]
    runner.run(*jobs[:4])
    for job in jobs[4:]:
        runner.run(job)
    wait_until(lambda: len(runner.started()) == 8)
    runner.let_go()
    ends = [runner.wait("ended", attempt=job.attempt)["execution"] for job in jobs]
    assert [(end["exit_code"], end["metrics"]) for end in ends] == [(n, {"n": n}) for n in range(8)]


@pytest.mark.parametrize("together", [True, False])
def test_an_attempt_that_is_given_twice_runs_once(runner: Bench, together: bool) -> None:
    job = runner.job(waiting(runner))
    if together:
        runner.run(job, job)
    else:
        runner.run(job)
        runner.wait("taken")
        runner.run(job)
        assert runner.wait("held", attempt=job.attempt)["ended"] == "running"
    runner.let_go()
    execution = runner.wait("ended", attempt=job.attempt)["execution"]
    runner.run(job)
    held = runner.wait("held", attempt=job.attempt)
    assert (held["ended"], held["context"]) == (execution, {"n": 0})
    assert len(runner.started()) == 1
    assert "lost" not in [event["ended"] for event in runner.events("held")]


def test_one_that_is_forgotten_is_given_anew(runner: Bench) -> None:
    runner.execute("true")
    runner.send(do="forget", attempts=[runner.given[0].attempt, "never.1"])
    runner.run(runner.given[0])
    assert runner.wait("ended")["execution"]["state"] == "done"
    assert len(runner.started()) == 2


def test_one_that_runs_is_not_forgotten(runner: Bench) -> None:
    attempt = runner.begin(waiting(runner))
    runner.send(do="forget", attempts=[attempt])
    runner.let_go()
    assert runner.wait("ended", attempt=attempt)["execution"]["state"] == "done"


def test_stop(runner: Bench) -> None:
    attempt = runner.begin("exec sleep 60")
    wait_until(runner.started)
    runner.send(do="stop", attempts=["never.1", attempt])
    execution = runner.wait("ended", attempt=attempt)["execution"]
    assert (execution["state"], execution["exit_code"]) == ("stopped", 143)


def test_a_stop_that_comes_with_the_attempt(runner: Bench) -> None:
    job = runner.job("exec sleep 60")
    run = encode({"do": "run", "jobs": [job.to_message()]})
    runner.send_bytes(run + encode({"do": "stop", "attempts": [job.attempt]}))
    assert runner.wait("ended", attempt=job.attempt)["execution"]["state"] == "stopped"


def test_what_it_left_running_in_other_sessions_is_ended(runner: Bench) -> None:
    script = "setsid sh -c 'echo $$ >>pids; exec sleep 60' & setsid sh -c 'sleep 60 & echo $$ >>pids; wait' &"
    execution = runner.execute(f"touch pids; ({script}); until [ $(wc -l <pids) = 2 ]; do sleep 0.02; done")
    assert execution["state"] == "done"
    assert execution["reason"] in [f"processes that it left running were ended: {n}" for n in (2, 3)]
    pids = (runner.given[0].files.work / "pids").read_text().split()
    assert [gone(int(pid)) for pid in pids] == [True, True]
    wait_until(lambda: not children(runner.pid))


def test_nobody_has_to_wait_for_children_of_others(runner: Bench) -> None:
    """A daemon that ends while its task runs is reaped by the runner, which has become its parent."""
    daemon = runner.path / "daemon"
    attempt = runner.begin(
        f"(setsid sh -c 'echo $$ >{daemon}.new; mv {daemon}.new {daemon}' &); {waiting(runner)}"
    )
    wait_until(daemon.exists)
    wait_until(lambda: not stat(int(daemon.read_text())))
    runner.let_go()
    assert runner.wait("ended", attempt=attempt)["execution"]["reason"] == ""


def test_a_task_inherits_nothing_of_the_runner(runner: Bench) -> None:
    runner.execute("ls -l /proc/self/fd >list")
    listed = (runner.given[0].files.work / "list").read_text()
    assert "socket:" not in listed
    assert str(runner.log) not in listed


# A host that is short of something.


def test_a_disk_on_which_no_directory_can_be_made(runner: Bench) -> None:
    job = runner.job("true")
    job.files.directory.parent.mkdir(parents=True)
    job.files.directory.touch()
    runner.run(job)
    assert "cannot be prepared" in runner.wait("refused", attempt=job.attempt)["reason"]
    job.files.directory.unlink()
    runner.run(job)
    assert runner.wait("ended", attempt=job.attempt)["execution"]["state"] == "done"
    assert len(runner.started()) == 1


def test_no_more_files_can_be_open(runner: Bench) -> None:
    used = set(map(int, os.listdir(f"/proc/{runner.pid}/fd")))
    _, most = resource.prlimit(runner.pid, resource.RLIMIT_NOFILE)
    one_more = min(set(range(1000)) - used) + 1
    resource.prlimit(runner.pid, resource.RLIMIT_NOFILE, (one_more, most))
    attempt = runner.begin("true")
    assert "Too many open files" in runner.wait("refused", attempt=attempt)["reason"]
    resource.prlimit(runner.pid, resource.RLIMIT_NOFILE, (most, most))
    assert runner.execute("true")["state"] == "done"


def test_nothing_is_confirmed_as_long_as_the_disk_is_full(runner: Bench) -> None:
    runner.execute("true")
    runner.wait("taken")
    _, most = resource.prlimit(runner.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(runner.pid, resource.RLIMIT_FSIZE, (runner.log.stat().st_size + 10, most))
    attempt = runner.begin(waiting(runner))
    wait_until(lambda: len(runner.started()) == 2)
    runner.run(runner.given[1])
    wait_until(lambda: "outcomes wait for room" in runner.messages.read_text())
    runner.let_go()
    runner.wait("exited", attempt=attempt)
    runner.run(runner.given[1])
    time.sleep(0.3)
    assert [event for event in runner.events("taken", "ended", "held") if event["attempt"] == attempt] == []
    assert attempt not in runner.believed()
    resource.prlimit(runner.pid, resource.RLIMIT_FSIZE, (most, most))
    runner.wait("taken", attempt=attempt)
    assert runner.wait("ended", attempt=attempt)["execution"]["state"] == "done"
    assert len(runner.started()) == 2


def test_an_error_of_the_runner_ends_the_attempt_and_nothing_else(bench: Bench) -> None:
    bench._constants = {"attempt.read_metrics_file": None}
    bench.start()
    for _ in range(2):
        execution = bench.execute("true")
        assert (execution["state"], execution["exit_code"]) == ("failed", None)
        assert execution["reason"].startswith("unexpected error of the runner, see its log: TypeError")
    assert "Traceback" in bench.messages.read_text()


# It dies.


@pytest.mark.parametrize("number", range(5))
def test_what_it_has_taken_is_on_the_disk(runner: Bench, number: int) -> None:
    jobs = [runner.job("sleep 60") for _ in range(number + 1)]
    runner.run(*jobs)
    runner.wait("taken", attempt=jobs[-1].attempt)
    runner.kill()
    assert runner.believed().keys() == {job.attempt for job in jobs}


@pytest.mark.parametrize("_", range(5))
def test_the_outcome_that_it_names_is_on_the_disk(runner: Bench, _: int) -> None:
    ended = runner.wait("ended", attempt=runner.begin("echo a=1"))
    runner.kill()
    entry = runner.believed()[ended["attempt"]]
    assert entry == Entry({"n": 0}, ended["started"], ended["execution"])


def test_after_its_death_it_names_what_was_lost_and_what_had_ended(runner: Bench) -> None:
    execution = runner.execute("echo a=1; exit 3")
    runner.execute("true")
    runner.send(do="forget", attempts=[runner.given[1].attempt])
    running = runner.begin("setsid sleep 60 & sleep 60")
    runner.wait("taken", attempt=running)
    wait_until(lambda: len(runner.started()) == 3)
    wait_until(lambda: len(list(task_processes(runner.tasks))) >= 3)
    runner.kill()
    assert list(task_processes(runner.tasks)) != []
    runner.start()
    held = runner.held()
    assert list(task_processes(runner.tasks)) == [], "before it says so"
    assert {attempt: (each["ended"], each["context"]) for attempt, each in held.items()} == {
        runner.given[0].attempt: (execution, {"n": 0}),
        running: ("lost", {"n": 2}),
    }
    assert held[running]["started"] is not None
    runner.run(runner.given[2])
    assert runner.wait("held")["ended"] == "lost", "what was lost is not begun again by itself"
    runner.send(do="forget", attempts=list(held))
    wait_until(lambda: not runner.believed())
    runner.kill()
    runner.start()
    assert runner.held() == {}


def test_a_worker_with_another_key_finds_nothing(runner: Bench) -> None:
    runner.execute("true")
    runner.kill()
    runner.start(welcome=False)
    runner.send(do="welcome", key="another")
    assert runner.held() == {}


def test_it_ends_with_its_worker_and_all_tasks_with_it(runner: Bench) -> None:
    runner.begin("trap '' TERM; (trap '' TERM; setsid sleep 60) & while :; do sleep 0.1; done")
    wait_until(lambda: len(list(task_processes(runner.tasks))) >= 2)
    runner.disconnect()
    assert runner.exit_code(seconds=50) == 0, "before the tasks would end"
    assert list(task_processes(runner.tasks)) == []
    (entry,) = runner.believed().values()
    assert entry.ended is not None


def test_signals_of_a_task_do_not_end_it(runner: Bench) -> None:
    os.kill(runner.pid, signal.SIGINT)
    os.kill(runner.pid, signal.SIGCHLD)
    assert runner.execute("true")["state"] == "done"


def test_sigterm_stops_what_runs_and_hands_it_back(runner: Bench) -> None:
    script = "trap 'echo a=1; exit 0' TERM; echo . >>'{}'; while :; do sleep 0.05; done"
    trapped = runner.path / "trapped"
    attempts = [runner.begin(script.format(trapped)) for _ in range(2)]
    wait_until(lambda: trapped.exists() and trapped.read_text() == ".\n" * 2)
    os.kill(runner.pid, signal.SIGTERM)
    for attempt in attempts:
        execution = runner.wait("ended", attempt=attempt)["execution"]
        assert (execution["state"], execution["metrics"]) == ("stopped", {"a": 1})
    late = runner.begin("true")
    assert runner.wait("refused", attempt=late)["reason"] == "the runner of this host ends"
    assert runner.process is not None
    assert runner.process.poll() is None, "the worker has not kept the outcomes yet"
    runner.send(do="forget", attempts=attempts)
    assert runner.exit_code() == 0
    assert len(runner.started()) == 2


def test_sigterm_without_a_worker_that_keeps_outcomes(bench: Bench) -> None:
    bench._constants = {"runner.FAREWELL_SECONDS": 0.3}
    bench.start()
    bench.execute("true")
    os.kill(bench.pid, signal.SIGTERM)
    assert bench.process is not None
    assert bench.process.wait(60) == 0
    bench.start()
    assert bench.held()[bench.given[0].attempt]["ended"]["state"] == "done"


def test_sigterm_before_a_worker_has_come(bench: Bench) -> None:
    bench.start(welcome=False)
    os.kill(bench.pid, signal.SIGTERM)
    assert bench.exit_code() == 0


def test_killed_at_any_moment_it_forgets_nothing_that_it_has_said(runner: Bench) -> None:
    """A worker's view of several deaths: what was taken is never unknown, and an outcome never changes."""
    random.seed(7)
    taken: set[str] = set()
    ended: dict[str, Event] = {}
    for _ in range(12):
        for _ in range(random.randrange(4)):
            runner.begin(f"sleep {random.choice([0, 0, 0.02])}; echo a=1")
        deadline = time.monotonic() + random.uniform(0, 0.15)
        while time.monotonic() < deadline:
            runner.events()
        said = runner.events()
        runner.kill()
        taken |= {event["attempt"] for event in said if event["event"] == "taken"}
        ended.update((event["attempt"], event["execution"]) for event in said if event["event"] == "ended")
        runner.start()
        held = runner.held()
        assert taken <= held.keys()
        for attempt, each in held.items():
            assert each["ended"] == ended.setdefault(attempt, each["ended"])
            assert each["ended"] == "lost" or each["ended"]["metrics"] == {"a": 1}
        taken |= held.keys()


# Process 1 of a container.

NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Bench]:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a namespace for processes")
    bench = Bench(tmp_path, constants=FAST, wrapper=NAMESPACE)
    bench.start()
    assert (bench.held(), bench.hello["process"]) == ({}, 1)
    yield bench
    bench.end()


def test_no_signal_of_a_task_ends_process_1(init: Bench) -> None:
    running = init.begin("exec sleep 60")
    wait_until(init.started)
    attempt = init.begin("kill -TERM 1; kill -INT 1; kill -HUP 1; kill -KILL 1; sleep 0.5")
    assert init.wait("ended", attempt=attempt)["execution"]["state"] == "done"
    assert init.execute("kill -KILL -1")["state"] == "done"
    execution = init.wait("ended", attempt=running)["execution"]
    assert (execution["state"], execution["reason"]) == ("failed", "killed by SIGKILL (out of memory?)")
    assert init.execute("true")["state"] == "done"
    assert init.events("refused") == []


def test_a_sigterm_from_outside_ends_process_1(init: Bench) -> None:
    attempt = init.begin("exec sleep 60")
    wait_until(init.started)
    (process,) = children(init.pid)
    os.kill(process, signal.SIGTERM)
    assert init.wait("ended", attempt=attempt)["execution"]["state"] == "stopped"
    init.send(do="forget", attempts=[attempt])
    assert init.exit_code() == 0


def test_process_1_reaps_what_tasks_leave_to_it(init: Bench) -> None:
    for _ in range(3):
        init.execute("(setsid sleep 0.05 &); (setsid sleep 60 &); sleep 0.1")
    (process,) = children(init.pid)
    wait_until(lambda: not children(process))


# A runner as most containers have it.


@pytest.fixture
def unprivileged() -> Iterator[Bench]:
    """The runner of a user who is not root; only such a one can be short of processes, or is hidden."""
    python, options = sys.executable, {}
    if os.getuid() == 0:
        python = shutil.which("python3", path="/usr/bin:/usr/local/bin") or pytest.skip("needs a Python")
        options = {"wrapper": ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]}
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        path = Path(directory)
        try_it = [*options.get("wrapper", []), python, str(CODE / "framework/runner/__main__.py"), "--help"]
        if subprocess.run(try_it, capture_output=True, check=False).returncode:
            pytest.skip("a user who is not root cannot execute this checkout")
        bench = Bench(path, constants=FAST, python=python, **options)
        bench.start()
        assert bench.held() == {}
        yield bench
        bench.end()
        expect_no_child()


def test_a_task_does_not_see_what_its_runner_knows(unprivileged: Bench) -> None:
    script = "for name in environ maps mem fd/1; do cat /proc/$PPID/$name && echo read=1; done"
    daemon = "(setsid sh -c 'touch there; exec sleep 60' &); until [ -e there ]; do sleep 0.02; done"
    execution = unprivileged.execute(f"{daemon}; {script}; true")
    assert (execution["state"], execution["metrics"]) == ("done", {})
    assert execution["reason"] == "processes that it left running were ended: 1"
    errors = unprivileged.given[0].files.stderr.read_text()
    assert errors.count("Permission denied") == 4


def test_the_kernel_prefers_the_task_when_memory_is_short(unprivileged: Bench) -> None:
    own = int(Path(f"/proc/{unprivileged.pid}/oom_score_adj").read_text())
    score = min(own + 500, 1000)
    script = f"until [ $(cat /proc/self/oom_score_adj) = {score} ]; do sleep 0.02; done"
    assert unprivileged.execute(script)["state"] == "done"


def test_a_host_that_is_short_of_processes(unprivileged: Bench) -> None:
    (unprivileged.project / "train.py").write_text("def run(): return {'a': 1}")
    call = unprivileged.job("", command=[], function="train:run")

    def allow(processes: str) -> None:
        program = [*unprivileged.wrapper, "prlimit", f"--pid={unprivileged.pid}", f"--nproc={processes}:"]
        subprocess.run(program, check=True)

    allow("1")
    unprivileged.run(call)
    for attempt in (unprivileged.begin("true"), call.attempt):
        assert "cannot start a process" in unprivileged.wait("refused", attempt=attempt)["reason"]
    allow("10000")
    assert unprivileged.execute("true")["state"] == "done"
    unprivileged.run(call)
    assert unprivileged.wait("ended", attempt=call.attempt)["execution"]["metrics"] == {"a": 1}


# The worker dies; the runner comes to the socket of the next one.


@pytest.fixture
def linked(bench: Bench) -> Bench:
    bench._constants = FAST | {"runner.LEAVE_SECONDS": LEAVE_SECONDS}
    bench.start(link=True)
    assert bench.held() == {}
    return bench


def test_it_waits_for_its_worker(bench: Bench) -> None:
    bench.start(link=True, welcome=False)
    assert bench.hello["key"] is None
    bench.greet()
    assert bench.hello["key"] is None, "nobody has welcomed it"
    assert bench.held() == {}


def test_attempts_go_on_without_their_worker(linked: Bench) -> None:
    running = linked.begin(waiting(linked))
    ending = linked.begin("sleep 0.5; echo a=1")
    linked.wait("taken", attempt=ending)
    wait_until(lambda: len(linked.started()) == 2)
    linked.disconnect()
    wait_until(lambda: any(map(gone, linked.started())))  # in either order: they began side by side
    linked.greet()
    assert linked.hello["key"] == KEY
    held = linked.held()
    assert held[running]["ended"] == "running"
    if ending not in held or held[ending]["ended"] == "running":  # it is being written
        assert linked.wait("ended", attempt=ending)["execution"]["metrics"] == {"a": 1}
    else:
        assert held[ending]["ended"]["metrics"] == {"a": 1}
    linked.let_go()
    assert linked.wait("ended", attempt=running)["execution"]["state"] == "done"
    assert len(linked.started()) == 2


def outcome(bench: Bench, attempt: str) -> Event:
    """Of an attempt that has ended, as the runner says it to a worker that comes now."""
    bench.greet()
    said = bench.held().get(attempt, {}).get("ended", "running")
    if said == "running":  # it is being written
        said = bench.wait("ended", attempt=attempt)["execution"]
    return said  # type: ignore[no-any-return]


def test_what_ended_meanwhile_is_named_until_it_is_kept(linked: Bench) -> None:
    attempt = linked.begin("sleep 0.3; echo a=1")
    linked.wait("taken", attempt=attempt)
    linked.disconnect()
    wait_until(lambda: linked.believed()[attempt].ended)
    for _ in range(2):
        assert outcome(linked, attempt)["metrics"] == {"a": 1}
    linked.send(do="forget", attempts=[attempt])
    linked.greet()
    assert linked.held() == {}


def test_a_worker_that_leaves_and_does_not_come_back(linked: Bench) -> None:
    attempt = linked.begin("exec sleep 60")
    linked.wait("taken", attempt=attempt)
    linked.send(do="leave")
    linked.disconnect()
    wait_until(lambda: linked.believed()[attempt].ended)
    assert outcome(linked, attempt)["state"] == "stopped"
    assert linked.execute("true")["state"] == "done"


def test_a_worker_that_leaves_and_comes_back_in_time(linked: Bench) -> None:
    for _ in range(100):  # until it is in time
        attempt = linked.begin("exec sleep 60")
        linked.wait("started", attempt=attempt)
        began = time.monotonic()
        linked.send(do="leave")
        linked.greet()
        held = linked.held()
        if time.monotonic() - began < LEAVE_SECONDS:
            break
    assert held[attempt]["ended"] == "running"
    time.sleep(2 * LEAVE_SECONDS)
    linked.greet()
    assert linked.held()[attempt]["ended"] == "running"


def test_a_worker_that_dies_without_a_word_may_take_its_time(linked: Bench) -> None:
    attempt = linked.begin("exec sleep 60")
    wait_until(linked.started)
    linked.disconnect()
    time.sleep(2 * LEAVE_SECONDS)
    linked.greet()
    assert linked.held()[attempt]["ended"] == "running"


@pytest.mark.parametrize(
    "line", [b"no JSON", b"[]", b'{"do":"run"}', b'{"do":"run","jobs":[5]}', b'{"do":"stop","attempts":5}']
)
def test_the_connection_begins_anew_after_what_is_no_order(linked: Bench, line: bytes) -> None:
    attempt = linked.begin(waiting(linked))
    linked.wait("taken", attempt=attempt)
    linked.send_bytes(line + b"\n")
    assert linked.is_closed()
    linked.greet()
    assert linked.held()[attempt]["ended"] == "running"
    linked.let_go()
    assert linked.wait("ended", attempt=attempt)["execution"]["state"] == "done"


def test_orders_of_newer_workers_are_ignored(linked: Bench) -> None:
    linked.send(do="dance")
    linked.send(other=1)
    job = linked.job("true")
    linked.send(do="run", jobs=[{**job.to_message(), "new": 1}], new=1)
    assert linked.wait("ended", attempt=job.attempt)["execution"]["state"] == "done"


@pytest.mark.parametrize(
    "changed", [{"project_path": ...}, {"attempt": "not one"}, {"early_termination": {}, "ranked": "x"}]
)
def test_a_job_that_cannot_be_read_is_refused_and_the_others_run(
    linked: Bench, changed: dict[str, Any]
) -> None:
    jobs = [linked.job("true").to_message() for _ in range(3)]
    jobs[1] = {name: value for name, value in {**jobs[1], **changed}.items() if value is not ...}
    linked.send(do="run", jobs=jobs)
    refused = linked.wait("refused")
    assert (refused["attempt"], refused["reason"][:30]) == (
        jobs[1]["attempt"],
        "the runner cannot read its job",
    )
    for job in (jobs[0], jobs[2]):
        linked.wait("ended", attempt=job["attempt"])
    assert linked.believed().keys() == {jobs[0]["attempt"], jobs[2]["attempt"]}


def test_nothing_is_executed_before_the_welcome(bench: Bench) -> None:
    bench.start(welcome=False)
    bench.begin("true")
    bench.send(do="welcome", key=KEY)
    assert bench.held() == {}
    assert bench.started() == []
    assert "a message before the worker's welcome is ignored" in bench.messages.read_text()


def test_what_is_not_confirmed_yet_is_confirmed_to_the_next_worker(linked: Bench) -> None:
    linked.execute("true")
    linked.wait("taken")
    _, most = resource.prlimit(linked.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(linked.pid, resource.RLIMIT_FSIZE, (linked.log.stat().st_size, most))
    attempt = linked.begin("exec sleep 60")
    wait_until(lambda: len(linked.started()) == 2)
    linked.greet()
    assert linked.held().keys() == {linked.given[0].attempt}
    resource.prlimit(linked.pid, resource.RLIMIT_FSIZE, (most, most))
    linked.wait("taken", attempt=attempt)
    assert attempt in linked.believed()


def test_an_outcome_that_the_disk_does_not_have_is_not_said_to_the_next_worker(linked: Bench) -> None:
    attempt = linked.begin(waiting(linked))
    linked.wait("taken", attempt=attempt)
    _, most = resource.prlimit(linked.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(linked.pid, resource.RLIMIT_FSIZE, (linked.log.stat().st_size, most))
    linked.let_go()
    wait_until(lambda: "outcomes wait for room" in linked.messages.read_text())
    linked.greet()
    assert linked.held()[attempt]["ended"] == "running"
    resource.prlimit(linked.pid, resource.RLIMIT_FSIZE, (most, most))
    assert linked.wait("ended", attempt=attempt)["execution"]["state"] == "done"
    assert linked.believed()[attempt].ended


# New files of the framework.


class Versions:
    """Versions of the code, of which one is current."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.push("1", "first")

    def push(self, version: str, framework: str) -> None:
        (self.path / version).mkdir(parents=True)
        (self.path / version / "VERSION").write_text(f"framework={framework}\nproject=p\n")
        new = self.path / "new"
        new.symlink_to(version)
        new.replace(self.path / "current")


@pytest.fixture
def versions(bench: Bench) -> Versions:
    versions = Versions(bench.path / "code")
    bench._constants = FAST
    bench.start(f"--code={versions.path}")
    assert bench.held() == {}
    return versions


def test_an_idle_runner_ends_for_a_new_framework(bench: Bench, versions: Versions) -> None:
    assert bench.execute("true")["state"] == "done"
    bench.send(do="forget", attempts=[bench.given[0].attempt])
    versions.push("2", "first")  # another project
    time.sleep(0.5)
    assert bench.execute("true")["state"] == "done"
    bench.send(do="forget", attempts=[bench.given[1].attempt])
    versions.push("3", "second")
    assert bench.exit_code() == 0


def test_a_runner_that_holds_something_does_not_end_for_a_new_framework(
    bench: Bench, versions: Versions
) -> None:
    attempt = bench.begin(waiting(bench))
    wait_until(bench.started)
    versions.push("2", "second")
    time.sleep(0.5)
    bench.let_go()
    assert bench.wait("ended", attempt=attempt)["execution"]["state"] == "done"
    time.sleep(0.5)
    assert bench.process is not None
    assert bench.process.poll() is None
    bench.send(do="forget", attempts=[attempt])
    assert bench.exit_code() == 0


def test_code_that_is_broken_ends_nobody(bench: Bench, versions: Versions) -> None:
    (versions.path / "current").unlink()
    time.sleep(0.5)
    assert bench.execute("true")["state"] == "done"


# The program.


@pytest.mark.parametrize("options", [[], ["--link=/x", "--connection=3"], ["--log=/x", "--link=/x"]])
def test_options_that_make_no_sense(bench: Bench, options: list[str]) -> None:
    argv = [sys.executable, "-I", "-S", str(CODE / "framework/runner/__main__.py"), *options]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 2


def test_its_packages_are_those_of_python_alone(runner: Bench) -> None:
    assert "site-packages" not in Path(f"/proc/{runner.pid}/maps").read_text()
