"""Lines of parameters.yml: they are read as what they were written from."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_directory import ProjectDirectory
from ruamel.yaml import YAML

from framework.configuration.translation import Translation, flow, linspace, rounded
from framework.configuration.yaml_nodes import Position, Problems, ScalarNode

texts = st.text(alphabet=st.characters(codec="utf-8", categories=["L", "N", "P"]))


@given(st.recursive(
    st.one_of(st.booleans(), st.integers(), texts),
    lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"[a-z]+", fullmatch=True), inner),
    max_leaves=6,
))  # fmt: skip
def test_a_line_of_yaml_is_read_as_it_was_meant(value: Any) -> None:
    yaml = YAML(typ="safe", pure=True)
    assert json.dumps(yaml.load(flow([value]))) == json.dumps([value])


def test_text_that_looks_like_something_else_is_in_quotes() -> None:
    assert flow(["no", "null", "true", "1", "a b", "${x}", "1,2", "x-1"]) == (
        '[no, "null", "true", "1", "a b", "${x}", "1,2", x-1]'
    )


def test_conditions_and_groups(directory: ProjectDirectory) -> None:
    to = Translation(Problems(), notes=["a note"])
    node = ScalarNode(Position(directory.path, 1, 1), 1, "1", True)
    to.add("kind", node, ["a", "b"])
    to.add("x", node, [1, 2], {"kind": "a"})
    to.add("y", node, 3, {"kind": "a"})
    to.add("p", node, [1, 2])
    to.add("q", node, [3, 4])
    to.zip(["p", "q"])
    assert to.text().startswith("# a note\n")
    assert directory.space(to.text()).count == 6
    with pytest.raises(Exception, match="defined twice"):
        to.add("x", node, [1])


def test_null_lists_and_mappings_are_read_as_values(directory: ProjectDirectory) -> None:
    to = Translation(Problems())
    node = ScalarNode(Position(directory.path, 1, 1), 1, "1", True)
    forms: dict[str, Any] = {"a": None, "b": [[1, 2], [3]], "c": {"value": [1]}, "d": [None, {"e": 1}]}
    for name, form in forms.items():
        to.add(name, node, form)
    to.add("f", node, None, {"d": None})
    space = directory.space(to.text())
    assert space.count == 4
    assert space.combination(0) == {"a": None, "b": [1, 2], "c": [1], "d": None, "f": None}
    assert space.combination(3) == {"a": None, "b": [3], "c": [1], "d": {"e": 1}}


def test_numbers_at_equal_distances() -> None:
    assert linspace(0.1, 0.4, 4) == [0.1, 0.2, 0.3, 0.4]
    assert linspace(1, 2, 1) == [1.5]


def test_limits_of_rounded_values_have_to_be_multiples() -> None:
    node = ScalarNode(Position(Path("x"), 1, 1), 1, "1", True)
    assert rounded(node, 0.1, 0.3, 0.1, "q_uniform")["max"] == 0.3
    with pytest.raises(Exception, match="no multiples"):
        rounded(node, 0.1, 0.35, 0.1, "q_uniform")
