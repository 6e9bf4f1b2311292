"""Calls in forks of the server: what they inherit, return and leave, and how they end."""

import errno
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from attempt_bench import ENVIRONMENT, TASK_PATH, CallBench, children, gone
from runner_bench import wait_until

from framework.errors import FrameworkError
from framework.runner import fork_server
from framework.runner.open_files import OpenFiles


def test_the_environment_is_what_a_task_may_see(calls: CallBench) -> None:
    calls.write("""
        import json
        AT_IMPORT = dict(os.environ)
        os.environ["OMP_NUM_THREADS"] = "1"
        def run():
            print(json.dumps([AT_IMPORT, dict(os.environ)]))
    """)

    def seen(environment: dict[str, str]) -> list[dict[str, str]]:
        calls.run(environment=environment)
        both: list[dict[str, str]] = json.loads(calls.stdout)
        for each in both:
            each.pop("LC_CTYPE", None)  # Python's own, where no locale is set
        return both

    def attempt(number: int) -> dict[str, str]:
        return {
            "TASK_ID": f"{number:016x}", "TASK_ATTEMPT": "3", "TASK_DIR": str(calls.attempts[number].work),
            "PWD": str(calls.attempts[number].work),
        }  # fmt: skip

    at_import, in_call = seen({"CUDA_VISIBLE_DEVICES": "0", "CUDA_CACHE": "x"})
    assert at_import == {
        **ENVIRONMENT, "CUDA_VISIBLE_DEVICES": "0", "CUDA_CACHE": "x",
        "PYTHONPATH": TASK_PATH, "PYTHONUNBUFFERED": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }  # fmt: skip
    del at_import["PYTORCH_NVML_BASED_CUDA_CHECK"]
    assert in_call == at_import | {"OMP_NUM_THREADS": "1"} | attempt(0)
    again, in_call = seen({"CUDA_VISIBLE_DEVICES": "3", "OMP_NUM_THREADS": "8"})
    assert again == at_import | {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    del at_import["CUDA_CACHE"]
    assert in_call == at_import | {"CUDA_VISIBLE_DEVICES": "3", "OMP_NUM_THREADS": "8"} | attempt(1)
    assert len(calls.pids("imported")) == 1


def test_no_descriptor_of_the_framework_is_open_in_a_call(calls: CallBench) -> None:
    calls.write("""
        MINE = open(__file__)
        def run():
            import subprocess
            fds = [int(fd) for fd in os.listdir("/proc/self/fd")]
            print([os.readlink(f"/proc/self/fd/{fd}") for fd in fds if fd > 2 and fd != max(fds)])
            subprocess.run(["ls", "/proc/self/fd"], close_fds=False)
    """)
    calls.run()
    own, *inherited = calls.stdout.splitlines()
    assert own == str([str(calls.project / "train.py")])
    assert inherited == ["0", "1", "2", "3"]  # the last is ls's own


def test_programs_that_an_import_starts_inherit_no_descriptor(calls: CallBench) -> None:
    calls.write("""
        import subprocess
        subprocess.run(["ls", "/proc/self/fd"], close_fds=False)
        def run(): pass
    """)
    calls.run()
    assert calls.stdout.splitlines() == ["0", "1", "2", "3"]  # the last is ls's own


class Served(Exception):
    """Raised in place of the end of the process."""


def serve_one(monkeypatch: pytest.MonkeyPatch, fork: Callable[[], int]) -> tuple[list[socket.socket], int]:
    """Serve one request in this process; return its descriptors' other ends, and how many were not closed."""

    def end(code: int) -> None:
        raise Served

    requests, worker = socket.socketpair()
    pairs = [socket.socketpair() for _ in range(4)]
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(worker, [b"\n"], [theirs.fileno() for _, theirs in pairs])
    worker.close()
    monkeypatch.setattr(fork_server, "fork", fork)
    monkeypatch.setattr(os, "_exit", end)
    with requests, pytest.raises(Served):
        fork_server.serve(requests, fork_server.Server("train:run", print, True, {}, OpenFiles(())))
    for _, theirs in pairs:
        theirs.close()
    after = len(os.listdir("/proc/self/fd"))
    return [ours for ours, _ in pairs], after - (before - 6)


def test_the_descriptors_of_a_request_are_not_inheritable_and_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inheritable: list[int] = []

    def fork() -> int:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
        inheritable.extend(each for each in descriptors if each > 2 and is_inheritable(each))
        return os.spawnlp(os.P_NOWAIT, "true", "true")

    before = [each for each in map(int, os.listdir("/proc/self/fd")) if each > 2 and is_inheritable(each)]
    ends, left_open = serve_one(monkeypatch, fork)
    for each in ends:
        assert each.recv(1) == b"", "nobody has its other end"
        each.close()
    assert (inheritable, left_open) == (before, 0)
    with suppress(ChildProcessError):
        os.waitpid(-1, 0)


def is_inheritable(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:  # it was that of the directory that was read
        return False


def test_a_fork_that_fails_is_reported_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise OSError(errno.EAGAIN, "out of processes")

    (channel, *others), left_open = serve_one(monkeypatch, fork)
    assert (json.loads(channel.recv(100)), left_open) == ({"errno": errno.EAGAIN}, 0)
    for each in (channel, *others):
        each.close()


def test_keepers_are_reaped(calls: CallBench) -> None:
    calls.write("def run(): pass")
    for _ in range(5):
        calls.run()
    (server,) = calls.pids("imported")
    wait_until(lambda: all(map(gone, children(server))))
    calls.run()
    wait_until(lambda: len(children(server)) <= 1)  # that of the last call


ENDS = {
    "raise ValueError('bad x')": (1, "exit code 1: ValueError: bad x"),
    "os.environ['NONE']": (1, "exit code 1: KeyError: 'NONE'"),
    "sys.exit(3)": (3, "exit code 3"),
    "sys.exit(-1)": (255, "exit code 255"),
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


def test_the_end_of_a_call_is_its_own(calls: CallBench) -> None:
    calls.write("""
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        def run(body):
            note("called")
            print("a=1")
            exec(body)
    """)
    found = {body: calls.run(body=body) for body in ENDS}
    assert {body: (each.exit_code, each.reason) for body, each in found.items()} == ENDS
    for each in found.values():
        assert each.metrics == {"a": 1}
        assert each.state == ("done" if each.exit_code == 0 else "failed")
    assert len(calls.pids("imported")) == 1


def test_a_traceback_is_of_the_users_code_alone(calls: CallBench) -> None:
    calls.write("""
        def run(x):
            return 1 / x
    """)
    calls.run(x=0)
    assert "ZeroDivisionError" in calls.stderr
    assert "fork_server" not in calls.stderr
    assert calls.run(y=0).reason == ("exit code 1: TypeError: run() got an unexpected keyword argument 'y'")


def test_what_is_left_in_the_group_is_killed(calls: CallBench) -> None:
    calls.write("""
        def run():
            if os.fork() == 0:
                note("called")
                time.sleep(60)
            while not (HERE / "called").exists(): time.sleep(0.01)
    """)
    assert calls.run().state == "done"  # that its child is gone, the fixture finds out


def test_what_python_does_at_its_end(calls: CallBench) -> None:
    calls.write("""
        import atexit, threading
        atexit.register(print, "registered by the import")
        def run():
            atexit.register(print, "registered by the call")
            threading.Thread(target=lambda: (time.sleep(0.2), print("a thread"))).start()
            print("no newline", end="")
    """)
    for _ in range(2):
        assert calls.run().state == "done"
        assert calls.stdout == "no newlinea thread\nregistered by the call\nregistered by the import\n"


def test_temporary_files_of_an_import_are_there_for_all_calls(calls: CallBench) -> None:
    calls.write("""
        import tempfile
        OURS = tempfile.TemporaryDirectory(dir=HERE)
        (Path(OURS.name) / "data").write_text("text")
        def run():
            global own
            own = tempfile.TemporaryDirectory(dir=HERE)
            return {"length": len((Path(OURS.name) / "data").read_text()), "own": own.name}
    """)
    for _ in range(3):
        found = calls.run()
        assert (found.reason, found.metrics["length"]) == ("", 4)
        assert not Path(str(found.metrics["own"])).exists()
    calls.runner.end()
    assert [each.name for each in calls.project.iterdir() if each.name.startswith("tmp")] == []


def test_the_kernel_prefers_the_task_when_memory_is_short(calls: CallBench) -> None:
    calls.write("""
        def run():
            print(Path("/proc/self/oom_score_adj").read_text())
    """)
    calls.run()
    assert int(calls.stdout) == min(int(Path("/proc/self/oom_score_adj").read_text()) + 500, 1000)


@pytest.mark.parametrize("number", [1, 2], ids=["the server's", "the keeper's"])
def test_a_fork_that_fails_is_not_the_tasks_fault(calls: CallBench, number: int) -> None:
    calls.write(f"""
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
        calls.run()
