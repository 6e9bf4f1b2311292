"""`defaults`: how the former values of metaparameters are written, and everything that is wrong with them."""

import pytest
from project_directory import ProjectDirectory

SPACE = "lr: [1, 2]\ndropout: [0.0, 0.5]\nflag: [true, false]\nname: {values: [a, b], when: {lr: 1}}\n"


def test_tasks_with_a_default_are_those_from_before(directory: ProjectDirectory) -> None:
    before = directory.load("lr: [1, 2]\n")
    after = directory.load(SPACE, "command: run\ndefaults: {dropout: 0, flag: false, name: b}\n")
    assert after.defaults == {"dropout": 0.0, "flag": False, "name": "b"}
    assert isinstance(after.defaults["dropout"], float)
    tasks = [after.task_id(combination) for combination in after.space]
    assert len(set(tasks)) == after.space.count
    assert {before.task_id(combination) for combination in before.space} < set(tasks)
    assert after.task_id({"lr": 1, "dropout": 0.5}) == before.task_id({"lr": 1, "dropout": 0.5})
    assert after.task_id({"lr": 1, "flag": 0}) != before.task_id({"lr": 1}), "0 is not false"


def test_null_and_lists_are_defaults_too(directory: ProjectDirectory) -> None:
    space = "lr: [1, 2]\nclip: [null, 1]\nlayers: [[64, 32], [64]]\n"
    settings = "command: run\ndefaults: {clip: null, layers: [64]}\n"
    assert directory.load(space, settings).defaults == {"clip": None, "layers": [64]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("defaults: 1", "2:11: defaults: has to be a mapping, as in {dropout: 0.0}"),
        ("defaults: {}", "2:11: defaults: has to be a mapping"),
        ("defaults: {dropuot: 0.0}", "2:12: defaults: no metaparameter 'dropuot'; did you mean 'dropout'?"),
        ("defaults: {dropout: 0.1}", "2:21: defaults: dropout: is none of its values; write one of those"),
        ("defaults: {flag: 0}", "2:18: defaults: flag: is none of its values"),
        ("defaults: {dropout: [0.0]}", "2:21: defaults: dropout: is none of its values"),
        ("defaults: {dropout: ~}", "2:21: defaults: dropout: is none of its values"),
        ("defaults: {dropout: .nan}", "2:21: nan is not a number"),
        ("defaults: {dropout: *x}", "2:21: *x is not defined"),
    ],
)
def test_what_is_wrong_with_them_and_where(directory: ProjectDirectory, text: str, problem: str) -> None:
    assert directory.problem(SPACE, f"command: run\n{text}\n").startswith(f"project.yml:{problem}")


def test_a_computed_metaparameter_has_no_default(directory: ProjectDirectory) -> None:
    problem = directory.problem("lr: 1\ntwice: {expression: 2 * lr}", "command: run\ndefaults: {twice: 2}")
    assert problem.startswith("project.yml:2:19: defaults: twice: is none of its values")


def test_adaptive_methods_take_none(directory: ProjectDirectory) -> None:
    settings = "command: run\nmetric: x\ngoal: minimize\nmethod: tpe\nrun_cap: 2\ndefaults: {dropout: 0.0}\n"
    assert directory.problem(SPACE, settings) == (
        "project.yml:6:1: defaults: goes with grid and random only; remove it"
    )
