"""Local runs as people use them: real processes, which leave a mark for each execution."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forks import RUN, Fork, commands
from runner_bench import wait_until
from webhook import Webhook

from framework.files import LocalFiles
from framework.journal.store import Journal
from framework.runner.orphans import task_processes

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 60.0
WRITES_AT_ONCE = f"import framework.master.publisher as it\nit.RESULTS_SECONDS = 0.1\n{RUN}"


class Bench:
    """A project in a directory whose name is no friend of shells, and what its tasks have left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.project = path / "my project's $(id)"
        self.project.mkdir()
        self.marks = path / "marks"
        self.files = LocalFiles(path / "results/local" / self.project.name)
        self.started: list[Fork] = []
        self.program = RUN
        self.write(x="[1, 2, 3]")

    def write(self, x: str, program: str = "", settings: str = "") -> None:
        """`program`: what its shell does after it has left its mark, with $1 = --x=…"""
        (self.project / "project.yml").write_text(
            f"command: sh run.sh\nmetric: loss\ngoal: maximize\n{settings}\n"
        )
        (self.project / "parameters.yml").write_text(f"x: {x}\n")
        mark = shlex.quote(str(self.marks))
        (self.project / "run.sh").write_text(f"echo ${{1#--x=}} >>{mark}\n{program}\necho loss=${{1#--x=}}\n")

    def start(self, *options: str, project: Path | None = None) -> Fork:
        process = commands().start(
            self.program, "run", str(project or self.project), "--slots", "2", *options,
            environment=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, directory=self.path,
        )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *options: str) -> tuple[int, str]:
        return self.start(*options).end()

    def ran(self) -> list[str]:
        """What was executed since this was asked last."""
        marks = self.marks.read_text().split() if self.marks.exists() else []
        self.marks.unlink(missing_ok=True)
        return sorted(marks)

    def rows(self) -> list[dict[str, str]]:
        with self.files.master.results.open() as file:
            return list(csv.DictReader(file))

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows()]

    def processes(self) -> list[int]:
        """Of its tasks."""
        return list(task_processes(self.files.worker.tasks))

    def interrupt(self) -> Fork:
        """A run of tasks, of which the first two are done, and two more run for a minute, or until `go`."""
        go, waiting = (shlex.quote(str(self.path / name)) for name in ("go", "waiting"))
        script = f"[ -e {go} ] || {{ echo $1 >>{waiting}; sleep 60 & wait; }}"
        self.write(x="[1, 2, 3, 4, 5]", program=f"case $1 in *[345]) {script} ;; esac; :")
        process = self.start()
        wait_until(lambda: words(self.path / "waiting") == 2)
        (self.path / "go").touch()
        return process


def words(file: Path) -> int:
    """The number of words in a file, which need not be there yet."""
    return len(file.read_text().split()) if file.exists() else 0


def runner_of(process: int) -> int:
    """The one child of a run."""
    (runner,) = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return int(runner)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    for process in bench.started:
        process.kill()
        process.end()


def test_every_combination_runs_once_and_only_new_ones_run_again(bench: Bench) -> None:
    code, output = bench.run()
    assert (code, bench.ran()) == (0, ["1", "2", "3"]), output
    assert "3/3 tasks" in output
    assert f"results: results/local/{bench.project.name}/results.csv" in output
    assert [(row["x"], row["state"], row["loss"]) for row in bench.rows()] == [
        (x, "done", x) for x in ("1", "2", "3")
    ]
    task = bench.rows()[0]["task"]
    assert bench.files.worker.attempt(task, 1).stdout.read_text() == "loss=1\n"

    code, output = bench.run()
    assert (code, bench.ran()) == (0, []), output
    bench.write(x="[1, 2, 3, 4]")
    code, output = bench.run()
    assert (code, bench.ran()) == (0, ["4"]), output
    assert len(bench.rows()) == 4
    assert len({row["code"] for row in bench.rows()}) == 2, "each row says which version produced it"


