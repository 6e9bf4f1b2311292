"""Early termination: the rungs, and the reports that count."""

import pytest

from framework.messages.metrics import Metric
from framework.project.early_termination import EarlyTermination, Reports


@pytest.mark.parametrize(
    ("early", "rungs"),
    [
        (EarlyTermination("asha", 1, None, 2), [1, 2, 4, 8, 16, 32, 64]),
        (EarlyTermination("hyperband", 5, None, 4), [5, 20, 80]),
        (EarlyTermination("hyperband", 3, 27, 3), [3, 9]),  # a task with 27 reports is done
        (EarlyTermination("asha", 3, 28, 3), [3, 9, 27]),
        (EarlyTermination("bands", 3, 28, 3, (3, 11)), [3, 11]),
    ],
)
def test_rungs(early: EarlyTermination, rungs: list[int]) -> None:
    assert [step for step in range(1, 100) if early.is_rung(step)] == rungs


def test_reports_are_the_numbers_of_the_metric_alone() -> None:
    reports = Reports("loss", EarlyTermination("asha", 2, None, 2))
    lines: list[dict[str, Metric]] = [
        {"loss": 5}, {"accuracy": 1}, {"loss": "unknown"}, {}, {"loss": 0.5, "accuracy": 0.1},
        {"loss": "nan"}, {"loss": 7},
    ]  # fmt: skip
    for line in lines:
        reports.take(line)
    assert reports.count == 4
    assert reports.at_rungs == {2: 0.5, 4: 7}
