"""How much adaptive methods and early termination save, on real trainings of scikit-learn's digits.

    python3 -m venv /tmp/adaptive && /tmp/adaptive/bin/pip install '.[adaptive]' scikit-learn
    /tmp/adaptive/bin/python tests/benchmarks/adaptive.py

Every training is run once, and what it reported is kept: the same one always reports the same. Then sets of
them are played through with framework.scheduler.optuna_study as the master does it, four tasks at a time,
in the time that the trainings took. Medians over twenty seeds; about three minutes on two cores.
"""

import heapq
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a training is one of many

from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from framework.journal.records import TaskRecord
from framework.project.early_termination import EarlyTermination
from framework.project.project import Project
from framework.scheduler.optuna_study import Study
from framework.space.distributions import LogUniform, Quantized
from framework.space.product import Space
from framework.space.sampling import Method
from framework.space.values import Value

SLOTS = 4
SEEDS = range(20)
TOLERANCE = 0.001  # of accuracy: as good as the best
EPOCHS = 81
TRAININGS = 48

GRID = Space(
    {
        "C": [10.0**power for power in range(-3, 5)],
        "gamma": [10.0**power for power in range(-7, 1)],
        "kernel": ["rbf", "poly", "sigmoid"],
    }
)
NETWORKS = Space(
    {
        "rate": LogUniform(1e-5, 1e-1),
        "alpha": LogUniform(1e-6, 1.0),
        "width": Quantized(LogUniform(8, 64), 1),
        "batch": [16, 32, 64, 128],
    }
)

Parameters = Mapping[str, Value]
Suggest = Callable[
    [int, Study], tuple[str, Parameters] | None
]  # of a number: task and parameters; None: the end


@dataclass(frozen=True)
class Training:
    """What one training reported, and the seconds until then, one for each report."""

    accuracy: Sequence[float]
    seconds: Sequence[float]


def machine(parameters: Parameters) -> Training:
    """A support vector machine: one report, the accuracy in three-fold cross-validation."""
    images, digits = load_digits(return_X_y=True)
    began = time.perf_counter()
    accuracy = float(cross_val_score(SVC(**parameters), images, digits, cv=3).mean())
    return Training([accuracy], [time.perf_counter() - began])


def network(parameters: Parameters) -> Training:
    """A neural network: after each epoch the accuracy on a third of the images that it does not learn."""
    images, digits = load_digits(return_X_y=True)
    images, unseen, digits, answers = train_test_split(images / 16, digits, test_size=1 / 3, random_state=0)
    classifier = MLPClassifier(
        (parameters["width"],), learning_rate_init=parameters["rate"], alpha=parameters["alpha"],
        batch_size=parameters["batch"], random_state=0,
    )  # fmt: skip
    accuracy, seconds, began = [], [], time.perf_counter()
    for _ in range(EPOCHS):
        classifier.partial_fit(images, digits, classes=range(10))
        accuracy.append(float(classifier.score(unseen, answers)))
        seconds.append(time.perf_counter() - began)
    return Training(accuracy, seconds)


def train(how: Callable[[Parameters], Training], all_of: Sequence[Parameters]) -> list[Training]:
    with ProcessPoolExecutor() as pool:
        return list(pool.map(how, all_of))


def project(space: Space, method: Method, early: EarlyTermination | None = None) -> Project:
    return Project("digits", Path(), ("train",), "accuracy", "maximize", None, 0, None, method.choose(space),
                   search_space=space, method=method, early_termination=early)  # fmt: skip


@dataclass
class Played:
    """One set, played through."""

    best: float = -math.inf  # the highest accuracy that a task ended with
    ended: int = 0
    reports: int = 0
    seconds: float = 0.0  # of training


