"""Variables of tasks: what people are told of them."""

from framework.project.variables import Variables, Wanted


def test_names_are_said_and_no_values() -> None:
    wanted = (
        Wanted("LANG", "1:1"),
        Wanted("TOKEN", "1:2", is_secret=True),
        Wanted("PASSWORD", "1:3", is_secret=True, file="~/.pass"),
        Wanted("KEY", "1:4", is_secret=True, file="/key", as_file=True),
    )
    assert Variables({"HOME": "/value", "A": "value"}, wanted).lines() == [
        "environment: HOME, A",
        "environment, from yours: LANG",
        "secrets: TOKEN, PASSWORD (from ~/.pass), KEY (as a file, from /key)",
    ]
    assert Variables().lines() == []