def test_results_of_other_files_are_never_shown_without_a_word(bench: Bench) -> None:
    bench.run()
    (bench.project / "run.sh").write_text("echo loss=7\n")
    code, output = bench.run()
    assert code == 0
    notice = "3 of 3 results were made with other files of the project, or in another image: python -m "
    assert output.count(notice) == 1
    assert output.index(notice) < output.index("loss  x  task")
    assert bench.run("--outdated")[0] == 0
    assert [row["loss"] for row in bench.rows()] == ["7", "7", "7"]
    assert notice not in bench.run()[1]


def test_two_projects_of_one_name_share_no_results(bench: Bench) -> None:
    bench.run()
    bench.ran()
    namesake = bench.path / "elsewhere" / bench.project.name
    shutil.copytree(bench.project, namesake)
    bench.project = namesake
    code, output = bench.run()
    assert (code, bench.ran()) == (0, ["1", "2", "3"]), output
    first, second = sorted((bench.path / "results/local").iterdir())
    assert first == bench.files.path
    assert f"results/local/{first.name} belongs to another project: results/local/{second.name} is" in output
    assert f"results: results/local/{second.name}/results.csv" in output
    assert f"{first} is the directory of another project" in bench.run("--data", str(first))[1]
    code, output = bench.run()
    assert (code, bench.ran(), "another project" in output) == (0, [], False), output


def test_a_python_program_reports_and_leaves_the_project_as_it_is(bench: Bench) -> None:
    (bench.project / "kept.txt").write_text("mine")
    (bench.project / "train.py").write_text(
        "import sys\nfrom pathlib import Path\nfrom framework import report\n"
        "Path('own.txt').write_text(sys.argv[1])\n"
        "Path('kept.txt').unlink()\nPath('kept.txt').write_text('of a task')\n"
        "report(loss=float(sys.argv[1].partition('=')[2]))\n"
    )
    (bench.project / "project.yml").write_text(
        f"command: ['{sys.executable}', train.py]\nmetric: loss\ngoal: maximize\n"
    )
    before = sorted(bench.project.rglob("*"))
    code, output = bench.run("--data", "my data")
    assert code == 0, output
    assert (sorted(bench.project.rglob("*")), (bench.project / "kept.txt").read_text()) == (before, "mine")
    files = LocalFiles(bench.path / "my data")
    with Journal(files.master.journal, read_only=True) as journal:
        assert journal.metric_names() == {"loss"}
    written = sorted(file.read_text() for file in files.worker.tasks.glob("*/1/files/own.txt"))
    assert written == ["--x=1", "--x=2", "--x=3"]


def test_a_command_can_name_the_variables_of_its_task(bench: Bench) -> None:
    names = ("TASK_ID", "TASK_ATTEMPT", "TASK_DIR", "PYTHONPATH", "PYTHONUNBUFFERED")
    words = [f'"--{name}=${{envvar:{name}}}"' for name in names]
    (bench.project / "show.sh").write_text('printf "%s\\n" "$@"\n')
    (bench.project / "project.yml").write_text(f"command: [sh, show.sh, {', '.join(words)}]\n")
    bench.project.joinpath("parameters.yml").write_text("x: 1\n")
    code, output = bench.run()
    assert code == 0, output
    files = bench.files.worker.attempt(bench.rows()[0]["task"], 1)
    in_tasks = (bench.files.code / "current").resolve() / "framework" / "in_tasks"
    path = os.pathsep.join([str(in_tasks), *sys.path])  # the user's own comes second
    values = (files.task, 1, files.work, path, 1)
    expected = [f"--{name}={value}" for name, value in zip(names, values, strict=True)]
    assert files.stdout.read_text().splitlines() == [*expected, "--x=1"]


