"""Expressions: their values, their metaparameters, and all that they must not reach."""

import re

import pytest

from framework.space.expressions import parse_expression
from framework.space.values import Value


@pytest.mark.parametrize(
    ("text", "combination", "value"),
    [
        ("batch * steps <= 512", {"batch": 64, "steps": 8}, True),
        ("2 * width", {"width": 24}, 48),
        ("width / 4", {"width": 6}, 1.5),
        ("width // 4 + width % 4 - 2 ** 3", {"width": 6}, -5),
        ("1 <= depth < 3 and not flag", {"depth": 2, "flag": False}, True),
        ("flag == true or flag == False", {"flag": False}, True),
        ("clip == null and clip == None", {"clip": None}, True),
        ("optimizer.name in ['sgd', 'adam']", {"optimizer.name": "adam"}, True),
        ("${drop-out} > 0.1", {"drop-out": 0.2}, True),
        ("${net.0/a}", {"net.0/a": "x"}, "x"),
        ("a.b.c if a else ${a.b}", {"a": 0, "a.b": 2, "a.b.c": 3}, 2),
        ("round(abs(min(a, -2.6))) + int(max(a, 1))", {"a": -1}, 4),
        ("'run-' + name", {"name": "x"}, "run-x"),
    ],
)
def test_values(text: str, combination: dict[str, Value], value: object) -> None:
    expression = parse_expression(text)
    assert set(expression.names) == combination.keys()
    found = expression.value(combination)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a <", "'a <' is no expression"),
        ("a = 3", "'a = 3' is no expression"),
        ("", "'' is no expression"),
        ("(" * 300 + "a" + ")" * 300, "is no expression"),
        ("a" * 1001, "longer than 1000 characters"),
        ("__import__('os')", "calls a function that is not available"),
        ("a.__class__()", "calls a function"),
        ("round(a, ndigits=1)", "calls a function"),
        ("max(*a)", "has Starred"),
        ("a[0]", "has Subscript, which is not available"),
        ("[x for x in a]", "has ListComp"),
        ("lambda: 1", "has Lambda"),
        ("f'{a}'", "has JoinedStr"),
        ("a << 9", "has LShift"),
        ("(1).real", "has a point after something that is no name"),
        ("{'a': 1}", "has Dict"),
        ("a := 1", "is no expression"),
    ],
)
def test_what_is_no_expression(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("1 / a", 0, "'1 / a' has no value for a: 0: division by 0"),
        ("a > 3", "x", "'>' not supported"),
        ("9 ** a", 10**9, "9 ** 1000000000"),
        ("'x' * a", 10**9, "that long"),
        ("[1] * a", 10**9, "that long"),
        ("'%999999999d' % a", 1, "% takes numbers"),
        ("1.5 * a", 10**400, "too large"),
        ("int(a)", "x", "invalid literal"),
    ],
)
def test_what_has_no_value(text: str, value: Value, reason: str) -> None:
    with pytest.raises(ValueError, match="has no value for a") as caught:
        parse_expression(text).value({"a": value})
    assert reason in str(caught.value)


def test_references() -> None:
    assert parse_expression("${a-b}").is_reference
    assert parse_expression("a.b").is_reference
    assert not parse_expression("2 * a").is_reference


def test_what_has_a_value_for_every_number() -> None:
    assert all(parse_expression(text).is_safe_for_draws for text in ("a / 10 - b", "-a * b + 1", "${a}"))
    assert not any(
        parse_expression(text).is_safe_for_draws
        for text in ("1 / a", "a / 0", "a ** 2", "max(a, 1)", "a > 1")
    )
