"""One metaparameter: each form of its values and distributions, and everything that is wrong with one."""

import math
from functools import partial

import pytest
from project_directory import ProjectDirectory, numeric, values

from framework.space.distributions import (
    Categorical,
    Distribution,
    LogNormal,
    LogUniform,
    Normal,
    Quantized,
    Truncated,
    Uniform,
)
from framework.space.values import Value


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x: 1e-3", [1e-3]),
        ("x: [1, 1.0, '1', true]", [1, 1.0, "1", True]),
        ("x: [no, yes, on, off, y, 1:30, 1_000, 0b1, .5, 5., +3]",
         ["no", "yes", "on", "off", "y", "1:30", "1_000", "0b1", 0.5, 5.0, 3]),
        ("x: [0o17, 0x1F, 017, -0.0, 1E5]", [15, 31, 17, -0.0, 1e5]),
        ("x: [True, FALSE, TrUe]", [True, False, "TrUe"]),
        ("x: null", [None]),
        ("x: [null, a]", [None, "a"]),
        ("x: {value: null}", [None]),
        ("x: [[64, 32], [128], []]", [[64, 32], [128], []]),
        ("x: {value: [0.9, 0.999]}", [[0.9, 0.999]]),
        ("x: {value: []}", [[]]),
        ("x: {value: {}}", [{}]),
        ("x: [{name: sgd, rate: null}, {name: adam}]", [{"name": "sgd", "rate": None}, {"name": "adam"}]),
        ("x: {values: [{range: [1, 2]}]}", [{"range": [1, 2]}]),
        ("x: ['', \"\", !!str 5, !!str null, \"a\\nb\"]", None),
        ("x: |\n  two\n  lines\n", ["two\nlines\n"]),
        ("x: &a [1, 2]\ny: *a", [1, 2]),
        ("'x': \"2024-01-01\"", ["2024-01-01"]),
        ("x: {range: [0, 3, 1]}", [0, 1, 2]),
        ("x:\n  range: [1, 0, -0.5]", [1.0, 0.5]),
        ("x: !!python/tuple [0.1, 0.4, 0.1]", [0.1, 0.2, 0.3]),
        ("x: !!python/tuple\n- 0\n- 0x10\n- 8", [0, 8]),
        ("x: $HOME/*.txt it's", ["$HOME/*.txt it's"]),
        ("x: {logspace: [1e-3, 0.1, 3]}", [1e-3, 1e-2, 1e-1]),
        ("x: {logspace: [1, 8, 4]}", [1, 2, 4, 8]),
        ("x: '1,2,3'", ["1,2,3"]),
        ("x: {value: choice(a)}", ["choice(a)"]),
        ("x: red, green", ["red, green"]),
    ],
)  # fmt: skip
def test_values(directory: ProjectDirectory, line: str, expected: list[Value] | None) -> None:
    if expected is None:
        assert directory.problems(line) == ["parameters.yml:1:9: '' is in the list twice; remove one"]
        return
    found = values(directory.load(line))
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x: {value: 5}", [5]),
        ("x: {value: 5, distribution: constant}", [5]),
        ("x: {values: [1, a, true]}", [1, "a", True]),
        ("x: {values: [1, 2], distribution: categorical}", [1, 2]),
        ("x: {min: 2, max: 5}", [2, 3, 4, 5]),
        ("x: {min: 3, max: 3, distribution: int_uniform}", [3]),
        ("x: {min: 0, max: 1, q: 0.25, distribution: q_uniform}", [0.0, 0.25, 0.5, 0.75]),
        ("x: {min: 1, max: 10, distribution: q_uniform, q: 4}", [1, 5, 9]),
        ("x: {min: 1, max: 3, distribution: q_uniform}", [1, 2]),
    ],
)
def test_lists_in_the_words_of_sweeps(directory: ProjectDirectory, line: str, expected: list[Value]) -> None:
    space = directory.space(line)
    found = [combination["x"] for combination in space]
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("min: 0.5, max: 2", Uniform(0.5, 2)),
        ("min: 1, max: 2, distribution: uniform", Uniform(1, 2)),
        ("min: 1, max: 2, distribution: q_uniform", Quantized(Uniform(1, 2), 1)),
        ("min: 1e-4, max: 1, distribution: log_uniform_values", LogUniform(1e-4, 1)),
        ("min: 1e-4, max: 1, distribution: inv_log_uniform_values", LogUniform(1e-4, 1)),
        ("min: -2, max: 0, distribution: log_uniform", LogUniform(math.exp(-2), 1)),
        ("min: -2, max: 0, distribution: inv_log_uniform", LogUniform(1, math.exp(2))),
        ("min: 1, max: 64, q: 8, distribution: q_log_uniform_values", Quantized(LogUniform(1, 64), 8)),
        ("min: 0, max: 1, q: 0.1, distribution: q_log_uniform", Quantized(LogUniform(1, math.e), 0.1)),
        ("distribution: normal", Normal(0, 1)),
        ("distribution: normal, mu: 2, sigma: 0.5", Normal(2, 0.5)),
        ("distribution: q_normal, q: 0.5", Quantized(Normal(0, 1), 0.5)),
        ("distribution: log_normal, mu: -3", LogNormal(-3, 1)),
        ("distribution: q_log_normal, sigma: 2", Quantized(LogNormal(0, 2), 1)),
        ("distribution: normal, min: -1, max: 2", Truncated(Normal(0, 1), -1, 2)),
        ("distribution: log_normal, mu: -3, max: 0.5", Truncated(LogNormal(-3, 1), high=0.5)),
        ("distribution: q_normal, q: 0.5, min: 0", Quantized(Truncated(Normal(0, 1), low=0), 0.5)),
        ("values: [a, b], probabilities: [0.25, 0.75]", Categorical(("a", "b"), (0.25, 0.75))),
        ("values: [1, 2], probabilities: [0.5, 0.5], distribution: categorical_w_probabilities",
         Categorical((1, 2), (0.5, 0.5))),
    ],
)  # fmt: skip
def test_distributions(directory: ProjectDirectory, keys: str, expected: Distribution) -> None:
    space = directory.space(f"x: {{{keys}}}", grid=False)
    assert space.dimensions == {"x": expected}
    assert not space.is_finite
    if keys.partition(",")[0] == "min: 1" and "q_uniform" in keys:
        return
    (problem,) = directory.problems_of_space(f"x: {{{keys}}}")
    assert "method: random" in problem


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("x:", "1:3: no value; write one, null"),
        ("x: [1]\ny: {values: [~, [1, !!python/tuple [1, 2]]]}", "2:21: an interval cannot be a value"),
        ("x: .nan", "1:4: nan is not a number"),
        ("x: [-.inf]", "1:5: -inf is not a number"),
        ("x: 1e999", "1:4: inf is not a number"),
        ("x: [1, 2]\ny:\nz: 3", "2:3: no value; write one, null"),
        ("x:\n  value:   # later\n\ny: 3", "2:9: no value; write one, null"),
        ("x: 1,2,3", "1:4: 1,2,3 could be several values or text; write [a, b, c]"),
        ("x: choice(-5, 0)", "1:4: choice(-5, 0) could be several values"),
        ("x: range(0, 5, step=0.5)", "1:4: range(0, 5, step=0.5) could be several values"),
        ("x: logspace[-5:-1:5]", "1:4: logspace[-5:-1:5] could be several values or text; write {logspace:"),
        ("x: {logspace: [1, 10]}", "1:15: not a log-spaced list"),
        ("x: {logspace: [0, 10, 2]}", "1:15: the limits have to be above 0"),
        ("x: {expression: [1]}", "1:17: not an expression"),
        ("x: {expression: 1 +}", "1:17: '1 +' is no expression"),
        ("x: 2024-01-01", "1:4: 2024-01-01 could be a date"),
        ("x: 2024-01-01 10:00:00", "1:4: 2024-01-01 10:00:00 could be a date"),
        ("x: [1, {range: [0, 3, 1]}]", "1:8: range: in a list is part of a value here; write it without the"),
        ("x: [{min: 1, max: 3}]", "1:5: min: in a list is part of a value"),
        ("x: [[1, .nan]]", "1:9: nan is not a number"),
        ("x: [{a: ''}, {a: 2024-01-01}]", "1:18: 2024-01-01 could be a date"),
        ("x: [null, ~]", "1:11: None is in the list twice"),
        ("x: [[], []]", "1:9: [] is in the list twice"),
        ("x: []", "1:4: a metaparameter without a value; write one, as in {value: []}"),
        ("x: {}", "1:4: a metaparameter without a value"),
        ("x: {range: [0, 1, 1], rang: 1}", "1:23: unknown key 'rang'; did you mean 'range'?"),
        ("x: [1, 2, 1]", "1:11: 1 is in the list twice"),
        ("x: [1.0, 1.00]", "1:10: 1.0 is in the list twice"),
        ("x: !!python/tuple [0]", "1:4: not an interval; write three numbers"),
        ("x: !!python/tuple [0, 1, '1']", "1:4: not an interval"),
        ("x: !!python/tuple [0, 1, true]", "1:4: not an interval"),
        ("x: {range: 5}", "1:12: not an interval"),
        ("x: {range: [0, 1, 0]}", "1:12: a step of 0 never ends"),
        ("x: {range: [0, 1, -1]}", "1:12: the interval is empty"),
        ("x: {range: [0, .inf, 1]}", "1:12: inf cannot be a number"),
        ("x: [!!python/tuple [0, 1, 1]]", "1:5: an interval cannot be a value"),
        ('x: "a\\0b"', "1:4: text with a NUL"),
        ('x: "\\uD800"', "1:4: text with half of a surrogate pair"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_values(directory: ProjectDirectory, line: str, problem: str) -> None:
    (found,) = directory.problems_of_space(line)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: {vales: [1]}", "1:5: unknown key 'vales'; did you mean 'values'?"),
        ("x: {_type: choice, _value: [1, 2]}", "1:4: this is how NNI writes it; 'python -m framework"),
        ("x: {grid_search: [1, 2]}", "1:4: this is how Ray Tune writes it"),
        ("x: {type: int, minval: 1, maxval: 2}", "1:4: this is how Determined writes it"),
        ("x: {type: int, min: 1, max: 2}", "1:5: unknown key 'type'"),
        ("x: {val: 3}", "1:5: unknown key 'val'; did you mean 'value'?"),
        ("x: {logspace: [1, 8, 4], q: 1}", "1:26: q cannot be used with logspace"),
        ("x: {distribution: normal, min: 3, max: 1}", "1:40: min is above max: 3.0 and 1.0"),
        ("x: {distribution: normal, min: 90, max: 91}", "1:4: mu 0 and sigma 1 have next to no values"),
        ("x: {range: [0, 1, 1], min: 3}", "1:23: min cannot be used with range"),
        ("x: {value: 1, values: [2]}", "1:15: values cannot be used with constant"),
        ("x: {values: [1], q: 2}", "1:18: q cannot be used with categorical"),
        ("x: {values: []}", "1:13: not a list of values"),
        ("x: {values: 5}", "1:13: not a list of values"),
        ("x: {min: 1}", "1:4: int_uniform without max; add max: …"),
        ("x: {mu: 1}", "1:4: no values; write values"),
        ("x: {min: 1, max: a}", "1:18: this has to be a number"),
        ("x: {min: 1, max: .inf}", "1:18: this has to be a number"),
        ("x: {min: 3, max: 1}", "1:18: min is above max: 3 and 1"),
        ("x: {min: 0.5, max: 0.5}", "1:20: min is the same as max: 0.5 and 0.5; write min below"),
        ("x: {min: 1.5, max: 3, distribution: int_uniform}", "1:4: int_uniform takes whole numbers"),
        ("x: {min: 0, max: 1e300, distribution: q_uniform}", "1:4: the interval has"),
        ("x: {min: 0, max: 1, distribution: log_uniform_values}", "1:10: min has to be above 0"),
        ("x: {min: 0, max: 1000, distribution: log_uniform}", "1:4: min and max are exponents of e"),
        ("x: {distribution: normal, sigma: 0}", "1:34: sigma has to be above 0"),
        ("x: {distribution: log_normal, mu: 900}", "1:4: mu and sigma are those of"),
        ("x: {distribution: log_normal, mu: -900}", "1:4: mu and sigma are those of"),
        ("x: {distribution: log_normal, sigma: 80}", "1:4: mu and sigma are those of"),
        ("x: {distribution: q_log_normal, mu: 400, sigma: 40}", "1:4: mu and sigma are those of"),
        ("x: {distribution: beta}", "1:19: beta is not available; write normal or uniform"),
        ("x: {distribution: unform, min: 1, max: 2}", "1:19: unknown distribution 'unform'; did you"),
        ("x: {distribution: [normal]}", "1:19: unknown distribution ''"),
        ("x: {min: 0, max: 1, q: 0, distribution: q_uniform}", "1:24: q has to be above 0"),
        ("x: {values: [1, 2], probabilities: [1]}", "1:36: 1 probabilities for 2 values"),
        ("x: {values: [1, 2], probabilities: [0.5, 0.6]}", "1:36: the probabilities sum to 1.1"),
        ("x: {values: [1, 2], probabilities: [-0.5, 1.5]}", "1:36: a probability below 0"),
        ("x: {values: [1, 2], probabilities: [0.5, 0.5]}", "1:36: a grid runs each value once"),
        ("x: {min: 0.0, max: 1}", "1:4: uniform has too many values for a grid"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_mapping(directory: ProjectDirectory, text: str, expected: str) -> None:
    (found,) = directory.problems_of_space(text)
    assert found.startswith(expected)


@pytest.mark.parametrize("keys", ["sigma: 77", "mu: 691", "mu: 600, sigma: 11", "mu: -600, sigma: 11"])
def test_every_draw_of_a_log_normal_is_a_number(directory: ProjectDirectory, keys: str) -> None:
    space = directory.space(f"x: {{distribution: log_normal, {keys}}}", grid=False)
    for u in (0.0, 2**-54, 1 - 2**-53):
        assert 0 < numeric(space.draw(partial(float, u))["x"]) < math.inf