def test_after_an_interruption_it_goes_on_with_what_has_not_ended(bench: Bench) -> None:
    process = bench.interrupt()
    process.send_signal(signal.SIGINT)
    code, output = process.end()
    assert code == 130, output
    assert "to continue: python -m framework run " in output
    assert (bench.processes(), bench.ran()) == ([], ["1", "2", "3", "4"])
    assert bench.states() == ["done", "done"]
    code, output = bench.run()
    assert (code, bench.ran()) == (0, ["3", "4", "5"]), output
    assert bench.states() == ["done"] * 5


def test_a_second_interruption_does_not_wait_for_tasks_that_will_not_end(bench: Bench) -> None:
    trapped = bench.path / "trapped"
    program = f"trap '' TERM; touch {shlex.quote(str(trapped))}; while :; do sleep 1; done"
    bench.write(x="[1]", program=program)
    process = bench.start()
    wait_until(trapped.exists)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C again to kill them" in line:
            break
    process.send_signal(signal.SIGINT)
    code, output = process.end()
    assert (code, bench.processes()) == (130, []), output
    with sqlite3.connect(bench.files.master.journal) as journal:
        (attempt,) = journal.execute("SELECT state, exit_code FROM attempts").fetchall()
    journal.close()
    assert attempt == ("stopped", 128 + signal.SIGKILL)


@pytest.mark.parametrize("runner", ["lives", "is killed, too"])
def test_a_run_that_is_killed_leaves_no_task_behind_and_the_next_one_goes_on(
    bench: Bench, runner: str
) -> None:
    process = bench.interrupt()
    if runner != "lives":
        os.kill(process.pid, signal.SIGSTOP)  # it starts no other one
        os.kill(runner_of(process.pid), signal.SIGKILL)
    process.kill()
    process.wait()
    if runner == "lives":
        wait_until(lambda: not bench.processes())
    else:
        assert bench.processes(), "left to the next run"
    assert bench.ran() == ["1", "2", "3", "4"]
    code, output = bench.run()
    assert (code, bench.ran()) == (0, ["3", "4", "5"]), output
    assert bench.processes() == []
    # the fifth may have been waiting for a slot, and then was lost, too
    assert [row["attempts"] for row in bench.rows()][:4] == ["1", "1", "2", "2"]


def test_a_runner_that_is_killed_is_replaced_and_its_tasks_run_again(bench: Bench) -> None:
    process = bench.interrupt()
    os.kill(runner_of(process.pid), signal.SIGKILL)
    code, output = process.end()
    assert (code, bench.ran()) == (0, ["1", "2", "3", "3", "4", "4", "5"]), output
    assert output.count("the runner of this run was killed; another one is started") == 1
    assert bench.states() == ["done"] * 5
    assert [row["attempts"] for row in bench.rows()][2:4] == ["2", "2"]
    assert bench.processes() == []


def test_a_runner_that_is_killed_again_and_again_ends_the_run_with_one_clear_error(bench: Bench) -> None:
    bench.write(x="[1]", program="kill -KILL $PPID; sleep 60")
    code, output = bench.run()
    assert code == 1
    assert "the process that runs the tasks was killed 5 times in a minute" in output
    assert "Traceback" not in output
    assert (bench.ran(), bench.processes()) == (["1"] * 5, [])


def test_a_run_that_is_killed_between_a_result_and_its_journal_loses_nothing(bench: Bench) -> None:
    go = shlex.quote(str(bench.path / "go"))
    bench.write(x="[1]", program=f"until [ -e {go} ]; do sleep 0.02; done")
    process = bench.start()
    wait_until(bench.marks.exists)
    with sqlite3.connect(bench.files.master.journal, isolation_level=None) as journal:
        wait_until(lambda: journal.execute("SELECT started FROM attempts").fetchall() not in ([], [(None,)]))
        journal.execute("BEGIN IMMEDIATE")  # the run's own transactions wait
        (bench.path / "go").touch()
        wait_until(lambda: b'"ended"' in bench.files.worker.runner_log.read_bytes())
        process.kill()
        process.wait()
        journal.execute("ROLLBACK")
    journal.close()
    assert bench.ran() == ["1"]
    code, output = bench.run()
    assert (code, bench.ran()) == (0, []), output
    assert [(row["loss"], row["attempts"]) for row in bench.rows()] == [("1", "1")]


