"""`environment:` and `secrets:`: what they say, and everything that is wrong with them."""

from __future__ import annotations

import pytest
from project_directory import ProjectDirectory

from framework.project.variables import Variables, Wanted

RUN = "command: run\n"


def variables(directory: ProjectDirectory, text: str) -> Variables:
    return directory.load("x: 1", RUN + text).variables


def test_values_are_text_as_it_is_written(directory: ProjectDirectory) -> None:
    found = variables(
        directory,
        "environment: {A: text, B: 1e-3, C: true, D: 010, E: '', F: 'null', G: \"a\\nb\", PATH: /x, H: no}\n",
    )
    assert found.wanted == ()
    assert found.values == {
        "A": "text", "B": "1e-3", "C": "true", "D": "010", "E": "", "F": "null", "G": "a\nb", "PATH": "/x",
        "H": "no",
    }  # fmt: skip


def test_a_name_alone_is_wanted_from_the_user(directory: ProjectDirectory) -> None:
    expected = Variables({"A": "1"}, (Wanted("B", "2:21"), Wanted("C", "2:26")))
    assert variables(directory, "environment: {A: 1, B: , C: ~}") == expected
    found = variables(directory, "environment: [A=1, B, C_2, D=, 'E=a=b']")
    assert (found.values, found.passed) == ({"A": "1", "D": "", "E": "a=b"}, ("B", "C_2"))


