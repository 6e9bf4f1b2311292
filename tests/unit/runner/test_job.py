"""Jobs: what a worker says of an attempt arrives as it was."""

import dataclasses
import json

import pytest
from attempt_bench import TASK, CommandBench, make_job

from framework.project.early_termination import EarlyTermination
from framework.runner.job import Job

EARLY = EarlyTermination("bands", 2, None, 3, rungs=(2, 6), is_strict=False)


@pytest.fixture
def job(commands: CommandBench) -> Job:
    return make_job(
        commands.files,
        commands.project,
        command=["python", "train.py", "--x=grüße \n 🚲"],
        contents={"parameters.json": "{}\n"},
        timeout=1.5,
        ranked="loss",
        early_termination=dataclasses.asdict(EARLY),
        context={"of the worker": [1, None]},
    )


def sent(job: Job) -> Job:
    return Job.from_message(json.loads(json.dumps(job.to_message())))


def test_a_job_arrives_as_it_was(job: Job) -> None:
    found = sent(job)
    assert found == dataclasses.replace(job, early_termination=found.early_termination)
    assert found.attempt == f"{TASK}.3"


def test_its_files_are_those_of_the_attempt(job: Job, commands: CommandBench) -> None:
    assert sent(job).files == commands.files
    assert sent(job).project == commands.project


def test_a_call(commands: CommandBench) -> None:
    job = make_job(commands.files, commands.project, function="train:run", parameters={"x": 1, "y": "text"})
    assert sent(job) == job
    assert (sent(job).command, sent(job).reports()) == ([], None)


def test_each_attempt_counts_its_own_reports(job: Job) -> None:
    first, second = sent(job).reports(), sent(job).reports()
    assert first is not None
    assert first == second
    assert first.early_termination == EARLY
    for value in (1, 2, 3):
        first.take({"loss": value})
    assert first.at_rungs == {2: 2}
    assert second is not None
    assert second.count == 0


def test_fields_of_a_newer_worker_are_ignored(job: Job) -> None:
    message = json.loads(json.dumps(job.to_message()))
    message["early_termination"]["new"] = 1
    found = Job.from_message({**message, "new": 1})
    assert found.attempt == job.attempt
    reports = found.reports()
    assert reports is not None
    assert reports.early_termination == EARLY


def test_a_field_that_is_missing_is_an_error(job: Job) -> None:
    message = job.to_message()
    del message["directory"]
    with pytest.raises(TypeError, match="directory"):
        Job.from_message(message)
