"""TensorBoard's own server, with its HParams plugin, reads what is exported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from export_bench import BEST, STARTED, write_results

from framework.export.sweep_results import SweepResults
from framework.export.tensorboard_log import export


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """The address of a TensorBoard that has read a directory."""
    command = [sys.executable, "-m", "tensorboard.main", "--port", "0", "--load_fast", "false", "--logdir"]
    process = subprocess.Popen(
        [*command, str(directory)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        found = None
        for line in process.stderr:
            if found := re.search(r"http://[^/ ]+/", line):
                break
        assert found is not None, "it has ended"
        yield found[0]
    finally:
        process.kill()
        process.communicate()


def ask(address: str, path: str, **body: Any) -> Any:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"{address}data/plugin/{path}", data)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_hparams_and_scalars_are_those_of_the_tasks(results: SweepResults, tmp_path: Path) -> None:
    logs = tmp_path / "it's logs"
    assert export(results, logs).startswith("tensorboard --logdir ")
    export(results, logs)  # again: nothing is there twice
    names = [run.name for run in results.runs()]
    with serving(logs) as address:
        runs = ask(address, "scalars/tags")
        while len(runs) < len(names):  # it is still reading
            runs = ask(address, "scalars/tags")
        assert sorted(runs) == names
        points = ask(address, f"scalars/scalars?run={names[BEST]}&tag=accuracy")
        assert [(point[1], round(point[2], 6)) for point in points] == [(0, 0.7), (1, 0.8), (2, 0.9)]
        experiment = ask(address, "hparams/experiment", experimentName="")
        kinds = {info["name"]: info["type"] for info in experiment["hparamInfos"]}
        assert kinds == {
            "C": "DATA_TYPE_FLOAT64", "depth": "DATA_TYPE_STRING", "kernel": "DATA_TYPE_STRING",
            "flag": "DATA_TYPE_BOOL",
        }  # fmt: skip
        assert results.notes()[0] in experiment["description"]
        assert [info["name"]["tag"] for info in experiment["metricInfos"]] == ["accuracy", "a@b", "loss"]
        metrics = [{"metric": {"tag": "accuracy"}}]
        groups = ask(
            address, "hparams/session_groups", experimentName="", sliceSize=100, startIndex=0,
            colParams=metrics,
            allowedStatuses=["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_UNKNOWN", "STATUS_RUNNING"],
        )["sessionGroups"]  # fmt: skip
        assert sorted(group["name"] for group in groups) == names
        found = {group["name"]: group for group in groups}
        assert found[names[BEST]]["hparams"] == {"C": 0.1, "depth": "3", "kernel": "rbf", "flag": True}
        sessions = {name: group["sessions"][0] for name, group in found.items()}
        assert sessions[names[BEST]]["startTimeSecs"] == STARTED
        statuses = [sessions[name]["status"].removeprefix("STATUS_") for name in names]
        assert statuses == ["SUCCESS", "SUCCESS", "FAILURE", "SUCCESS", "SUCCESS", "SUCCESS"]
        values = {value["name"]["tag"]: value["value"] for value in found[names[BEST]]["metricValues"]}
        assert round(values["accuracy"], 6) == 0.9
        assert "good" in str(ask(address, f"text/text?run={names[BEST]}&tag=note"))


def test_a_task_that_has_gone_leaves_no_run_and_other_files_stay(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results")
    export(results, tmp_path / "logs")
    own = tmp_path / "logs" / "events.out.tfevents.own"
    own.touch()
    export(SweepResults(results.directory, {**results.sweep, "tasks": results.tasks[:2]}), tmp_path / "logs")
    assert len(list((tmp_path / "logs").rglob("events*"))) == 4
    assert own.exists()
