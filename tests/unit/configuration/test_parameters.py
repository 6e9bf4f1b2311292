"""parameters.yml: every form and rule, and everything that is wrong with one, with its place."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.configuration.parameters import read_parameters
from framework.configuration.yaml_nodes import Problems
from framework.space.distributions import (
    Categorical,
    Distribution,
    LogNormal,
    LogUniform,
    Normal,
    Quantized,
    Uniform,
)
from framework.space.product import Space
from framework.space.values import Value


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "parameters.yml"


def read(file: Path, text: str, grid: bool = True) -> Space:
    file.write_text(text)
    problems = Problems()
    space = read_parameters(file, problems, grid=grid)
    assert problems.lines == []
    return space


def problems_of(file: Path, text: str, grid: bool = True) -> list[str]:
    file.write_text(text)
    problems = Problems()
    read_parameters(file, problems, grid=grid)
    for problem in problems.lines:
        assert re.search("; |\\?$", problem), f"it does not say what to do: {problem}"
    return [problem.removeprefix(f"{file}:") for problem in problems.lines]


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
def test_lists_in_the_words_of_sweeps(file: Path, line: str, expected: list[Value]) -> None:
    space = read(file, line)
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
        ("values: [a, b], probabilities: [0.25, 0.75]", Categorical(("a", "b"), (0.25, 0.75))),
        ("values: [1, 2], probabilities: [0.5, 0.5], distribution: categorical_w_probabilities",
         Categorical((1, 2), (0.5, 0.5))),
    ],
)  # fmt: skip
def test_distributions(file: Path, keys: str, expected: Distribution) -> None:
    space = read(file, f"x: {{{keys}}}", grid=False)
    assert space.dimensions == {"x": expected}
    assert not space.is_finite
    if keys.partition(",")[0] == "min: 1" and "q_uniform" in keys:
        return
    (problem,) = problems_of(file, f"x: {{{keys}}}")
    assert "method: random" in problem


def test_nested_metaparameters(file: Path) -> None:
    space = read(
        file,
        "x: 1\noptimizer:\n  parameters:\n    name: [sgd, adam]\n    deep: {parameters: {k: {value: 3}}}\n",
    )
    assert list(space) == [
        {"x": 1, "optimizer.name": name, "optimizer.deep.k": 3} for name in ("sgd", "adam")
    ]


def test_zip(file: Path) -> None:
    space = read(file, "zip: [lr, batch]\nlr: [0.1, 0.1, 1]\nkernel: [a, b]\nbatch: [1, 2, 1]\n")
    assert [list(each.values()) for each in space] == [
        [0.1, "a", 1], [0.1, "b", 1], [0.1, "a", 2], [0.1, "b", 2], [1, "a", 1], [1, "b", 1],
    ]  # fmt: skip
    both = read(file, "zip: [[a, b], [c, d]]\na: [1, 2]\nb: [3, 4]\nc: [5, 6]\nd: {range: [7, 9, 1]}\n")
    assert [list(each.values()) for each in both] == [[1, 3, 5, 7], [1, 3, 6, 8], [2, 4, 5, 7], [2, 4, 6, 8]]


def test_when(file: Path) -> None:
    space = read(
        file,
        "kernel: [rbf, poly, linear]\ngamma: {values: [1, 2], when: {kernel: [rbf, poly]}}\n"
        "poly: {parameters: {degree: [2, 3], coef0: {value: 1}}, when: {kernel: poly, gamma: 2}}\n"
        "fine: {value: true, when: {poly.degree: 3}}\n",
    )
    assert [list(each.values()) for each in space] == [
        ["rbf", 1], ["rbf", 2], ["poly", 1], ["poly", 2, 2, 1], ["poly", 2, 3, 1, True], ["linear"],
    ]  # fmt: skip
    assert space.conditions == {
        "gamma": {"kernel": ["rbf", "poly"]},
        "poly.degree": {"kernel": ["poly"], "gamma": [2]},
        "poly.coef0": {"kernel": ["poly"], "gamma": [2]},
        "fine": {"poly.degree": [3]},
    }


def test_exclude_and_include(file: Path) -> None:
    space = read(
        file,
        "C: [1.0, 10]\nkernel: [rbf, poly]\ndegree: {values: [2, 3], when: {kernel: poly}}\nepochs: 5\n"
        "exclude:\n- {C: 1, kernel: rbf}\n- {C: [1, 10], degree: 3}\n"
        "include:\n- {degree: 7, kernel: poly, C: 0.5}\n- {C: 1.0, kernel: rbf, epochs: 6}\n",
    )
    assert [list(each.values()) for each in space] == [
        [1.0, "poly", 2, 5], [10, "rbf", 5], [10, "poly", 2, 5], [0.5, "poly", 7, 5], [1.0, "rbf", 6],
    ]  # fmt: skip
    assert all(list(each) == [name for name in space.names if name in each] for each in space)
    assert [space.index_of(each) for each in space] == list(range(5))


def test_seeds(file: Path) -> None:
    assert read(file, "x: [1, 2]\nseeds: 3\n").seeds == 3
    assert read(file, "x: [1, 2]\n").seeds is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: {vales: [1]}", "1:5: unknown key 'vales'; did you mean 'values'?"),
        ("x: {range: [0, 1, 1], min: 3}", "1:23: min means nothing beside range"),
        ("x: {value: 1, values: [2]}", "1:15: values means nothing beside constant"),
        ("x: {values: [1], q: 2}", "1:18: q means nothing beside categorical"),
        ("x: {values: []}", "1:13: this is no list of values"),
        ("x: {values: 5}", "1:13: this is no list of values"),
        ("x: {value: [1, 2]}", "1:12: a list or mapping cannot be a value"),
        ("x: {min: 1}", "1:4: int_uniform without max; add max: …"),
        ("x: {mu: 1}", "1:4: no values; write values"),
        ("x: {min: 1, max: a}", "1:18: this has to be a number"),
        ("x: {min: 1, max: .inf}", "1:18: this has to be a number"),
        ("x: {min: 3, max: 1}", "1:18: min is above max: 3 and 1"),
        ("x: {min: 0.5, max: 0.5}", "1:20: min is the same as max"),
        ("x: {min: 1.5, max: 3, distribution: int_uniform}", "1:4: int_uniform takes whole numbers"),
        ("x: {min: 0, max: 1e300, distribution: q_uniform}", "1:4: the interval has"),
        ("x: {min: 0, max: 1, distribution: log_uniform_values}", "1:10: min has to be above 0"),
        ("x: {min: 0, max: 1000, distribution: log_uniform}", "1:4: min and max are exponents of e"),
        ("x: {distribution: normal, sigma: 0}", "1:34: sigma has to be above 0"),
        ("x: {distribution: log_normal, mu: 900}", "1:4: mu and sigma are of the logarithm"),
        ("x: {distribution: beta}", "1:19: 'beta' is no distribution; known: constant"),
        ("x: {distribution: unform, min: 1, max: 2}", "1:19: 'unform' is no distribution; did you mean"),
        ("x: {distribution: [normal]}", "1:19: '' is no distribution"),
        ("x: {min: 0, max: 1, q: 0, distribution: q_uniform}", "1:24: q has to be above 0"),
        ("x: {values: [1, 2], probabilities: [1]}", "1:36: 1 probabilities for 2 values"),
        ("x: {values: [1, 2], probabilities: [0.5, 0.6]}", "1:36: the probabilities sum to 1.1"),
        ("x: {values: [1, 2], probabilities: [-0.5, 1.5]}", "1:36: a probability below 0"),
        ("x: {values: [1, 2], probabilities: [0.5, 0.5]}", "1:36: a grid takes each value once"),
        ("x: {min: 0.0, max: 1}", "1:4: a grid has no end over uniform"),
        ("y: 1\nx: {when: {y: 1}}", "2:4: no value, no combinations"),
        ("o: {parameters: {}}", "1:17: parameters holds metaparameters"),
        ("o: {parameters: {a: 1}, value: 2}", "1:25: value means nothing beside parameters"),
        ("o: {parameters: {'-': 1, a b: 2}}", "1:26: 'o.a b' cannot be an option"),
        ("o.a: 1\no: {parameters: {a: 2}}", "2:18: 'o.a' is here twice, first in line 1"),
        ("x: 1\nzip: x", "2:6: zip takes two or more names"),
        ("x: 1\nzip: [x]", "2:6: zip takes two or more names"),
        ("x: 1\nzip: [x, y]", "2:6: no metaparameter 'y'; known: x"),
        ("x: 1\ny: 1\nz: 1\nzip: [[x, y], [y, z]]", "4:15: y is zipped twice"),
        ("x: [1, 2]\ny: [1, 2, 3]\nzip: [x, y]", "3:6: zip takes lists of one length, but x has 2, y has 3"),
        ("x: [1, 1]\ny: [2, 2]\nzip: [x, y]", "3:6: x, y have the same values twice"),
        ("a: [1, 2]\nx: [1, 2]\ny: {values: [1, 2], when: {a: 1}}\nzip: [x, y]", "4:6: x, y move together"),
        ("x: [1, 2]\ny: {values: [3], when: {x: 5}}", "2:28: x is never 5; it is one of 1, 2"),
        ("x: [1, 2]\ny: {values: [3], when: {z: 5}}", "2:25: no metaparameter 'z'; known: x, y"),
        ("x: {value: 1, when: {y: 1}}\ny: 1", "1:22: y has to stand before x"),
        ("x: {value: 1, when: {x: 1}}", "1:22: x has to stand before x"),
        ("x: {value: 1, when: 5}", "1:21: when names metaparameters and values"),
        ("z: 1\no: {parameters: {a: {value: 1, when: {z: 1}}}, when: {z: 1}}", "2:32: the mapping around"),
        ("x: [1, 2]\nexclude: {x: 1}", "2:10: exclude is reserved for a list of combinations"),
        ("x: [1, 2]\nexclude: []", "2:10: exclude is reserved for a list of combinations"),
        ("x: [1, 2]\nexclude: [{x: 3}]", "2:15: x is never 3"),
        ("x: [1, 2]\nexclude: [{x: '1'}]", "2:15: x is never '1'"),
        ("x: [1, 2]\nexclude: [{x: []}]", "2:15: no value of x"),
        ("x: [1, 2]\nexclude: [{y: 1}]", "2:12: no metaparameter 'y'"),
        ("x: [1, 2]\nexclude: [{}]", "2:11: exclude names metaparameters and values"),
        ("x: [1, 2]\nexclude: [{x: [1, 2]}]", "2:10: every combination is excluded"),
        ("x: [1, 2]\ninclude: [{x: 1}]", "2:11: this is combination 1 of the product already"),
        ("x: [1, 2]\ninclude: [{x: 3}, {x: 3}]", "2:19: this combination is included already"),
        ("x: [1, 2]\ninclude: [{x: [3, 4]}]", "2:11: x has 2 values; write a combination for each"),
        ("x: [1, 2]\ny: [1, 2]\ninclude: [{x: 3}]", "3:11: no y; write y: …"),
        ("x: [1, 2]\ny: {value: 1, when: {x: 1}}\ninclude: [{x: 2, y: 3}]", "3:11: y does not exist here"),
        ("x: [1, 2]\nseeds: 0", "2:8: seeds is how often"),
        ("x: [1, 2]\nseeds: [1, 2]", "2:8: seeds is how often"),
        ("seed: 1\nseeds: 2", "2:8: seeds makes a metaparameter seed"),
        ("seeds: 2", "1:1: no metaparameters"),
    ],
)  # fmt: skip
def test_what_is_wrong(file: Path, text: str, expected: str) -> None:
    (found,) = problems_of(file, text)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: {min: 0.0, max: 1}\nexclude: [{x: 1}]", "2:12: x is drawn from a distribution"),
        ("x: {min: 0.0, max: 1}\ny: [1, 2]\nzip: [x, y]", "3:6: what is zipped needs lists of values"),
        (
            "x: {values: [1, 2], probabilities: [0, 1]}\nexclude: [{x: 2}]",
            "2:10: only values of probability 0",
        ),
        ("x: {min: 0.0, max: 1}\ny: 1\ninclude: [{y: 1}]", "3:11: no x; write x: …"),
    ],
)
def test_what_is_wrong_with_draws(file: Path, text: str, expected: str) -> None:
    (found,) = problems_of(file, text, grid=False)
    assert found.startswith(expected)


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file(file: Path) -> None:
    found = problems_of(
        file,
        "a: []\nb: {min: 2, max: 1}\nexclude: [{c: 1}, 5]\n"
        "d: {value: 1, when: {e: 1}}\nzip: [a, f]\nseeds: x\n",
    )
    assert [problem.partition(": ")[0] for problem in found] == [
        "1:4",
        "2:18",
        "3:12",
        "3:19",
        "4:22",
        "5:6",
        "6:8",
    ]


@given(
    st.text("abcdefqxyz{}[],:- 0123.\n", max_size=60), st.sampled_from(["zip", "exclude", "include", "seeds"])
)
def test_any_rule_is_read_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, text: str, rule: str
) -> None:
    file = tmp_path_factory.mktemp("project") / "parameters.yml"
    file.write_text(f"a: [1, 2]\nb: {{min: 1, max: 3, when: {{a: 1}}}}\n{rule}: {text}")
    problems = Problems()
    space = read_parameters(file, problems)
    if not problems:
        assert [space.index_of(combination) for combination in space] == list(range(space.count))
        assert space.count