def test_results_from_before_a_metaparameter_count_with_its_default(bench: Bench) -> None:
    bench.write(x="[1, 2]")
    bench.run()
    bench.ran()
    with (bench.project / "parameters.yml").open("a") as parameters:
        parameters.write("y: [0.0, 0.5]\n")
    with (bench.project / "project.yml").open("a") as settings:
        settings.write("defaults: {y: 0.0}\n")
    code, output = bench.run()
    assert (code, bench.ran()) == (0, ["1", "2"]), output
    assert [(row["x"], row["y"]) for row in bench.rows()] == [
        (x, y) for x in ("1", "2") for y in ("0.0", "0.5")
    ]
    assert "1     1  0.0  " in output, "the table has it, too"
    assert bench.run("--fresh")[0] == 0
    assert len(bench.ran()) == 4


def test_paths_that_lead_out_of_the_project_are_said_before_anything_runs(bench: Bench) -> None:
    (bench.path / "data").mkdir()
    bench.write(x="[1]", program="ls ../data")
    _, output = bench.run()
    notice = (
        f"{bench.project}/run.sh:2:4: '../data' leads out of the project, and tasks will not find it; move"
    )
    assert output.startswith(notice), output


def test_a_mount_that_is_not_here_is_refused_before_anything_runs(bench: Bench) -> None:
    (bench.path / "data").mkdir()
    target = bench.path / "mounted"
    bench.write(x="[1]", settings=f"mounts: {{'{bench.path}/data': {target}, /nowhere: /nowhere}}")
    code, output = bench.run()
    assert (code, bench.ran(), len(output.splitlines())) == (2, [], 3), output
    assert f"run: sudo ln -s {bench.path}/data {target}" in output
    target.symlink_to("data")
    bench.write(x="[1]", program=f"[ -d {target} ]", settings=f"mounts: {{'{bench.path}/data': {target}}}")
    code, output = bench.run()
    assert (code, bench.ran()) == (0, ["1"]), output


def test_a_setup_runs_once_for_a_version_before_its_tasks(bench: Bench) -> None:
    settings = "setup: [sh, setup.sh]"
    (bench.project / "setup.sh").write_text(
        f"echo setup >>{shlex.quote(str(bench.marks))}\n"
        'cat setup.sh >/dev/null && pwd >made; [ "$PWD" = "$SETUP_DIR" ]\n'
    )
    reads = '[ "$(cat "$SETUP_DIR/made")" = "$SETUP_DIR" ] && [ "$PWD" != "$SETUP_DIR" ] || exit 1'
    bench.write(x="[1, 2]", settings=settings, program=reads)
    code, output = bench.run()
    assert (code, bench.ran()) == (0, ["1", "2", "setup"]), output
    code, output = bench.run("--fresh")
    assert (code, bench.ran()) == (0, ["1", "2"]), output
    (bench.project / "more").write_text("another version")
    code, output = bench.run("--fresh")
    assert (code, bench.ran()) == (0, ["1", "2", "setup"]), output
    assert len(list(bench.files.worker.setup.iterdir())) <= 2


def test_a_setup_that_fails_ends_the_run_and_begins_again_with_the_next(bench: Bench) -> None:
    bench.write(x="[1, 2]", settings="setup: sh -c 'echo no such data >&2; exit 3'\nsetup_timeout: 1h")
    for _ in range(2):
        code, output = bench.run()
        assert (code, bench.ran()) == (1, []), output
        assert "this machine failed its setup: exit code 3: no such data; log: " in output
    bench.write(x="[1, 2]", settings="setup: sleep 600\nsetup_timeout: 0.2")
    code, output = bench.run()
    assert (code, bench.ran()) == (1, []), output
    assert "this machine failed its setup: ran longer than its timeout of 0.2 s; log: " in output


