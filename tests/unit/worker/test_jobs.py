"""Jobs for the runner, and what they hold of an assignment, its project and its devices."""

from __future__ import annotations

import dataclasses
import json
import os
from fractions import Fraction
from pathlib import Path

import pytest
from project_directory import ProjectDirectory

from framework.files import Code, WorkerFiles
from framework.messages.assignment import Assignment
from framework.project.project import Project
from framework.project.resources import Resources
from framework.runner.job import Job
from framework.runner.user_values import placeholder
from framework.space.values import Value
from framework.worker.allocator import Allocation
from framework.worker.jobs import make_job

TASK = "0123456789abcdef"
PARAMETERS: dict[str, Value] = {"x": 1, "name": "größe", "l": [None, {"k": True}]}
ALLOCATION = Allocation(
    Resources(Fraction(1), Fraction(2)), Fraction(2), ("GPU-1",), slot=3, port=29503, threads=2
)


class Bench:
    """A version of the code, and an attempt."""

    def __init__(self, path: Path) -> None:
        (path / "code/v1/project").mkdir(parents=True)
        (path / "code/current").symlink_to("v1")
        self.code = Code(path / "code/v1")
        self.files = WorkerFiles(path / "data").attempt(TASK, 2)

    def job(self, project: Project, **given: str) -> Job:
        assignment = Assignment("infra-1", "p", TASK, 2, PARAMETERS)
        job = make_job(assignment, project, self.code, self.files, ALLOCATION, given)
        message = json.loads(json.dumps(job.to_message()))
        assert json.loads(json.dumps(Job.from_message(message).to_message())) == message
        assert not self.files.directory.exists(), "its directory says that an attempt has begun"
        return job


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_command(bench: Bench, directory: ProjectDirectory) -> None:
    project = directory.load("x: 1", "command: python3 fit.py --of=${envvar:HOME} --in=${envvar:TASK_DIR}")
    job = bench.job(project, HOME="/home/me", PYTHONPATH="/mine", IGNORED="x")
    assert (job.attempt, job.directory) == (f"{TASK}.2", str(bench.files.directory))
    assert job.project_path == str(bench.code.project_path)
    assert job.command == [
        "python3", "fit.py", "--of=/home/me", f"--in={bench.files.work}", "--x=1", "--name=größe",
        "--l=[None, {'k': True}]",
    ]  # fmt: skip
    assert (job.function, job.parameters) == (None, {})
    assert job.environment == {
        "PYTHONPATH": f"{bench.code.path}/framework/in_tasks{os.pathsep}/mine",
        "PYTHONUNBUFFERED": "1",
        "PWD": str(bench.files.work),
        "TASK_ID": TASK,
        "TASK_ATTEMPT": "2",
        "TASK_DIR": str(bench.files.work),
        "TASK_SLOT": "3",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29503",
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    }
    assert job.contents.keys() == {"parameters.json"}
    assert json.loads(job.contents["parameters.json"]) == PARAMETERS
    assert "größe" in job.contents["parameters.json"], "for people"
    assert (job.timeout, job.ranked, job.early_termination) == (None, None, None)


def test_a_command_names_its_arguments(bench: Bench, directory: ProjectDirectory) -> None:
    command = "command: run {x}/{name} '{l}' {task_id}.{task_attempt} {task_dir} {task_slot}"
    project = directory.load("x: 1\nname: a\nl: b", command)
    job = bench.job(project, TASK_DIR="/not/this")
    assert job.command == ["run", "1/größe", "[None, {'k': True}]", f"{TASK}.2", str(bench.files.work), "3"]


