"""Order of a sweep by expected durations: the longest tasks first.

Durations are expected from those of earlier tasks: the logarithm of a task's duration is a sum of one effect
of each of its metaparameters, and one of its host. Only where held-out tasks show that this holds are
durations predictable; else the sweep keeps the order that it was given.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from framework.journal.records import TimedTask
from framework.journal.store import Journal
from framework.journal.tally import open_numbers
from framework.project.project import Project
from framework.scheduler.estimate import LATEST, Durations
from framework.space.values import Value, canonical

MOST_ORDERED = 20_000  # combinations; of a larger sweep, the order hardly changes the end
LEAST_KNOWN = 12  # tasks that are done

_HOST = "\0host"  # the host as one more metaparameter
_LEAST_EXPLAINED = 0.5  # part of the variance of held-out tasks
_LEAST_SPREAD = 0.15  # standard deviation of logarithms, below which the order does not matter
_STEP = 0.1  # of a logarithm: within it, the given order stays
_ROUNDS = 8
_PARTS = 3  # of the samples; each is held out once
_PRIOR = 0.5  # tasks without an effect that each value is taken to have had
_LEAST_SECONDS = 1e-3
_MOST_SIZE = 20.0  # logarithm, beyond which nothing is expected
_FARTHEST = 2.0  # how far effects of numbers beyond the known ones are continued, in known ranges

Sample = tuple[Mapping[str, Value], float]  # with the logarithm of its duration


class DurationModel:
    """Logarithms of durations as sums of effects.

    The effects of numbers lie near a line; the effects of other values, near 0.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._mean = sum(logarithm for _, logarithm in samples) / len(samples)
        names = dict.fromkeys(name for each, _ in samples for name in each)
        self._effects: dict[str, dict[str, float]] = {name: {} for name in names}
        self._lines: dict[str, _Line | None] = {}
        keys = [{name: canonical(value) for name, value in each.items()} for each, _ in samples]
        rests = [logarithm - self._mean for _, logarithm in samples]
        for _ in range(_ROUNDS):
            for name in names:
                effects, own = self._effects[name], [n for n, each in enumerate(keys) if name in each]
                for n in own:
                    rests[n] += effects.get(keys[n][name], 0.0)
                line = _line_through([(samples[n][0][name], rests[n]) for n in own])
                by_key: dict[str, list[float]] = {}
                bases = {keys[n][name]: line.at(samples[n][0][name]) if line else 0.0 for n in own}
                for n in own:
                    by_key.setdefault(keys[n][name], []).append(rests[n] - bases[keys[n][name]])
                for key, values in by_key.items():
                    effects[key] = bases[key] + sum(values) / (len(values) + _PRIOR)
                for n in own:
                    rests[n] -= effects[keys[n][name]]
                self._lines[name] = line

    def expected(self, parameters: Mapping[str, Value]) -> float:
        """The expected logarithm of the duration, on a host of average speed if none is named."""
        return self._mean + sum(self._effect(name, value) for name, value in parameters.items())

    def size(self, parameters: Mapping[str, Value]) -> float:
        """The expected duration, as a multiple of that of a usual task."""
        return math.exp(min(max(self.expected(parameters) - self._mean, -_MOST_SIZE), _MOST_SIZE))

    def _effect(self, name: str, value: Value) -> float:
        effects = self._effects.get(name, {})
        known = effects.get(canonical(value))
        if known is not None:
            return known
        line = self._lines.get(name)
        return line.at(value) if line and _is_number(value) else 0.0


@dataclass(frozen=True)
class _Line:
    """Effects of a metaparameter whose values are numbers, as a line, for values that have not been tried."""

    is_logarithmic: bool
    least: float
    most: float
    level: float
    slope: float

    def at(self, value: object) -> float:
        number = _scaled(value, self.is_logarithmic)
        reach = _FARTHEST * (self.most - self.least)
        return self.level + self.slope * min(max(number, self.least - reach), self.most + reach)


def _line_through(points: Sequence[tuple[Value, float]]) -> _Line | None:
    """The line near points, each a value and its effect; None if some are no numbers, or all the same."""
    if not all(_is_number(value) for value, _ in points):
        return None
    is_logarithmic = all(isinstance(value, int | float) and value > 0 for value, _ in points)
    scaled = [(_scaled(value, is_logarithmic), effect) for value, effect in points]
    middle, level = (sum(each) / len(scaled) for each in zip(*scaled, strict=True))
    width = sum((x - middle) ** 2 for x, _ in scaled)
    if not width:
        return None
    slope = sum((x - middle) * y for x, y in scaled) / width
    return _Line(is_logarithmic, min(scaled)[0], max(scaled)[0], level - slope * middle, slope)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _scaled(value: object, is_logarithmic: bool) -> float:
    number = float(value)  # type: ignore[arg-type]  # _is_number() has said so
    if not is_logarithmic:
        return number
    return math.log(number) if number > 0 else -math.inf


def learn(timed: Sequence[TimedTask]) -> DurationModel | None:
    """A model of the durations of tasks; None if it does not predict held-out ones."""
    samples: list[Sample] = []
    parts: list[int] = []  # of each sample: all of one task are held out together
    for each in sorted(timed, key=lambda each: (each.task, each.seconds)):
        logarithm = math.log(max(each.seconds, _LEAST_SECONDS))
        samples.append(({**each.parameters, _HOST: each.host}, logarithm))
        parts.append(zlib.crc32(each.task.encode()) % _PARTS)
    if len(samples) < LEAST_KNOWN or len(set(parts)) < _PARTS:
        return None
    mean = sum(logarithm for _, logarithm in samples) / len(samples)
    left, total = 0.0, sum((logarithm - mean) ** 2 for _, logarithm in samples)
    if total / len(samples) <= _LEAST_SPREAD**2:
        return None
    for part in range(_PARTS):
        chosen = zip(samples, parts, strict=True)
        model = DurationModel([sample for sample, own in chosen if own != part])
        for (parameters, logarithm), own in zip(samples, parts, strict=True):
            if own == part:
                left += (logarithm - model.expected(parameters)) ** 2
    return DurationModel(samples) if left <= (1 - _LEAST_EXPLAINED) * total else None


@dataclass(frozen=True)
class LearnedRest:
    """The combinations of a sweep that have not ended, and how long each is expected to take."""

    model: DurationModel
    durations: Durations  # of tasks that are done, with their sizes
    sizes: Mapping[int, float]  # by number, as multiples of a usual duration


def learn_rest(project: Project, journal: Journal) -> LearnedRest | None:
    """What can be expected of a sweep's rest; None if its durations cannot be predicted.

    Nor is anything learned if other tasks decide how long one runs, or of more than MOST_ORDERED
    combinations.
    """
    if project.needs_study or not 0 < project.space.count <= MOST_ORDERED:
        return None
    timed = journal.latest_timed(LATEST)
    model = learn(timed)
    if model is None:
        return None
    durations = Durations()
    for each in timed:
        durations.add(each.host, each.seconds, model.size(each.parameters))
    space = project.space
    sizes = {number: model.size(space.combination(number)) for number in open_numbers(project, journal)}
    return LearnedRest(model, durations, sizes)


def longest_first(sizes: Mapping[int, float]) -> list[int]:
    """Numbers of combinations, those that are expected to take longest first, else in their order."""
    steps = {number: round(math.log(size) / _STEP) for number, size in sizes.items()}
    return sorted(steps, key=lambda number: (-steps[number], number))