def test_a_setup_that_is_interrupted_ends_with_the_run_and_begins_again(bench: Bench) -> None:
    started, go = bench.path / "started", bench.path / "go"
    script = f"echo began >>{started}; while [ ! -e {go} ]; do sleep 0.05; done"
    bench.write(x="[1]", settings=f"setup: [sh, -c, {json.dumps(script)}]")
    for number, kind in enumerate((signal.SIGINT, signal.SIGKILL), 1):
        process = bench.start()
        wait_until(lambda: words(started) == number)  # noqa: B023
        process.send_signal(kind)
        process.wait(PATIENCE_SECONDS)
        wait_until(lambda: not list(task_processes(bench.files.worker.setup)))
    go.touch()
    code, output = bench.run()
    assert (code, bench.ran(), len(started.read_text().split())) == (0, ["1"], 3), output


def test_a_retry_finds_what_the_attempt_before_it_left(bench: Bench) -> None:
    bench.write(
        x="[1]",
        program='[ -z "$TASK_PREVIOUS_DIR" ] || exec cat "$TASK_PREVIOUS_DIR/checkpoint"\n'
        "cp ../parameters.json . && echo loss=0.5 >checkpoint; exit 1",
        settings="retries: 1",
    )
    code, output = bench.run()
    assert code == 0, output
    (row,) = bench.rows()
    assert (row["state"], row["attempts"], row["loss"]) == ("done", "2", "0.5")
    first = bench.files.worker.attempt(row["task"], 1)
    assert json.loads((first.work / "parameters.json").read_text()) == {"x": 1}, "it is there from the start"


def test_failed_tasks_fail_the_run_and_are_said(bench: Bench) -> None:
    bench.write(x="[1, 2, 3]", program="[ $1 != --x=2 ] || { echo 'no luck' >&2; exit 7; }")
    code, output = bench.run()
    assert code == 1
    assert "exit code 7: no luck" in output
    assert "1 of 3 tasks failed" in output
    assert bench.states() == ["done", "failed", "done"]
    bench.ran()
    code, output = bench.run()
    assert (code, bench.ran()) == (1, []), "they are not run again unless asked for"
    assert "1 task failed earlier; nothing was run; to run it again: python -m framework run " in output
    assert (bench.run("--failed")[0], bench.ran()) == (1, ["2"])
    bench.write(x="[1, 2, 3]")
    code, output = bench.run("--failed")
    assert (code, bench.ran()) == (0, ["2"]), output
    assert "--slots 2 --outdated runs these again" in output
    assert (bench.run("--outdated")[0], bench.ran()) == (0, ["1", "3"])
    assert (bench.run("--fresh")[0], bench.ran()) == (0, ["1", "2", "3"])


def test_of_many_failures_a_few_are_said_and_missing_packages_are_named(bench: Bench) -> None:
    bench.write(
        x="{range: [0, 14, 1]}", program="echo \"ModuleNotFoundError: No module named 'sklearn'\" >&2; exit 1"
    )
    (bench.project / "requirements.txt").touch()
    code, output = bench.run()
    assert (code, output.count("failed on local: exit code 1: ModuleNotFoundError")) == (1, 10)
    assert output.count("further messages of this kind") == 1
    assert "python -m pip install -r" in output
    assert "14 of 14 tasks failed" in output


def test_a_set_that_is_stopped_goes_on_when_it_is_run_again(bench: Bench) -> None:
    bench.write(x="[1, 2]", program="[ $1 != --x=1 ] || exit 1", settings="max_failures: 1")
    code, output = bench.run("--slots", "1")
    assert (code, bench.ran()) == (1, ["1"]), output
    assert "max_failures: 1 in project.yml; to resume it: python -m framework run " in output
    assert "infrainit" not in output
    code, output = bench.run()
    assert (code, bench.ran()) == (1, ["2"]), output
    assert "1 of 2 tasks failed" in output


