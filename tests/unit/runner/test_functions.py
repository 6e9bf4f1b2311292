"""Functions as they are really called: one import, processes of their own, and deaths of all kinds."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from attempt_bench import CallBench, gone, parent, run_to_timeout
from runner_bench import wait_until

from framework.runner.orphans import task_processes


def test_a_function_that_works(calls: CallBench) -> None:
    (calls.project / "data.txt").write_text("from the project")
    calls.write("""
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
    found = calls.run(**parameters)
    assert (found.state, found.exit_code, found.reason) == ("done", 0, "")
    assert found.metrics == {"a": 2, "b": "x", "c": 0.5}
    assert 0 < found.seconds < 10
    assert calls.stdout == f"from the project {parameters!r}\nTraining: a=1, b=x\n"
    assert calls.stderr == "oops\n"
    left = sorted(path.name for path in calls.attempts[0].work.iterdir())
    assert left == ["metrics.json", "mine.txt"]


def test_the_import_is_paid_once_and_each_call_has_a_process_of_its_own(calls: CallBench) -> None:
    calls.write("""
        print("Import: n=1")
        CALLS = []
        def run(x):
            CALLS.append(x)
            note("called")
            sys.modules["train"].run = None
            return {"calls": len(CALLS)}
    """)
    assert [calls.run(x=x).metrics for x in range(3)] == [{"n": 1, "calls": 1}, {"calls": 1}, {"calls": 1}]
    assert (len(calls.pids("imported")), len(set(calls.pids("called")))) == (1, 3)
    assert [files.stdout.read_text() for files in calls.attempts] == ["Import: n=1\n", "", ""]


def test_a_module_in_a_package_finds_its_neighbours(calls: CallBench) -> None:
    (calls.project / "models" / "deep").mkdir(parents=True)
    (calls.project / "helper.py").write_text("X = 5")
    (calls.project / "models" / "deep" / "train.py").write_text(
        "import helper, sys\nfrom framework import report\n"
        "def run():\n    report(x=helper.X); print(sys.argv)\n"
    )
    assert calls.run(function="models.deep.train:run").metrics == {"x": 5}
    assert calls.stdout == "report: x=5\n['models.deep.train:run']\n"


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
    calls: CallBench, program: str, reason: str
) -> None:
    calls.write(f"print('oops', file=sys.stderr)\n{program}")
    for _ in range(2):
        found = calls.run()
        assert found.state == "failed"
        assert found.reason.startswith(reason)
        assert "framework" not in calls.stderr
    assert len(calls.pids("imported")) == (0 if "(:" in program else 2)
    calls.write("def run(): return {'a': 1}")
    os.utime(calls.project / "train.py", (1, 1))  # Python looks at seconds, and the size may be the same
    assert calls.run().metrics == {"a": 1}


def test_a_timeout_ends_the_whole_group(calls: CallBench) -> None:
    calls.write("""
        import signal, subprocess
        signal.signal(signal.SIGTERM, lambda *_: (print("bye"), sys.exit(0)))  # as it would be in a script
        def run():
            child = subprocess.Popen(["sleep", "60"])
            (HERE / "called").write_text(str(child.pid))
            print("a=1")
            time.sleep(60)
    """)
    found, timeout = run_to_timeout(lambda timeout: calls.run(timeout=timeout))
    assert (found.state, found.exit_code, found.reason) == (
        "timeout", 0, f"ran longer than its timeout of {timeout:g} s",
    )  # fmt: skip
    assert found.seconds < 59
    assert found.metrics == {"a": 1}
    assert calls.stdout == "a=1\nbye\n"