def play(
    of: Project, suggest: Suggest, of_task: Callable[[Parameters], Training], goal: float = math.inf
) -> Played:
    """Run a set on SLOTS slots; each report is an event in the time that the trainings took."""
    study, played = Study(of), Played()
    events: list[tuple[float, int, str, Parameters, int]] = []  # when, number, task, parameters, report
    number, now = 0, 0.0
    while True:
        while len(events) < SLOTS and (suggested := suggest(number, study)):
            task, parameters = suggested
            heapq.heappush(events, (now + of_task(parameters).seconds[0], number, task, parameters, 1))
            number += 1
        if not events:
            return played
        now, own, task, parameters, step = heapq.heappop(events)
        training = of_task(parameters)
        accuracy, seconds = training.accuracy[step - 1], training.seconds[step - 1]
        played.reports += 1
        bad = study.report(task, step, accuracy)
        if not bad and step < len(training.accuracy):
            following = now + training.seconds[step] - seconds
            heapq.heappush(events, (following, own, task, parameters, step + 1))
            continue
        state = "pruned" if bad else "done"
        study.end(record(task, own, parameters, state, accuracy))
        played.seconds += seconds
        played.ended += 1
        if not bad:
            played.best = max(played.best, accuracy)
        if played.best >= goal - TOLERANCE:
            return played


def record(task: str, number: int, parameters: Parameters, state: str, accuracy: float) -> TaskRecord:
    fields = dict.fromkeys(TaskRecord.__dataclass_fields__, None)
    known = {"task": task, "number": number, "parameters": parameters, "state": state}
    return TaskRecord(**fields | known | {"metrics": {"accuracy": accuracy}})


def adaptive(of: Project) -> Suggest:
    tried: set[str] = set()

    def suggest(number: int, study: Study) -> tuple[str, Parameters] | None:
        suggested = study.suggest(number, tried) if number < (of.method.run_cap or 0) else None
        if suggested:
            tried.add(suggested[0])
        return suggested

    return suggest


def listed(of: Project, combinations: Sequence[Parameters]) -> Suggest:
    def suggest(number: int, study: Study) -> tuple[str, Parameters] | None:
        if number >= len(combinations):
            return None
        task = of.task_id(combinations[number])
        study.begin(task, combinations[number])
        return task, combinations[number]

    return suggest


def compare_methods() -> None:
    combinations = list(GRID)
    trained = dict(zip(map(str, combinations), train(machine, combinations), strict=True))
    best = max(each.accuracy[-1] for each in trained.values())
    good = sum(each.accuracy[-1] >= best - TOLERANCE for each in trained.values())
    print(
        f"SVM on digits: a grid of {GRID.count} tasks; the best accuracy is {best:.4f}, {good} tasks come "
        f"within {TOLERANCE}.\nTasks that had ended when the first of these had ({SLOTS} at a time):"
    )
    for name in ("random", "tpe"):
        needed = []
        for seed in SEEDS:
            of = project(GRID, Method(name, GRID.count, seed))
            suggest = adaptive(of) if name == "tpe" else listed(of, list(of.space))
            needed.append(play(of, suggest, lambda each: trained[str(each)], best).ended)
        median = statistics.median(needed)
        share = median / GRID.count
        print(f"  {name:<8}median {median:.0f}, {share:.0%} of the grid ({min(needed)} to {max(needed)})")


def compare_endings() -> None:
    method = Method("random", TRAININGS)
    combinations = list(project(NETWORKS, method).space)
    trained = dict(zip(map(str, combinations), train(network, combinations), strict=True))
    print(f"\nNeural network on digits: {TRAININGS} tasks drawn at random, of {EPOCHS} epochs each:")
    orders = [random.Random(seed).sample(combinations, len(combinations)) for seed in SEEDS]
    whole_reports = whole_seconds = 1.0
    for name, early in (
        ("none", None),
        ("asha", EarlyTermination("asha", 3, EPOCHS, 3)),
        ("hyperband", EarlyTermination("hyperband", 3, EPOCHS, 3)),
    ):
        of = project(NETWORKS, method, early)
        sets = [play(of, listed(of, order), lambda each: trained[str(each)]) for order in orders]
        best = [each.best for each in sets]
        reports = statistics.median(each.reports for each in sets)
        seconds = statistics.median(each.seconds for each in sets)
        if early is None:
            whole_reports, whole_seconds = reports, seconds
        print(
            f"  {name:<10}{reports:5.0f} epochs ({reports / whole_reports:4.0%}), {seconds:4.0f} s "
            f"({seconds / whole_seconds:4.0%}), best accuracy {statistics.median(best):.4f}, "
            f"{min(best):.4f} at worst"
        )


def main() -> int:
    began = time.monotonic()
    compare_methods()
    compare_endings()
    print(f"\n{time.monotonic() - began:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