def test_a_command_says_where_its_arguments_stand(bench: Bench) -> None:
    (bench.project / "project.yml").write_text(
        "command: ./{tool}.sh {layers} '{text}' {{}} {task_id}/{task_attempt} {task_dir} ${args_json}\n"
        "metric: loss\ngoal: minimize\n"
    )
    text = "a {x} ${envvar:HOME} b"
    (bench.project / "parameters.yml").write_text(
        f"tool: [one]\nlayers: [[64, 32], null]\ntext: {json.dumps(text)}\n"
    )
    program = bench.project / "one.sh"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\necho loss=1\n')
    program.chmod(0o755)
    code, output = bench.run()
    assert code == 0, output
    said = {}
    for task in bench.files.worker.tasks.iterdir():
        words = (task / "1/stdout").read_text().splitlines()[:-1]
        assert words[1:5] == [text, "{}", f"{task.name}/1", str(task / "1/files")]
        said[words[0]] = json.loads(words[5])
    assert said == {
        str(layers): {"tool": "one", "layers": layers, "text": text} for layers in ([64, 32], None)
    }
    with bench.files.master.results.open(newline="") as file:
        assert {row["layers"] for row in csv.DictReader(file)} == {"[64, 32]", "null"}
    assert "[64, 32]" in output, "in the ranking"


def test_what_is_wrong_with_a_project_is_said_before_anything_is_made(bench: Bench) -> None:
    (bench.project / "parameters.yml").write_text("x: [1, 2]\ny: []\n")
    code, output = bench.run()
    assert code == 2
    assert "parameters.yml:2:4:" in output
    bench.write(x="[1]")
    (bench.project / "project.yml").write_text("command: no-such-program\n")
    code, output = bench.run()
    assert code == 2
    assert "'no-such-program' cannot be run here" in output
    (bench.project / "project.yml").write_text("command: ./run.sh\n")
    code, output = bench.run()
    assert code == 2
    assert "run chmod +x on it" in output
    assert not bench.files.path.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--slots", "0"), "--slots: '0' is no whole number of 1 or more"),
        (("--name", "a/b"), "--name is 'a/b'"),
        (("--data", "a:b"), "has ':' in its name"),
        (("--data", "my project's $(id)"), "is the project itself"),
    ],
)
def test_options_that_make_no_sense_are_refused(bench: Bench, options: tuple[str, ...], said: str) -> None:
    code, output = bench.run(*options)
    assert (code, bench.ran()) == (2, [])
    assert said in output