def test_what_a_call_leaves_in_other_sessions_is_ended(calls: CallBench) -> None:
    calls.write(
        """
        import subprocess
        def run():
            subprocess.Popen(["sleep", "60"], start_new_session=True)
            for _ in range(2):           # a daemon: its parent ends at once
                if os.fork() == 0:
                    os.setsid()
                    if os.fork() == 0:
                        note("called")
                        time.sleep(60)
                    os._exit(0)
            notes = HERE / "called"
            while not notes.exists() or len(notes.read_text().split()) < 2:
                time.sleep(0.01)
        """
    )
    assert calls.run().state == "done"
    assert [gone(pid) for pid in calls.pids("called")] == [True, True]
    assert list(task_processes(calls.attempts[-1].directory)) == []


def test_children_that_a_call_left_are_reaped_while_it_runs(calls: CallBench) -> None:
    calls.write(
        """
        def run():
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    note("called")
                os._exit(0)
            os.wait()
            while not HERE.joinpath("called").exists():
                time.sleep(0.01)
            pid = HERE.joinpath("called").read_text().strip()
            while os.path.exists(f"/proc/{pid}"):
                time.sleep(0.01)
        """
    )
    assert calls.run().state == "done"


def test_a_log_that_the_import_opens_in_a_read_only_project_is_each_calls_own(calls: CallBench) -> None:
    # Root may write there: what the kernel refuses to others is put into the program.
    calls.write(
        """
        import logging
        if os.getcwd() == str(HERE):
            raise PermissionError(13, "Permission denied", "outputs")
        os.makedirs("outputs", exist_ok=True)
        logging.basicConfig(filename="outputs/train.log", level=logging.INFO)
        def run(x):
            logging.info("x is %s", x)
            return {"y": x}
        """
    )
    for x in (1, 2):
        found = calls.run(x=x)
        assert (found.state, found.metrics) == ("done", {"y": x})
        assert found.reason == "train:run is imported by each call: its import writes outputs"
        log = (calls.attempts[-1].work / "outputs/train.log").read_text()
        assert [number for number in (1, 2) if f"x is {number}" in log] == [x]


def test_a_file_that_cannot_be_read_fails_the_task(calls: CallBench) -> None:
    (calls.project / "data.csv").touch()
    calls.write("raise PermissionError(13, 'Permission denied', 'data.csv')")
    found = calls.run()
    assert (found.state, found.exit_code) == ("failed", 1)
    assert "train:run cannot be imported: PermissionError: [Errno 13] Permission denied" in found.reason


def test_what_ignores_term_is_killed(calls: CallBench) -> None:
    calls.write("""
        import signal
        def run():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            note("called")
            print("a=1", flush=True)
            while True: time.sleep(0.1)
    """)
    found, _ = run_to_timeout(lambda timeout: calls.run(timeout=timeout))
    assert (found.state, found.exit_code) == ("timeout", 137)


def test_stop(calls: CallBench) -> None:
    calls.write("""
        def run():
            note("called")
            time.sleep(60)
    """)
    running = calls.begin()
    wait_until(lambda: calls.pids("called"))
    running.stop()
    found = running.result()
    assert (found.state, found.reason) == ("stopped", "stopped by the master, or because its worker stopped")


def test_metrics_come_while_it_runs(calls: CallBench) -> None:
    calls.write("""
        def run():
            print("Step: i=1")
            while not (HERE / "go").exists(): time.sleep(0.01)
            print("Step: i=2")
    """)
    running = calls.begin()
    wait_until(lambda: calls.seen == [{"i": 1}])
    (calls.project / "go").touch()
    assert running.result().metrics == {"i": 2}


def test_many_at_once(calls: CallBench) -> None:
    calls.write("""
        def run(x):
            note("called")
            while len((HERE / "called").read_text().split()) < 4: time.sleep(0.01)
            print(f"x={x}")
            sys.exit(x)
    """)
    found = [each.result() for each in [calls.begin(x=x) for x in range(4)]]
    assert [(each.exit_code, each.metrics) for each in found] == [(x, {"x": x}) for x in range(4)]
    assert len(calls.pids("imported")) == 1


WAITING = """
    def run(x):
        note("called")
        while not (HERE / "go").exists(): time.sleep(0.01)
        return {"x": x}
"""


