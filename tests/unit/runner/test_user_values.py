"""Values from the user's machine: read when an attempt starts, from a file or from the runner's variables."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from attempt_bench import ENVIRONMENT, CallBench, CommandBench, make_job

from framework.errors import FrameworkError
from framework.runner.attempt import Attempt, Execution
from framework.runner.children import Children
from framework.runner.functions import Functions
from framework.runner.job import Job
from framework.runner.user_values import UserValues, fill, placeholder

SECRET = 'it\'s "so"\nsecret = ~\xe9'


def write(file: Path, **values: str) -> UserValues:
    file.write_bytes(b"".join(f"{name}={value}".encode() + b"\0" for name, value in values.items()))
    return UserValues(file)


def test_those_of_the_file_that_are_wanted(tmp_path: Path) -> None:
    values = write(tmp_path / "values", A="1", B=SECRET, C="")
    assert values.read(["B", "C"], {"A": "other"}) == {"B": SECRET, "C": ""}
    assert write(tmp_path / "values", B="new").read(["B"], {}) == {"B": "new"}
    (tmp_path / "values").write_bytes(b"A=\xff\0")
    assert os.fsencode(values.read(["A"], {})["A"]) == b"\xff"


def test_without_a_file_they_are_variables_of_the_runner() -> None:
    assert UserValues().read(["A"], {"A": "1", "B": "2"}) == {"A": "1"}


def test_a_value_that_is_not_there_is_named_and_no_other(tmp_path: Path) -> None:
    values = write(tmp_path / "values", A=SECRET, B="")
    with pytest.raises(FrameworkError) as caught:
        values.read(["A", "TOKEN", "B", "WORD"], {"TOKEN": "x"})
    assert str(caught.value) == "this host has no value of TOKEN, WORD: ./infrainit.sh -f sends it"
    with pytest.raises(FrameworkError, match="this host has no value of A"):
        UserValues(tmp_path / "missing").read(["A"], {})
    with pytest.raises(FrameworkError, match=r"values of variables cannot be read: no regular file"):
        UserValues(tmp_path).read(["A"], {})
    assert UserValues(tmp_path / "missing").read([], {}) == {}


def test_placeholders_in_a_command() -> None:
    words = [f"--a={placeholder('A')}:{placeholder('B')}", "${envvar:A}", ""]
    assert fill(words, {"A": "\\1", "B": "b"}) == ["--a=\\1:b", "${envvar:A}", ""]


PROGRAM = """
import json, os, sys
assert os.environ["TASK_ID"] != "other"
print(json.dumps([os.environ["A"], os.environ["OF_THE_IMAGE"], *sys.argv[1:]]))
"""


def run(commands: CommandBench, job: Job, values: UserValues) -> Execution:
    async def execute() -> Execution:
        children = Children()
        functions = Functions(children)
        return await Attempt(job, ENVIRONMENT, children, functions, commands.on_metrics, values=values).run()

    before = os.getcwd()
    try:
        return asyncio.run(execute())
    finally:
        os.chdir(before)


def test_a_command_gets_those_of_the_moment(commands: CommandBench, tmp_path: Path) -> None:
    values = write(tmp_path / "values", A=SECRET, OF_THE_IMAGE="mine", TASK_ID="other")
    command = [sys.executable, "-c", PROGRAM, f"--word={placeholder('OF_THE_IMAGE')}"]
    job = make_job(commands.files, commands.project, command=command, wanted=["A", "OF_THE_IMAGE", "TASK_ID"])

    assert run(commands, job, values).state == "done"
    assert json.loads(commands.files.stdout.read_text()) == [SECRET, "mine", "--word=mine"]


def test_a_job_without_its_value_is_not_begun(commands: CommandBench) -> None:
    job = make_job(commands.files, commands.project, command=["true"], wanted=["A"])
    with pytest.raises(FrameworkError, match="this host has no value of A"):
        run(commands, job, UserValues())
    assert not commands.files.directory.exists()


def test_a_function_is_imported_again_for_a_new_value(tmp_path: Path) -> None:
    values = tmp_path / "values"
    write(values, A=SECRET)
    bench = CallBench(tmp_path, f"--values={values}")
    try:
        bench.write(
            """
            IMPORTED = os.environ["A"]
            def run():
                print(IMPORTED == os.environ["A"], len(IMPORTED), flush=True)
            """
        )
        assert bench.run(wanted=["A"]).state == bench.run(wanted=["A"]).state == "done"
        assert bench.stdout == f"True {len(SECRET)}\n"
        write(values, A="new")
        assert bench.run(wanted=["A"]).state == "done"
        assert bench.stdout == "True 3\n"
        assert len(bench.pids("imported")) == 2
        log = bench.runner.log.read_text()
        assert "secret" not in log
    finally:
        bench.runner.end()
