"""parameters.yml: every form and rule, and everything that is wrong with one, with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_directory import ProjectDirectory

from framework.configuration.parameters import read_parameters
from framework.configuration.yaml_nodes import Problems
from framework.space import constraints


def test_nested_metaparameters(directory: ProjectDirectory) -> None:
    space = directory.space(
        "x: 1\noptimizer:\n  parameters:\n    name: [sgd, adam]\n    deep: {parameters: {k: {value: 3}}}\n",
    )
    assert list(space) == [
        {"x": 1, "optimizer.name": name, "optimizer.deep.k": 3} for name in ("sgd", "adam")
    ]


def test_zip(directory: ProjectDirectory) -> None:
    space = directory.space("zip: [lr, batch]\nlr: [0.1, 0.1, 1]\nkernel: [a, b]\nbatch: [1, 2, 1]\n")
    assert [list(each.values()) for each in space] == [
        [0.1, "a", 1], [0.1, "b", 1], [0.1, "a", 2], [0.1, "b", 2], [1, "a", 1], [1, "b", 1],
    ]  # fmt: skip
    both = directory.space("zip: [[a, b], [c, d]]\na: [1, 2]\nb: [3, 4]\nc: [5, 6]\nd: {range: [7, 9, 1]}\n")
    assert [list(each.values()) for each in both] == [[1, 3, 5, 7], [1, 3, 6, 8], [2, 4, 5, 7], [2, 4, 6, 8]]


def test_when(directory: ProjectDirectory) -> None:
    space = directory.space(
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


def test_when_inside_when(directory: ProjectDirectory) -> None:
    space = directory.space(
        "kind: [net, tree, forest]\n"
        "net:\n  when: {kind: [net, tree]}\n  parameters:\n"
        "    act: [relu, tanh]\n    slope: {values: [1, 2], when: {net.act: relu, kind: [tree, forest]}}\n"
        "    deep:\n      when: {act: tanh}\n      parameters:\n        depth: [3, 4]\n"
        "        fine: {value: 5, when: {depth: 4, act: tanh}}\n",
    )
    assert [list(each.values()) for each in space] == [
        ["net", "relu"], ["net", "tanh", 3], ["net", "tanh", 4, 5],
        ["tree", "relu", 1], ["tree", "relu", 2], ["tree", "tanh", 3], ["tree", "tanh", 4, 5], ["forest"],
    ]  # fmt: skip
    assert space.conditions["net.slope"] == {"kind": ["tree"], "net.act": ["relu"]}


def test_where(directory: ProjectDirectory) -> None:
    text = "batch: [128, 256]\nnet: {parameters: {steps: [1, 2, 4]}}\nwhere: "
    one = directory.space(text + '"batch * net.steps <= 512"\n')
    assert [list(each.values()) for each in one] == [[128, 1], [128, 2], [128, 4], [256, 1], [256, 2]]
    two = directory.space(text + "[batch * net.steps <= 512, net.steps != 1]\n")
    assert [list(each.values()) for each in two] == [[128, 2], [128, 4], [256, 2]]


def test_references_and_expressions(directory: ProjectDirectory) -> None:
    space = directory.space(
        "width: [32, 64]\nhidden: ${width}\nlast: {expression: 'hidden // 16 + 1', when: {width: 64}}\n"
        "text: '${width}'\ninclude: [{width: 8}]\n",
    )
    assert [list(each.values()) for each in space] == [
        [32, 32, "${width}"], [64, 64, 5, "${width}"], [8, 8, "${width}"],
    ]  # fmt: skip


def test_exclude_and_include(directory: ProjectDirectory) -> None:
    space = directory.space(
        "C: [1.0, 10]\nkernel: [rbf, poly]\ndegree: {values: [2, 3], when: {kernel: poly}}\nepochs: 5\n"
        "exclude:\n- {C: 1, kernel: rbf}\n- {C: [1, 10], degree: 3}\n"
        "include:\n- {degree: 7, kernel: poly, C: 0.5}\n- {C: 1.0, kernel: rbf, epochs: 6}\n",
    )
    assert [list(each.values()) for each in space] == [
        [1.0, "poly", 2, 5], [10, "rbf", 5], [10, "poly", 2, 5], [0.5, "poly", 7, 5], [1.0, "rbf", 6],
    ]  # fmt: skip
    assert all(list(each) == [name for name in space.names if name in each] for each in space)
    assert [space.index_of(each) for each in space] == list(range(5))


def test_seeds(directory: ProjectDirectory) -> None:
    assert directory.space("x: [1, 2]\nseeds: 3\n").seeds == 3
    assert directory.space("x: [1, 2]\n").seeds is None


def test_rules_that_are_too_entangled_are_told_at_their_place(
    directory: ProjectDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constraints, "MOST_NODES", 1000)
    lines = [f"x{number}: [0, 1]" for number in range(60)]
    rules = [f"{{x{number}: 0, x{number + 30}: 0}}" for number in range(30)]
    (found,) = directory.problems_of_space("\n".join([*lines, f"exclude: [{', '.join(rules)}]"]))
    assert found.startswith("61:10: the rules are too entangled")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x: {min: 0.0, max: 1}\nexclude: [{x: 1}]", "2:12: x is drawn from a distribution"),
        ("x: {min: 0.0, max: 1}\ny: [1, 2]\nzip: [x, y]", "3:6: zip takes lists of values"),
        (
            "x: {values: [1, 2], probabilities: [0, 1]}\nexclude: [{x: 2}]",
            "2:10: only values of probability 0",
        ),
        ("x: {min: 0.0, max: 1}\ny: 1\ninclude: [{y: 1}]", "3:11: no x; write x: …"),
    ],
)
def test_what_is_wrong_with_draws(directory: ProjectDirectory, text: str, expected: str) -> None:
    (found,) = directory.problems_of_space(text, grid=False)
    assert found.startswith(expected)


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file(directory: ProjectDirectory) -> None:
    found = directory.problems_of_space(
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y: 1\nx: {when: {y: 1}}", "2:4: a metaparameter without a value"),
        ("o: {parameters: {}}", "1:17: parameters holds metaparameters"),
        ("o: {parameters: {a: 1}, value: 2}", "1:25: value cannot be used with parameters"),
        ("o: {parameters: {'-': 1, a b: 2}}", "1:26: 'o.a b' cannot be an option"),
        ("o.a: 1\no: {parameters: {a: 2}}", "2:18: 'o.a' is defined twice, first in line 1"),
        ("x: 1\nzip: x", "2:6: zip takes two or more names"),
        ("x: 1\nzip: [x]", "2:6: zip takes two or more names"),
        ("x: 1\ny: 2\nzip: [[x, y, {x: 1}]]", "3:7: zip takes two or more names"),
        ("x: 1\nzip: [x, y]", "2:6: no metaparameter 'y'; known: x"),
        ("x: 1\ny: 1\nz: 1\nzip: [[x, y], [y, z]]", "4:15: y is zipped twice"),
        ("x: [1, 2]\ny: [1, 2, 3]\nzip: [x, y]", "3:6: zip takes lists of one length, but x has 2, y has 3"),
        ("x: [1, 2]\nzip: [x, x]", "2:6: x is zipped twice; name it once"),
        ("x: [1, 2]\ny: [1, 2]\nz: [1, 2]\nzip: [x, y, z, y]", "4:6: y is zipped twice; name it once"),
        ("x: [1, 1]\ny: [2, 2]\nzip: [x, y]", "3:6: x, y have the same values in two places"),
        ("a: [1, 2]\nx: [1, 2]\ny: {values: [1, 2], when: {a: 1}}\nzip: [x, y]", "4:6: x, y move together"),
        ("x: [1, 2]\ny: {values: [3], when: {x: 5}}", "2:28: x is never 5; it is one of 1, 2"),
        ("x: [1, 2]\ny: {values: [3], when: {z: 5}}", "2:25: no metaparameter 'z'; known: x, y"),
        ("x: {value: 1, when: {y: 1}}\ny: 1", "1:22: y has to be defined before x"),
        ("x: {value: 1, when: {x: 1}}", "1:22: x has to be defined before x"),
        ("x: {value: 1, when: 5}", "1:21: when takes metaparameters and values"),
        ("z: [1, 2]\no: {parameters: {a: {value: 1, when: {z: 2}}}, when: {z: 1}}", "2:38: o.a never exists"),
        ("z: [1, 2]\no: {parameters: {a: {value: 1, when: {y: 2}}}}", "2:39: no metaparameter 'y'"),
        ("o: {parameters: {a: {value: 1, when: {b: 2}}, b: 2}}", "1:39: o.b has to be defined before o.a"),
        ("x: [1, 2]\nwhere: 3", "2:8: where takes comparisons"),
        ("x: [1, 2]\nwhere: [x > 1, {}]", "2:16: where takes comparisons"),
        ("x: [1, 2]\nwhere: x >", "2:8: 'x >' is no expression"),
        ("x: [1, 2]\nwhere: open(x)", "2:8: 'open(x)' calls a function"),
        ("x: [1, 2]\nwhere: y > 1", "2:8: no metaparameter 'y'"),
        ("x: [1, 2]\nwhere: 1 < 2", "2:8: no metaparameter in '1 < 2'"),
        ("x: [1, a]\nwhere: x > 1", "2:8: 'x > 1' has no value for x: 'a'"),
        ("x: [1, 2]\nwhere: x + 1", "2:8: 'x + 1' is 2, not true or false"),
        ("x: [1, 2]\nwhere: [x > 0, x > 2]", "2:8: every combination is excluded"),
        ("x: {min: 1, max: 500}\ny: {min: 1, max: 500}\nwhere: x < y", "3:8: 'x < y' would be tried with"),
        ("x: 1\nwhere: *a", "2:8: *a is not defined"),
        ("y: ${x}\nx: 1", "1:4: x has to be defined before y"),
        ("width: 1\ny: ${widht}", "2:4: no metaparameter 'widht'; did you mean 'width'?"),
        ("x: [0, 1]\ny: {expression: 1 / x}", "2:4: '1 / x' has no value for x: 0: division by 0"),
        ("x: [1, 2]\ny: ${x}\nexclude: [{y: 1}]", "3:12: y is computed"),
        ("x: [1, 2]\ny: ${x}\nzip: [x, y]", "3:6: zip takes lists of values"),
        ("x: [1, 2]\ny: ${x}\ninclude: [{x: 3, y: 4}]", "3:11: y is computed, and is 3 here"),
        ("x: [1, 2]\ny: {expression: 1 / x}\ninclude: [{x: 0}]", "3:11: '1 / x' has no value for x: 0"),
        ("x: [1, 2]\nexclude: {x: 1}", "2:10: exclude is reserved for a list of combinations"),
        ("x: [1, 2]\nexclude: []", "2:10: exclude is reserved for a list of combinations"),
        ("x: [1, 2]\nexclude: [{x: 3}]", "2:15: x is never 3"),
        ("x: [1, 2]\nexclude: [{x: '1'}]", "2:15: x is never '1'"),
        ("x: {range: [0, 1, 0.1]}\nexclude: [{x: 0.34}]", "2:15: x is never 0.34; it is one of 0.0"),
        ("x: {range: [0, 1, 0.1]}\nexclude: [{x: 1}]", "2:15: x is never 1"),
        ("x: {min: 1, max: 9}\nexclude: [{x: 2.5}]", "2:15: x is never 2.5; it is one of 1, 2, 3"),
        ("x: {range: [0, 1, 0.1]}\ny: {value: 1, when: {x: 0.34}}", "2:25: x is never 0.34"),
        ("x: [1, 2]\nexclude: [{x: []}]", "2:15: no value of x"),
        ("x: [1, 2]\nexclude: [{y: 1}]", "2:12: no metaparameter 'y'"),
        ("x: [1, 2]\nexclude: [{}]", "2:11: exclude takes metaparameters and values"),
        ("x: [1, 2]\nexclude: [{x: [1, 2]}]", "2:10: every combination is excluded"),
        ("x: [1, 2]\ninclude: [{x: 1}]", "2:11: this is combination 1 of the product already"),
        ("x: [1, 2]\ninclude: [{x: 3}, {x: 3}]", "2:19: this combination is included already"),
        ("x: [1, 2]\ninclude: [{x: [3, 4]}]", "2:11: x has 2 values; write a combination for each"),
        ("x: [1, 2]\ny: [1, 2]\ninclude: [{x: 3}]", "3:11: no y; write y: …"),
        ("x: [1, 2]\ny: {value: 1, when: {x: 1}}\ninclude: [{x: 2, y: 3}]", "3:11: y does not exist in this"),
        ("x: [1, 2]\nseeds: 0", "2:8: seeds is the number of runs"),
        ("x: [1, 2]\nseeds: [1, 2]", "2:8: seeds is the number of runs"),
        ("seed: 1\nseeds: 2", "2:8: seeds adds a metaparameter seed"),
        ("seeds: 2", "1:1: no metaparameters"),
        ("x: 1\nzip: *a", "2:6: *a is not defined"),
        ("x: 1\nexclude: *a", "2:10: *a is not defined"),
        ("x: 1\nexclude: [*a]", "2:11: *a is not defined"),
        ("x: 1\nseeds: *a", "2:8: *a is not defined"),
        ("x: {value: 1, when: *a}", "1:21: *a is not defined"),
        ("x: {values: *a}", "1:13: *a is not defined"),
        ("x: {range: *a}", "1:12: *a is not defined"),
        ("x: {min: *a, max: 1}", "1:10: *a is not defined"),
        ("x: {parameters: *a}", "1:17: *a is not defined"),
    ],
)  # fmt: skip
def test_what_is_wrong(directory: ProjectDirectory, text: str, expected: str) -> None:
    (found,) = directory.problems_of_space(text)
    assert found.startswith(expected)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("-x: 2", "1:1: '-x' cannot be an option"),
        ("a=b: 2", "1:1: 'a=b' cannot be an option"),
        ("{}", "1:1: no metaparameters"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_names(directory: ProjectDirectory, line: str, problem: str) -> None:
    (found,) = directory.problems_of_space(line)
    assert found.startswith(problem)


LISTS = "layers: [[64, 32], [64], []]\nclip: [null, 1]\nopt: [{name: sgd}, {name: adam, rate: 0.1}]\n"


@pytest.mark.parametrize(
    ("rules", "count"),
    [
        ("", 12),
        ("exclude: [{layers: [64, 32]}]", 8),
        ("exclude: [{layers: [[64, 32], []]}]", 4),
        ("exclude: [{layers: [], clip: null}]", 10),
        ("exclude: [{clip: [null]}]", 6),
        ("exclude: [{opt: {name: adam, rate: 0.1}}]", 6),
        ("momentum: {values: [1, 2], when: {layers: [64], clip: ~}}", 14),
        ("where: layers != [64]", 8),
        ("where: max(layers + [0]) > 0 and 64 in layers", 8),
        ("where: clip != null or layers == []", 8),
        ("same: ${layers}", 12),
        ("longest: {expression: 'max(layers + [0])'}", 12),
        ("include: [{layers: [7], clip: null, opt: {name: sgd}}]", 13),
        ("zip: [layers, width]\nwidth: [1, 2, 3]", 12),
        ("seeds: 2", 12),
    ],
)
def test_rules_take_null_lists_and_mappings(directory: ProjectDirectory, rules: str, count: int) -> None:
    space = directory.space(f"{LISTS}{rules}")
    assert space.count == count
    assert [space.index_of(combination) for combination in space] == list(range(count))


def test_an_included_list_is_one_value(directory: ProjectDirectory) -> None:
    space = directory.space(f"{LISTS}include: [{{layers: [7], clip: null, opt: {{name: sgd}}}}]")
    assert space.combination(12) == {"layers": [7], "clip": None, "opt": {"name": "sgd"}}
    mixed = "x: [[64, 32], 64, 32]\nexclude: "
    assert [each["x"] for each in directory.space(f"{mixed}[{{x: [64, 32]}}]")] == [64, 32], "the list itself"
    assert [each["x"] for each in directory.space(f"{mixed}[{{x: [32, 64]}}]")] == [[64, 32]], (
        "either of them"
    )
    (problem,) = directory.problems_of_space(f"{LISTS}exclude: [{{layers: [7]}}]")
    assert problem.startswith("4:20: layers is never [7]; it is one of [64, 32], [64], []")