def test_a_server_that_is_killed_takes_no_call_with_it(calls: CallBench) -> None:
    calls.write(WAITING)
    running = [calls.begin(x=x) for x in range(2)]
    wait_until(lambda: len(calls.pids("called")) == 2)
    (server,) = calls.pids("imported")
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: gone(server))
    (calls.project / "go").touch()
    found = [each.result() for each in running]
    assert [(each.state, each.metrics) for each in found] == [("done", {"x": x}) for x in range(2)]
    assert calls.run(x=5).metrics == {"x": 5}
    assert len(calls.pids("imported")) == 2


def test_a_server_that_dies_before_it_forks_is_replaced(calls: CallBench) -> None:
    calls.write(WAITING)
    (calls.project / "go").touch()
    calls.run(x=1)
    (server,) = calls.pids("imported")
    os.kill(server, signal.SIGSTOP)
    waiting = calls.begin(x=2)
    wait_until(lambda: calls.attempts[1].stderr.exists())
    os.kill(server, signal.SIGKILL)
    assert waiting.result().metrics == {"x": 2}


def test_a_new_version_of_the_project_ends_the_server_of_the_older_one(
    calls: CallBench, tmp_path: Path
) -> None:
    calls.write(WAITING)
    running = calls.begin(x=1)
    wait_until(lambda: calls.pids("called"))
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "train.py").write_text("def run(x): return {'x': 2 * x}")
    assert calls.run(x=2, project=newer).metrics == {"x": 4}
    (server,) = calls.pids("imported")
    wait_until(lambda: gone(server))
    (calls.project / "go").touch()
    assert running.result().metrics == {"x": 1}


def test_an_import_that_takes_too_long_is_begun_anew_for_those_who_can_wait(calls: CallBench) -> None:
    calls.write("""
        if len((HERE / "imported").read_text().split()) == 1: time.sleep(60)
        def run(x):
            return {"x": x}
    """)
    waiting = calls.begin(x=1)
    wait_until(lambda: calls.pids("imported"))
    found = calls.run(timeout=0.3, x=2)
    assert (found.state, found.exit_code) == ("timeout", None)
    assert waiting.result().metrics == {"x": 1}
    assert calls.run(x=3).metrics == {"x": 3}
    assert len(calls.pids("imported")) == 2


def test_a_stop_while_it_is_imported(calls: CallBench) -> None:
    calls.write("time.sleep(60)")
    waiting = calls.begin()
    wait_until(lambda: calls.pids("imported"))
    waiting.stop()
    assert waiting.result().state == "stopped"
    wait_until(lambda: gone(calls.pids("imported")[0]))


def test_server_and_calls_end_with_the_runner(calls: CallBench) -> None:
    calls.write(WAITING)
    calls.begin(x=1)
    wait_until(lambda: calls.pids("called"))
    keeper = parent(calls.pids("called")[0])
    calls.runner.kill()
    for pid in (*calls.pids("imported"), *calls.pids("called"), keeper):
        wait_until(lambda pid=pid: gone(pid))  # type: ignore[misc]


def test_server_and_calls_end_with_the_worker(calls: CallBench) -> None:
    calls.write("""
        import signal
        def run():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            note("called")
            while True: time.sleep(0.1)
    """)
    calls.begin()
    wait_until(lambda: calls.pids("called"))
    calls.runner.end()
    for pid in (*calls.pids("imported"), *calls.pids("called")):
        assert gone(pid)


def test_nothing_stays_open(calls: CallBench) -> None:
    calls.write("def run(x): sys.exit(x)")
    calls.run(x=0)
    (server,) = calls.pids("imported")

    def held() -> list[int]:
        return [len(os.listdir(f"/proc/{process}/fd")) for process in (calls.runner.pid, server)]

    before = held()
    for x in range(5):
        calls.run(x=x)
    wait_until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))