def test_a_sweep_file_in_a_directory_below_its_program(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("project.yml", "parameters.yml", "run.sh"):
        (bench.project / name).unlink()
    (bench.project / "sweeps").mkdir()
    (bench.project / "sweeps/wide.yaml").write_text(
        "program: fit.py\nmethod: grid\nmetric: {name: loss}\ncommand: ['${interpreter}', '${program}']\n"
        "parameters: {x: {values: [1, 2, 3]}, o: {parameters: {y: {value: [null, 1.0e-5]}}}}\n"
    )
    (bench.project / "fit.py").write_text(
        "import os\nconfig = open(os.environ['WANDB_SWEEP_PARAM_PATH']).read()\n"
        "assert '  value: 1\\n' not in config and '- 1.0e-05' in config, config\n"
        "print('mode', os.environ['WANDB_MODE'])\nprint('loss=2')\n"
    )
    monkeypatch.setenv("WANDB_MODE", "disabled")
    code, said = bench.start("--root", str(bench.project), project=bench.project / "sweeps/wide.yaml").end()
    assert code == 1, said
    assert "1 of 3 tasks failed" in said
    files = LocalFiles(bench.path / "results/local/wide")
    outputs = {file.read_text() for file in files.worker.tasks.glob("*/1/stdout")}
    assert outputs == {"", "mode disabled\nloss=2\n"}


def test_tasks_see_the_environment_of_the_user(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "größe")
    monkeypatch.setenv("IMAGE", "mine")
    bench.write(x="[1]", program='echo "$MY_TOKEN, $IMAGE"; command -v python')
    code, output = bench.run()
    assert code == 0, output
    (row,) = bench.rows()
    lines = bench.files.worker.attempt(row["task"], 1).stdout.read_text().splitlines()
    assert lines[:2] == ["größe, mine", os.path.join(os.path.dirname(sys.executable), "python")]
    with sqlite3.connect(bench.files.master.journal) as journal:
        (image,) = journal.execute("SELECT image FROM tasks").fetchone()
    journal.close()
    assert not image


def test_two_runs_do_not_share_a_directory(bench: Bench) -> None:
    bench.write(x="[1]", program="sleep 60")
    first = bench.start()
    wait_until(bench.marks.exists)
    code, output = bench.run()
    assert code == 1
    assert f"another run uses this directory (process {first.pid})" in output
    assert first.poll() is None


def test_neither_a_broker_nor_what_takes_long_to_import_is_needed() -> None:
    script = "import sys, framework.cli.main, framework.local.run; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    broker, slow = {"celery", "kombu", "amqp", "framework.broker.celery_app"}, {"numpy", "optuna", "pandas"}
    assert not (broker | slow).intersection(loaded.split())


def test_the_task_that_is_pruned_last_has_its_duration(bench: Bench) -> None:
    go = bench.path / "go"
    script = f"until [ -e {go} ]; do sleep 0.02; done; sleep 0.2; echo loss=0; sleep 600"
    bench.write(
        x="[1, 2]",
        program=f"case $1 in *1) echo loss=9 ;; *2) {script} ;; esac",
        settings="early_terminate: {type: asha, min_iter: 1, eta: 2}",
    )
    bench.program = WRITES_AT_ONCE
    process = bench.start()
    wait_until(lambda: bench.files.master.results.exists() and "done" in bench.states())
    go.touch()
    code, output = process.end()
    assert code == 0, output
    assert bench.states() == ["done", "pruned"]
    assert 0.2 < float(bench.rows()[1]["seconds"]) < 600


def test_a_metric_that_is_never_reported_is_said_while_it_runs_and_at_its_end(bench: Bench) -> None:
    go = bench.path / "go"
    program = f"case $1 in *8) until [ -e {go} ]; do sleep 0.02; done ;; esac; echo los=1; exit 0"
    bench.write(x="[1, 2, 3, 4, 5, 6, 7, 8]", program=program)
    bench.program = WRITES_AT_ONCE
    process = bench.start()
    assert process.stdout is not None
    output = ""
    while "no task has reported loss" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    go.touch()
    code, rest = process.end()
    output += rest
    assert code == 0, output
    first, last = [line for line in output.splitlines() if "no task has reported loss" in line]
    assert last == "no task has reported loss; reported: los"
    assert first == last
    assert output.index(first) < output.index("8/8 tasks")


def test_the_users_own_choice_of_gpus_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = bench.path / "programs"
    programs.mkdir()
    (programs / "nvidia-smi").write_text(
        "#!/bin/sh\nfor n in 0 1; do echo $n, GPU-$n, A100, 40960, 4, Disabled; done\n"
    )
    (programs / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    seen = bench.path / "seen"
    bench.write(
        "[1, 2]", f"echo $CUDA_VISIBLE_DEVICES $TASK_SLOT >>{shlex.quote(str(seen))}", "resources: {gpus: 1}"
    )
    assert bench.run()[0] == 0
    assert seen.read_text().splitlines() == ["GPU-1 0"] * 2
    bench.write("[1, 2]", settings="resources: {gpus: 2}")
    code, said = bench.run("--fresh")
    assert (code, "has 1 GPU (a task needs 2); CUDA_VISIBLE_DEVICES=1;" in said) == (2, True), said


def test_a_task_starts_in_the_workdir_of_its_project(bench: Bench) -> None:
    source = bench.project / "src"
    source.mkdir()
    program = source / "simulate"
    program.write_text(
        '#!/bin/sh -e\n[ "$PWD" = "$(pwd -P)" ]\n[ "$PWD" = "$TASK_DIR/src" ]\ncat ../run.sh >copied\n'
        'echo \'{"loss": 7}\' >"$TASK_DIR/metrics.json"\n'
    )
    settings = "metric: loss\ngoal: minimize\nworkdir: src\n"
    (bench.project / "project.yml").write_text(f"command: ./simulate\n{settings}")
    code, output = bench.run()
    assert code == 2
    assert "'./simulate' cannot be run here; run chmod +x on it" in output
    program.chmod(0o755)
    assert bench.run()[0] == 0
    assert [row["loss"] for row in bench.rows()] == ["7"] * 3
    written = [str(path.relative_to(path.parents[1])) for path in bench.files.worker.tasks.rglob("copied")]
    assert written == ["src/copied"] * 3


def test_a_function_runs_in_the_workdir_too(bench: Bench) -> None:
    (bench.project / "src").mkdir()
    (bench.project / "src/table.txt").write_text("5")
    (bench.project / "fit.py").write_text(
        "import os\nfrom pathlib import Path\n\ndef run(x):\n"
        "    assert os.getcwd() == os.environ['PWD'] == os.environ['TASK_DIR'] + '/src'\n"
        "    return {'loss': x + int(Path('table.txt').read_text())}\n"
    )
    (bench.project / "project.yml").write_text(
        "function: fit:run\nworkdir: src\nmetric: loss\ngoal: minimize\n"
    )
    assert bench.run()[0] == 0
    assert [row["loss"] for row in bench.rows()] == ["6", "7", "8"]


def test_a_webhook_is_told_before_the_run_ends_and_nothing_shows_its_url(
    bench: Bench, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", webhook.url)
    bench.write(
        x="[1, 2]", program="[ $1 != --x=1 ] || { echo bad >&2; exit 3; }", settings="notify: ${HOOK}"
    )
    code, output = bench.run()
    failed = "x=1 failed on local: exit code 3: bad; logs: results/local/"
    ended = "the sweep has ended: 1 of 2 done, 1 failed; best loss 2 (x=2)"
    assert (code, failed in output, ended in output) == (1, True, True), output
    first, last = webhook.texts
    name = bench.project.name
    assert first.startswith(f"{name}: {failed}")
    assert last == f"{name}: {ended}"
    assert "topic" not in output
    assert not any(b"/topic" in file.read_bytes() for file in bench.files.path.rglob("*") if file.is_file())
    assert bench.run("--failed")[0] == 1
    assert len(webhook.requests) == 4
    monkeypatch.delenv("HOOK")
    code, output = bench.run()
    assert (code, "project.yml:4:9: notify: HOOK is not set here; export it" in output) == (2, True), output


def test_a_command_is_told_with_the_values_that_it_needs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "k")
    told = shlex.quote(str(bench.path / "told"))
    (bench.project / "tell.sh").write_text(f'{{ echo "$KEY"; cat; echo; }} >>{told}\n')
    bench.write(x="[1]", settings="notify: {command: sh tell.sh, secrets: [KEY]}")
    assert bench.run()[0] == 0
    key, content = (bench.path / "told").read_text().splitlines()
    assert (key, json.loads(content)["event"], json.loads(content)["sweep"]["done"]) == ("k", "ended", 1)


def test_a_command_that_fails_is_said_once_at_the_end(bench: Bench) -> None:
    bench.write(x="[1]", settings="notify: ./missing")
    code, output = bench.run()
    said = "notify: './missing' cannot be run (No such file or directory); given up"
    assert (code, output.count(said)) == (0, 1), output