def test_variables_of_the_project(bench: Bench, directory: ProjectDirectory) -> None:
    project = directory.load(
        "x: 1",
        "command: run ${envvar:HF_HOME} --w=${envvar:WORD} ${envvar:TASK_ID}\nresources: {cpus: 2, gpus: 1}\n"
        "environment: {HF_HOME: /data, PYTHONPATH: /more, WORD: , OMP_NUM_THREADS: }\nsecrets: [TOKEN]\n",
    )
    job = bench.job(project, HF_HOME="/of the image", WORD="image's", TOKEN="image's", PYTHONPATH="/image")
    assert job.wanted == ["WORD", "OMP_NUM_THREADS", "TOKEN"]
    assert job.command[:4] == ["run", "/data", f"--w={placeholder('WORD')}", TASK]
    assert job.environment["HF_HOME"] == "/data"
    assert job.environment["PYTHONPATH"] == f"{bench.code.path}/framework/in_tasks{os.pathsep}/more"
    assert job.environment["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert not job.environment.keys() & set(job.wanted), "the runner has their values"


def test_a_function_gets_the_metaparameters_themselves(bench: Bench, directory: ProjectDirectory) -> None:
    job = bench.job(directory.load("x: 1", "function: fit:run\ntimeout: 90s\nmetric: loss\ngoal: minimize"))
    assert (job.command, job.function, job.parameters) == ([], "fit:run", PARAMETERS)
    assert (job.timeout, job.ranked) == (90.0, "loss")


def test_the_context_is_what_the_next_worker_needs(bench: Bench, directory: ProjectDirectory) -> None:
    context = bench.job(directory.load()).context
    assert Assignment.from_message(context["assignment"]).parameters == PARAMETERS
    assert context["code"] == "v1"
    allocation = Allocation.from_message(context["allocation"])
    assert (allocation.needs, allocation.gpus) == (ALLOCATION.needs, ALLOCATION.gpus)
    assert (allocation.slot, allocation.port) == (3, 29503)


def test_devices_are_named_to_tasks_of_projects_that_ask_for_some(
    bench: Bench, directory: ProjectDirectory
) -> None:
    assert "CUDA_VISIBLE_DEVICES" not in bench.job(directory.load()).environment
    project = directory.load("x: 1", "command: run\nresources: {gpus: 1, cpus: 2}")
    environment = bench.job(project).environment
    assert (environment["CUDA_VISIBLE_DEVICES"], environment["OMP_NUM_THREADS"]) == ("GPU-1", "2")
    assert bench.job(project, CUDA_VISIBLE_DEVICES="0,1").environment["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def test_what_is_given_stays(bench: Bench, directory: ProjectDirectory) -> None:
    given = {"OMP_NUM_THREADS": "7", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1234"}
    job = bench.job(directory.load("x: 1", "command: run ${envvar:MASTER_PORT} ${envvar:TASK_SLOT}"), **given)
    assert not job.environment.keys() & {*given, "MKL_NUM_THREADS"}
    assert job.command[1:3] == ["1234", "3"]


def test_early_termination_goes_with_it(bench: Bench, directory: ProjectDirectory) -> None:
    rule = "early_terminate: {type: asha, min_iter: 1, eta: 2}"
    project = directory.load("x: 1", f"command: run\nmetric: loss\ngoal: minimize\n{rule}")
    job = Job.from_message(json.loads(json.dumps(bench.job(project).to_message())))
    assert job.early_termination is not None
    assert project.early_termination is not None
    assert job.early_termination.keys() == {
        each.name for each in dataclasses.fields(project.early_termination)
    }
    assert job.reports() is not None


def test_files_of_wandb_are_among_its_contents(bench: Bench, directory: ProjectDirectory) -> None:
    job = bench.job(directory.load("x: 1", "command: python3 fit.py ${args_json_file} ${no_args}"))
    assert job.contents.keys() == {"parameters.json", "arguments.json", "wandb_config.yaml"}
    assert job.environment["WANDB_MODE"] == "offline"
    assert job.environment["WANDB_SWEEP_PARAM_PATH"] == str(bench.files.wandb_config)


def test_a_variable_that_is_not_set_is_replaced_by_its_name(
    bench: Bench, directory: ProjectDirectory
) -> None:
    assert bench.job(directory.load("x: 1", "command: run ${envvar:MISSING}")).command[:2] == [
        "run",
        "MISSING",
    ]


def test_the_directory_of_the_attempt_before_it_is_named(bench: Bench, directory: ProjectDirectory) -> None:
    before = dataclasses.replace(bench.files, directory=bench.files.directory.with_name("1"), attempt=1)
    before.work.mkdir(parents=True)
    assert bench.job(directory.load()).environment["TASK_PREVIOUS_DIR"] == str(before.work)
