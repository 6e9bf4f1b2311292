"""Words of YAML 1.1 as PyYAML 6 reads them."""

import pytest

from framework.configuration.yaml_1_1 import resolve_1_1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("On", True), ("TRUE", True), ("no", False), ("off", False), ("y", "y"), ("oN", "oN"),
        ("", None), ("~", None), ("Null", None), ("nULL", "nULL"),
        ("0", 0), ("-7", -7), ("1_000", 1000), ("010", 8), ("-010", -8), ("08", "08"), ("0o17", "0o17"),
        ("0x1F", 31), ("0b101", 5), ("0x", "0x"), ("12:30", 750), ("-1:0:1", -3601), ("12:60", "12:60"),
        ("1.5", 1.5), (".5", 0.5), ("-.5", "-.5"), ("1.", 1.0), ("1e-3", "1e-3"), ("1.0e-3", 0.001),
        ("1.0e3", "1.0e3"), ("1.0e+3", 1000.0), ("1_0.5", 10.5), ("1:0.5", 60.5), ("-.inf", float("-inf")),
        ("--1", "--1"), ("a", "a"),
    ],
)  # fmt: skip
def test_a_word(text: str, value: object) -> None:
    found = resolve_1_1(text)
    assert (type(found), found) == (type(value), value)
