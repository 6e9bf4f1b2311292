"""Jobs for the runner, each of an assignment, its project, and the devices that it gets."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from framework.files import AttemptFiles, Code
from framework.messages.assignment import Assignment
from framework.project.project import Project
from framework.runner.environment import attempt_variables
from framework.runner.job import Job
from framework.runner.user_values import placeholder
from framework.worker.allocator import Allocation
from framework.worker.task_variables import gpu_variables, share_variables
from framework.worker.wandb_files import wandb_files


def make_job(
    assignment: Assignment,
    project: Project,
    code: Code,
    files: AttemptFiles,
    allocation: Allocation,
    given: Mapping[str, str],
    shared: Mapping[str, str] | None = None,
) -> Job:
    """The job of an attempt. `given`: the environment of the runner, to which the job adds its variables.

    `shared`: further variables of all tasks of this version.
    """
    own = project.variables
    wanted = [each.name for each in own.wanted]
    seen = {**given, **own.values, **{name: placeholder(name) for name in wanted}}
    devices = share_variables(allocation, seen)
    if project.resources is not None:
        devices |= gpu_variables(allocation)
    contents, wandb_variables = wandb_files(project, assignment.parameters, files, seen)
    extra = {**(shared or {}), **wandb_variables, **devices}
    variables = attempt_variables(files, code.path, seen, extra, project.workdir)
    shown_in_command = {name: value for name, value in seen.items() if name not in own.secrets}
    parameters = dict(assignment.parameters)
    shown = json.dumps(parameters, indent=2, ensure_ascii=False)
    early = project.early_termination
    return Job(
        attempt=str(assignment.id),
        directory=str(files.directory),
        project_path=str(code.project_path),
        environment={**own.values, **variables},
        command=[] if project.function else project.argv(parameters, {**shown_in_command, **variables}),
        workdir=project.workdir,
        function=project.function,
        parameters=parameters if project.function else {},
        contents={files.parameters.name: f"{shown}\n", **contents},
        timeout=project.timeout,
        ranked=project.metric,
        early_termination=dataclasses.asdict(early) if early else None,
        wanted=wanted,
        context={
            "assignment": assignment.to_message(),
            "code": code.version,
            "allocation": allocation.to_message(),
        },
    )
