"""A project: what runs, what its tasks are called, and what decides on them."""

import pytest
from project_directory import ProjectDirectory

from framework.messages.task_ids import task_id


def test_a_function(directory: ProjectDirectory) -> None:
    project = directory.load("x: [1, 1.5]\non: true\ntext: it's\n", "function: models.deep:run")
    assert (project.function, project.command) == ("models.deep:run", ())
    parameters = project.space.combination(1)
    assert project.shown(parameters) == """models.deep:run(x=1.5, on=True, text="it's")"""
    command = directory.load("x: [1, 1.5]\non: true\ntext: it's\n", "command: run 'a b'")
    assert command.shown(parameters) == """run 'a b' --x=1.5 --on '--text=it'"'"'s'"""
    # known to every journal there is
    assert command.task_id(parameters) == task_id(command.command, parameters) == "dc4867c3947b6613"
    assert project.task_id(parameters) == "45a3298c630c42c6"


@pytest.mark.parametrize(
    ("settings", "needs_study", "has_reports"),
    [
        ("metric: loss\ngoal: minimize", False, False),
        ("metric: loss\ngoal: minimize\nmethod: random\nrun_cap: 3", False, False),
        ("metric: loss\ngoal: minimize\nmethod: bayes\nrun_cap: 3", True, False),
        ("metric: loss\ngoal: minimize\nearly_terminate: {type: asha, min_iter: 3}", True, True),
    ],
)
def test_results_of_other_tasks_decide_on_some_projects(
    directory: ProjectDirectory, settings: str, needs_study: bool, has_reports: bool
) -> None:
    project = directory.load(settings=f"command: run\n{settings}")
    assert project.needs_study is needs_study
    reports = project.reports()
    assert (reports is not None) is has_reports
    assert reports is None or (reports.metric, reports.early_termination) == (
        "loss",
        project.early_termination,
    )
