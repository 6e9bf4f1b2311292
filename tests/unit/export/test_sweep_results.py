"""Results of a sweep: ranked, with the values that tasks have printed, and with notes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from export_bench import BEST, DONE, NAN, PRUNED, STARTED, write_results

from framework.errors import UsageError
from framework.export import sweep_results
from framework.export.sweep_results import SweepResults
from framework.files import SWEEP_FILE


def test_the_best_comes_first_and_only_done_tasks_with_a_finite_metric_are_ranked(
    results: SweepResults,
) -> None:
    assert [value for _, value in results.scored()] == [0.9, 0.5]
    assert [task["number"] for task in results.best_first()] == [1, 2, 3, 4, 5, 6]
    minimized = SweepResults(results.directory, {**results.sweep, "goal": "minimize"})
    assert [task["number"] for task in minimized.best_first()] == [2, 1, 3, 4, 5, 6]
    assert write_results(results.directory, metric=None).scored() == []


def test_curves_are_what_was_printed_and_end_with_the_last_value(results: SweepResults) -> None:
    runs = list(results.runs())
    best = runs[BEST].curves
    assert best["accuracy"] == [0.7, 0.8, 0.9]
    assert (best["loss"][:2], best["loss"][3:]) == ([3, 2], [1])
    assert math.isnan(best["loss"][2])
    assert runs[DONE].curves == {"accuracy": [0.5], "loss": [3.5]}, "a last value is not there twice"
    assert runs[PRUNED].curves == {"accuracy": [0.2, 0.1]}
    assert math.isnan(runs[NAN].curves["accuracy"][0])
    assert (runs[BEST].texts, runs[NAN].texts) == ({"note": "good"}, {})
    assert (runs[BEST].started, runs[BEST].ended) == (STARTED, STARTED + 1.23456)
    assert runs[BEST].facts.keys() == {"task", "number", "state", "host", "code", "program"}
    assert results.without_curves == {"has no stdout here": 3}


def test_output_that_is_too_long_is_counted(results: SweepResults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_results, "_LARGEST_OUTPUT", 30)
    assert next(results.runs()).curves["accuracy"] == [0.9]
    assert results.without_curves == {"has a stdout that is longer than 30 bytes": 1}


def test_what_is_partial_unreported_or_outdated_is_said(tmp_path: Path) -> None:
    first, rank, *others = write_results(tmp_path, outdated=3).notes()
    assert first.startswith("p: 6 of 16 combinations have ended (4 done, 1 failed, 1 pruned), as of 20")
    assert rank == "accuracy: maximize; the best one first"
    assert others == [
        "partial: 0 more are under way, the others wait",
        "1 of 4 tasks that are done have not reported accuracy",
        "outdated: 3 of 4 results were made with other files of the project, or in another image; the column "
        "code says which",
    ]
    assert "names no metric: in the order of the sweep" in write_results(tmp_path, metric=None).notes()[1]


def test_a_file_that_does_not_say_what_is_outdated_is_not_taken_for_one_where_nothing_is(
    tmp_path: Path,
) -> None:
    sweep = dict(write_results(tmp_path).sweep)
    assert not any("outdated" in note for note in SweepResults(tmp_path, sweep).notes())
    sweep |= {"complete": False, "project": "\x1b[31m"}
    del sweep["outdated"]
    assert SweepResults(tmp_path, sweep).notes()[-2:] == [
        "1 of 4 tasks that are done have not reported accuracy",
        "an older version has written this: whether results are outdated is not known",
    ]
    assert SweepResults(tmp_path, sweep).notes()[0].startswith(r"'\x1b[31m: 6 of 16")
    assert "partial: the master still counted the results of the changed sweep" in (
        SweepResults(tmp_path, sweep).notes()
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[", "cannot be read"),
        ('{"version": 2}', "another version"),
        ("[]", "cannot be read"),
        ('{"version": 1, "tasks": [{}]}', "cannot be read .it has no"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_an_error(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / SWEEP_FILE).write_text(content)
    with pytest.raises(UsageError, match=said):
        SweepResults.read(tmp_path)
