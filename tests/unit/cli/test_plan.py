"""Plans before anything has run, and with the results of earlier runs."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest

from framework.cli import locations
from framework.cli import main as cli
from framework.cli.plan import notices_of
from framework.configuration.load import load_project
from framework.files import MasterFiles
from framework.journal.provenance import note_program, program_version
from framework.journal.store import Journal
from framework.messages.assignment import AttemptResult, AttemptState
from framework.project.project import Project
from framework.space.values import Value


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    path = tmp_path / "my project"
    path.mkdir()
    (path / "project.yml").write_text("command: python train.py\n")
    (path / "parameters.yml").write_text("C: [0.1, 1, 10]\ntext: [a b, c]\n")
    (path / "train.py").touch()
    monkeypatch.chdir(tmp_path)
    return load_project(path)


def run(project: Project, states: Mapping[int, AttemptState], code: str, seconds: float = 60.0) -> Path:
    """Write results of some combinations where runs on this machine keep them."""
    path = MasterFiles(Path("results/local") / project.name).journal
    path.parent.mkdir(parents=True, exist_ok=True)
    with Journal(path) as journal:
        note_program(journal, code, program_version(project.path))
        for number, state in states.items():
            parameters = project.space.combination(number)
            task = project.task_id(parameters)
            attempt = journal.assign(task, number, parameters, "a", 1.0)
            result = AttemptResult(
                task, attempt, "a", state, 1.0, seconds, 0, "", {}, code, "i", "infra", project.name
            )
            journal.finish(result, final=True)
    return path


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert cli.main(["plan", *arguments, "--json"]) == 0
    content: dict[str, object] = json.loads(capsys.readouterr().out)
    return content


def test_of_an_adaptive_set_before_and_after_something_ran(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "metric: loss\ngoal: minimize\nmethod: tpe\nrun_cap: 4\n"
    (project.path / "project.yml").write_text(f"command: python train.py\n{more}")
    said = (
        "my project: 4 combinations of C, text\n"
        "  tpe chooses each from the results so far, when a host has a free slot\n"
    )
    assert cli.main(["plan", "my project"]) == 0
    assert capsys.readouterr().out == said
    path = run(project, {2: "done", 5: "failed"}, "v1")
    with Journal(path) as journal:
        parameters = project.space.combination(3)
        task = project.task_id(parameters)
        journal.assign(task, 3, parameters, "a", 1.0)
        journal.prune(task, "pruned at report 3")
    assert cli.main(["plan", "my project", "--slots", "1"]) == 0
    standing = "  1 done, 1 failed, 1 pruned; 1 to run with 1 at a time, about 60 s, a guess from 1 task\n"
    assert capsys.readouterr().out == said + standing


def test_what_people_should_know_is_said_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IS_SET", "1")
    (tmp_path / "fit.py").touch()
    file = tmp_path / "few.yaml"
    file.write_text(
        "program: fit.py\nmethod: random\nparameters: {x: {values: [1, 2]}}\n"
        "command: ['${program}', '${envvar:IS_SET}', '${envvar:IS_NOT}', '${envvar:TASK_DIR}', '${args}']\n"
    )
    assert cli.main(["plan", "few.yaml"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "few: 2 combinations of x"
    assert captured.err.splitlines() == [
        "few.yaml:1:1: no run_cap, and W&B would never end: 2 tasks; write run_cap: N, or --run-cap N",
        "few: ${envvar:IS_NOT} is not set here; as in W&B, IS_NOT is passed then",
    ]
    assert cli.main(["plan", "few.yaml", "--run-cap", "1", "--root", "."]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "few: 1 combinations of x"
    assert len(captured.err.splitlines()) == 1
    assert cli.main(["plan", "few.yaml", "--run-cap", "3"]) == 0
    said = "few: run_cap is 3, but there are only 2 different combinations; none runs twice"
    assert said in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("arguments", [("--root", "."), ("--run-cap", "3")])
def test_options_of_a_project_need_one(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan", *arguments]) == 2
    assert "need a project" in capsys.readouterr().err


def test_a_root_is_for_sweep_files(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "my project", "--root", "."]) == 2
    assert capsys.readouterr().err.startswith("my project: --root goes with a W&B sweep file")
    assert cli.main(["plan", "my project", "--run-cap", "3"]) == 0
    assert capsys.readouterr().out.startswith("my project: 3 combinations")


def test_before_anything_ran(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "my project"]) == 0
    assert capsys.readouterr().out == (
        "my project: 6 combinations of C, text\n"
        "  1: python train.py --C=0.1 '--text=a b'\n"
        "  6: python train.py --C=10 --text=c\n"
    )
    assert as_json(capsys, "my project", "--slots", "3") == {
        "project": "my project",
        "combinations": 6,
        "metaparameters": ["C", "text"],
        "method": "grid",
        "examples": [
            "python train.py --C=0.1 '--text=a b'",
            "python train.py --C=10 --text=c",
        ],
        "to_run": 6,
        "slots": 3,
        "environment": [],
        "secrets": [],
        "results": None,
        "mounts": [],
        "setup": [],
        "notify": "",
        "seconds": None,
        "estimate": None,
    }


def test_variables_are_named_without_values(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.path / "project.yml").write_text(
        "command: python train.py ${envvar:A} ${envvar:B} ${envvar:UNSET}\n"
        "environment: {A: hidden, B: }\nsecrets: {TOKEN: {file: ~/.token}}\n"
    )
    assert cli.main(["plan", "my project"]) == 0
    said = capsys.readouterr()
    assert said.out.endswith(
        "\n  environment: A\n  environment, from yours: B\n  secrets: TOKEN (from ~/.token)\n"
    )
    assert "hidden" not in said.out
    assert "${envvar:UNSET} is not set here" in said.err
    assert said.err.count("${envvar:") == 1
    content = as_json(capsys, "my project")
    assert (content["environment"], content["secrets"]) == (["A", "B"], ["TOKEN"])


def test_mounts_are_said(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with (project.path / "project.yml").open("a") as settings:
        settings.write("\nmounts: {~/data: /data, /out: {target: /out, mode: rw}}\n")
    assert cli.main(["plan", "my project"]) == 0
    assert capsys.readouterr().out.endswith(
        "  mounts ~/data as /data (read-only)\n  mounts /out as /out (writable)\n"
    )
    said = ["~/data as /data (read-only)", "/out as /out (writable)"]
    assert as_json(capsys, "my project")["mounts"] == said


def test_a_setup_is_said(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with (project.path / "project.yml").open("a") as settings:
        settings.write("\nsetup: [sh, 'get data.sh']\n")
    assert cli.main(["plan", "my project"]) == 0
    assert capsys.readouterr().out.endswith("  setup of each host: sh 'get data.sh'\n")
    assert as_json(capsys, "my project")["setup"] == ["sh", "get data.sh"]


def test_control_characters_are_shown_as_they_are_written(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.path / "project.yml").write_text('command: [a, "\\e[31m"]\nsetup: [sh, "\\e[2J"]\n')
    (project.path / "parameters.yml").write_text('x: "a\\nb"\n')
    assert cli.main(["plan", "my project"]) == 0
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "  1: a '\\x1b[31m' '--x=a\\nb'",
        "  setup of each host: sh '\\x1b[2J'",
    ]


def test_paths_that_hosts_lack_are_said(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.path / "data").symlink_to("/mnt/data")
    assert cli.main(["plan", "my project"]) == 0
    shown = capsys.readouterr()
    assert shown.err == (
        "my project/data: the link to '/mnt/data' leads out of the project, and tasks will not find it; "
        "move it into the project, or mount it by mounts: in project.yml\n"
    )
    assert "6 combinations" in shown.out


def test_what_a_run_on_this_machine_does_not_use_is_said(project: Project) -> None:
    settings = project.path / "project.yml"
    settings.write_text(settings.read_text() + "packages: [git]\ndocker_options: [--cpus=1]\n")
    loaded = load_project(project.path)
    assert notices_of(loaded, on_hosts=True) == []
    assert notices_of(loaded, on_hosts=False) == [
        f"{loaded.name}: packages: and docker_options: are for hosts; "
        "tasks run here with what is installed here"
    ]


def test_with_results_of_before(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    run(project, {0: "done", 3: "failed", 5: "done"}, "c1", seconds=90.0)
    assert cli.main(["plan", "my project", "--slots", "2"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "  2 done, 1 failed; 3 to run with 2 at a time, about 3 min, a guess from 2 tasks"
    (project.path / "train.py").write_text("another")
    assert cli.main(["plan", "my project"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        "  2 of 2 results were made with other files of the project, or in another image: "
        "python -m framework run 'my project' --outdated runs these again, --fresh runs all again"
    )
    content = as_json(capsys, "my project", "--slots", "100")
    assert content["results"] == {
        "done": 2,
        "failed": 1,
        "cancelled": 0,
        "pruned": 0,
        "outdated": 2,
        "seconds": 90.0,
    }
    assert (content["to_run"], content["seconds"]) == (3, 90.0), "a task takes as long however many slots"


def test_values_added_and_removed(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    journal = run(project, dict.fromkeys(range(6), "done"), "c1").rename("elsewhere.sqlite")
    (project.path / "parameters.yml").write_text("text: [c, d, a b]\nC: [10, 0.1]\n")
    content = as_json(capsys, "my project", "--journal", str(journal))
    assert content["to_run"] == 2
    assert content["results"] == {
        "done": 4,
        "failed": 0,
        "cancelled": 0,
        "pruned": 0,
        "outdated": 0,
        "seconds": 60.0,
    }


def test_how_long_new_values_take_is_expected_from_others(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.path / "parameters.yml").write_text(f"n: {[round(10 * 1.2**n) for n in range(20)]}\n")
    known = load_project(project.path)
    for number in range(20):
        seconds = float(str(known.space.combination(number)["n"]))
        run(known, {number: "done"}, "c1", seconds)
    (project.path / "parameters.yml").write_text("n: [10, 640, 1280]\n")
    content = as_json(capsys, "my project", "--slots", "1")
    assert content["to_run"] == 2
    assert content["seconds"] == pytest.approx(640 + 1280, rel=0.15)
    estimate = content["estimate"]
    assert isinstance(estimate, dict)
    assert estimate["known"] == 20


def test_a_journal_that_is_not_there(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "my project", "--journal", "nowhere"]) == 1
    assert capsys.readouterr().err == "nowhere: no journal; the master has not started here yet\n"


def test_a_million_combinations_take_neither_time_nor_memory(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = list(range(1000))
    (project.path / "parameters.yml").write_text(f"a: {values}\nb: {values}\n")
    large = load_project(project.path)
    run(large, dict.fromkeys(range(20), "done"), "c1")
    looked_at = 0

    def task_id(project: Project, parameters: Mapping[str, Value]) -> str:
        nonlocal looked_at
        looked_at += 1
        return identity(project, parameters)

    identity = Project.task_id
    monkeypatch.setattr(Project, "task_id", task_id)
    tracemalloc.start()
    assert cli.main(["plan", "my project"]) == 0
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert looked_at <= 10_000


def test_what_the_master_runs(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = tmp_path / "code" / "v1"
    code.mkdir(parents=True)
    project.path.rename(code / "project")
    (tmp_path / "code/current").symlink_to("v1")
    monkeypatch.setattr(locations, "CODE", tmp_path / "code")
    monkeypatch.setattr(locations, "DATA", tmp_path / "results/local/my project")
    monkeypatch.setenv("PROJECT", "my project")
    monkeypatch.setenv("IMAGE", "that of the master")
    (code / "VERSION").write_text("framework=f1\nproject=p1\n")
    run(load_project(code / "project", "my project"), {1: "done"}, "v1")
    assert cli.main(["plan"]) == 0
    assert "made with other files" not in capsys.readouterr().out
    (code / "VERSION").write_text("framework=f1\nproject=p1\nimage=another image\n")
    assert cli.main(["plan"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "  1 done, 0 failed; 5 to run with 1 at a time, about 5 min, a guess from 1 task",
        "  1 of 1 results were made with other files of the project, or in another image: "
        "'./infrainit.sh -f --outdated' runs these again, --fresh runs all again",
    ]


def test_what_git_leaves_out_is_said_before_a_run(tmp_path: Path) -> None:
    for name, text in {
        "project.yml": "command: run\nignore: old/\n", "parameters.yml": "x: 1\n", ".gitignore": "data/\n",
        "data/a.csv": "", ".venv/pyvenv.cfg": "",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for on_hosts in (True, False):
        (notice,) = notices_of(load_project(tmp_path), on_hosts)
        assert notice.startswith("left out, as .gitignore says: data/; ")
    (tmp_path / ".infrainitignore").write_text("!/data/\n")
    assert notices_of(load_project(tmp_path), on_hosts=False) == []


@pytest.mark.parametrize(
    ("notify", "shown"),
    [
        ("https://x.example/s3cret", "notify: a webhook"),
        ("'${HOOK}'", "notify: a webhook, with HOOK of yours"),
        ("{command: sh tell.sh, secrets: [K]}", "notify: sh tell.sh, beside the master, with K of yours"),
    ],
)
def test_who_is_told_is_shown_without_the_url(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], notify: str, shown: str
) -> None:
    (tmp_path / "project.yml").write_text(f"command: train\nnotify: {notify}\n")
    (tmp_path / "parameters.yml").write_text("x: 1\n")
    assert cli.main(["plan", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"  {shown}\n" in out
    assert "s3cret" not in out