def test_secrets_come_from_the_environment_or_from_files(directory: ProjectDirectory) -> None:
    found = variables(directory, "secrets: [A, B]\nenvironment: [C]\n")
    assert (found.passed, found.secrets, found.names) == (("C",), ("A", "B"), ("C", "A", "B"))
    assert variables(
        directory,
        "secrets: {A: , B: {file: ~/my token}, C: {file: /c, as: file}, D: {file: /d, as: variable}}",
    ).wanted == (
        Wanted("A", "2:11", True),
        Wanted("B", "2:16", True, "~/my token"),
        Wanted("C", "2:39", True, "/c", True),
        Wanted("D", "2:64", True, "/d"),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("environment: 1", "2:14: environment: has to be a mapping, as in {HF_HOME: /data}, or a list"),
        ("environment: {}", "2:14: environment: has to be a mapping"),
        ("environment:", "2:13: environment: has to be a mapping"),
        ("environment: []", "2:14: environment: has to be a mapping"),
        ("environment: {A: [1]}", "2:18: environment: A: has to be text, a number, true or false"),
        ("environment: [[A]]", "2:15: environment: write NAME=value, or a NAME"),
        ("environment: [1]", "2:15: environment: write NAME=value, or a NAME"),
        ("environment: {a-b: 1}", "2:15: environment: 'a-b' is no name of a variable; it has letters"),
        ("environment: {größe: 1}", "2:15: environment: 'größe' is no name of a variable"),
        ("environment: [=1]", "2:15: environment: '' is no name of a variable"),
        ("environment: ['A B=1']", "2:15: environment: 'A B' is no name of a variable"),
        ("environment: {A: 1, A: 2}", "2:21: 'A' is defined twice, first in line 2; keep one"),
        ("environment: [A=1, A]", "2:20: environment: A is there twice, first in line 2; keep one"),
        ("environment: {TASK_ID: 1}", "2:15: environment: TASK_ID is set for each task by the framework"),
        ("environment: [PWD]", "2:15: environment: PWD is set for each task by the framework itself; choose"),
        ("environment: {PYTHONUNBUFFERED: 0}", "2:15: environment: PYTHONUNBUFFERED is set for each task"),
        ("environment: {CUDA_VISIBLE_DEVICES: 0}", "2:15: environment: CUDA_VISIBLE_DEVICES says which GPUs"),
        ("environment: [HIP_VISIBLE_DEVICES]", "2:15: environment: HIP_VISIBLE_DEVICES says which GPUs"),
        ("environment: [TASK_SLOT]", "2:15: environment: TASK_SLOT is set for each task"),
        ("environment: [PATH]", "2:15: environment: PATH: yours is of no use on hosts; write its value"),
        ("environment: {PYTHONPATH: }", "2:15: environment: PYTHONPATH: yours is of no use on hosts"),
        ("environment: {A: \"a\\0b\"}", "2:18: environment: A: text with a NUL character"),
        (f"environment: {{A: {'x' * 100_001}}}", "2:18: environment: A: longer than 100000 bytes"),
        ("environment: {A: *x}", "2:18: *x is not defined"),
        ("environment: *x", "2:14: *x is not defined"),
        ("environment: [*x]", "2:15: *x is not defined"),
        ("secrets: hidden", "2:10: secrets: has to be a list, as in [HF_TOKEN], or a mapping"),
        ("secrets: {}", "2:10: secrets: has to be a list"),
        ("secrets: [A=hidden]", "2:11: secrets: A: the value of a secret does not belong in a project"),
        ("secrets: [[A]]", "2:11: secrets: write a NAME; a mapping names files"),
        ("secrets: {A: hidden}", "2:14: secrets: A: the value of a secret does not belong in a project"),
        ("secrets: {A: ''}", "2:14: secrets: A: the value of a secret does not belong in a project's file"),
        ("secrets: {A: [hidden]}", "2:14: secrets: A: the value of a secret does not belong"),
        ("secrets: {A: {}}", "2:14: secrets: A: the value of a secret does not belong"),
        ("secrets: {a b: }", "2:11: secrets: 'a b' is no name of a variable"),
        ("secrets: [TASK_DIR]", "2:11: secrets: TASK_DIR is set for each task"),
        ("secrets: [PATH]", "2:11: secrets: PATH is no secret; write it in environment:"),
        ("secrets: [A, A]", "2:14: secrets: A is there twice, first in line 2; keep one"),
        ("environment: [A]\nsecrets: [A]", "3:11: secrets: A is there twice, also in environment: in line 2"),
        ("secrets: {A: {as: file}}", "2:11: secrets: A: has no file; write {file: ~/.token}"),
        ("secrets: {A: {file: token}}", "2:21: secrets: A: file: has to begin with / or ~/; the file cannot"),
        ("secrets: {A: {file: ~me/x}}", "2:21: secrets: A: file: has to begin with / or ~/"),
        ("secrets: {A: {file: }}", "2:20: secrets: A: file: has to begin with / or ~/"),
        ("secrets: {A: {file: [/a]}}", "2:21: secrets: A: file: has to begin with / or ~/"),
        ("secrets: {A: {file: \"/a\\nb\"}}", "2:21: secrets: A: file: has characters that cannot be printed"),
        ("secrets: {A: {file: /a, as: text}}", "2:29: secrets: A: as: has to be file or variable; var"),
        ("secrets: {A: {flie: /a, file: /a}}", "2:15: secrets: A: unknown key 'flie'; did you mean 'file'?"),
        ("secrets: {A: {file: *x}}", "2:21: *x is not defined"),
        ("secrets: {A: *x}", "2:14: *x is not defined"),
        ("secrets: *x", "2:10: *x is not defined"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_them_and_where(directory: ProjectDirectory, text: str, problem: str) -> None:
    found = directory.problem("x: 1", f"{RUN}{text}\n")
    assert found.startswith(f"project.yml:{problem}"), found
    assert "hidden" not in found


def test_no_secret_is_shown_on_a_command_line(directory: ProjectDirectory) -> None:
    settings = (
        "command: run ${envvar:TOKEN} ${envvar:A} ${envvar:B}\nenvironment: {A: 1, B: }\nsecrets: [TOKEN]\n"
    )
    assert directory.problem("x: 1", settings) == (
        "project.yml:1:1: command: ${envvar:TOKEN} would show a secret to all who list processes; "
        "have the program read the variable"
    )


def test_they_are_no_part_of_a_tasks_identity(directory: ProjectDirectory) -> None:
    before = directory.load("x: 1", RUN)
    after = directory.load("x: 1", f"{RUN}environment: {{A: 1, B: }}\nsecrets: [TOKEN]\n")
    assert after.task_id({"x": 1}) == before.task_id({"x": 1})


def test_those_of_a_sweep_file(directory: ProjectDirectory) -> None:
    (directory.path / "train.py").touch()
    (directory.path / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nparameters: {x: {values: [1]}}\n"
        "environment: {A: no, B: 010, C: }\nsecrets: [TOKEN]\n"
    )
    found = directory.load(None, None).variables
    assert (found.values, found.passed, found.secrets) == ({"A": "no", "B": "010"}, ("C",), ("TOKEN",))
