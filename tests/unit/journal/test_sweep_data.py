"""sweep.json: tasks that have ended with the types of their values, and all attempts."""

from __future__ import annotations

import json
from pathlib import Path

from journal_bench import end, project_of, take_up

from framework.journal.store import Journal
from framework.journal.sweep_data import write_sweep


def test_values_keep_their_types_and_attempts_are_all_there(tmp_path: Path) -> None:
    project = project_of({"C": [0.1, 1], "kernel": ["rbf", None, [1, "</script>"]]})
    with Journal(tmp_path / "journal") as journal:
        end(journal, project, 0, "done", {"accuracy": 0.5})
        end(journal, project, 2, "failed", {}, host="b", final=False)
        end(journal, project, 2, "done", {"accuracy": "nan", "é": "text"})
        take_up(journal, project)
        write_sweep(project, journal, tmp_path / "sweep.json", 2)
    sweep = json.loads((tmp_path / "sweep.json").read_text())
    assert (sweep["version"], sweep["metric"], sweep["goal"]) == (1, "accuracy", "maximize")
    assert (sweep["combinations"], sweep["parameters"]) == (6, ["C", "kernel"])
    assert sweep["metrics"] == ["accuracy", "é"]
    assert (sweep["outdated"], sweep["complete"]) == (2, True)
    first, second = sweep["tasks"]
    assert first["parameters"] == {"C": 0.1, "kernel": "rbf"}
    assert second["parameters"] == {"C": 0.1, "kernel": [1, "</script>"]}
    assert [task["number"] for task in sweep["tasks"]] == [1, 3]
    assert second["metrics"] == {"accuracy": "nan", "é": "text"}
    attempts = {(each["task"], each["attempt"]): each for each in sweep["attempts"]}
    assert attempts.keys() == {(first["task"], 1), (second["task"], 1), (second["task"], 2)}
    failed = attempts[second["task"], 1]
    assert (failed["host"], failed["state"], failed["reason"]) == ("b", "failed", "exit code 1")


def test_a_sweep_in_which_nothing_has_ended_is_an_empty_one(tmp_path: Path) -> None:
    project = project_of({"C": [1]}, metric=None)
    with Journal(tmp_path / "journal") as journal:
        take_up(journal, project)
        write_sweep(project, journal, tmp_path / "sweep.json", 0)
    sweep = json.loads((tmp_path / "sweep.json").read_text())
    assert (sweep["tasks"], sweep["attempts"], sweep["metric"]) == ([], [], None)
