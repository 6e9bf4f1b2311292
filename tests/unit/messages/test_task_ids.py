"""Identity of tasks and attempts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import MessageError
from framework.messages.task_ids import AttemptId, is_attempt_number, is_task_id, task_id
from framework.space.values import Value

COMMAND = ["python", "train.py"]


parameters = st.dictionaries(
    st.text(min_size=1),
    st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
)


@given(parameters, st.randoms())
def test_identity_does_not_depend_on_order(chosen: dict[str, Value], random: Any) -> None:
    items = list(chosen.items())
    random.shuffle(items)
    assert task_id(COMMAND, dict(items)) == task_id(COMMAND, chosen)


@given(parameters, parameters)
def test_different_content_is_a_different_task(one: dict[str, Value], other: dict[str, Value]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (task_id(COMMAND, one) == task_id(COMMAND, other)) == same


def test_values_of_different_types_are_different_tasks() -> None:
    values: list[Value] = [1, 1.0, True, "1", "1.0", "true", 0, 0.0, -0.0, False, ""]
    assert len({task_id(COMMAND, {"x": value}) for value in values}) == len(values)


def test_the_command_is_part_of_the_identity() -> None:
    commands = [["a", "b"], ["a b"], ["a"], ["b", "a"]]
    assert len({task_id(command, {}) for command in commands}) == len(commands)


def test_the_identity_of_a_task_never_changes() -> None:
    # were it to change, every result there is would be run again
    assert task_id(["python", "train.py"], {"C": 0.1, "kernel": "rbf"}) == "255d30e0b6a337fa"


def test_identity_does_not_depend_on_the_process() -> None:
    chosen: dict[str, Value] = {"größe": 1e-3, "C": 0.1, "text": "a\n\"'$*", "on": True}
    program = f"from framework.messages.task_ids import task_id; print(task_id({COMMAND!r}, {chosen!r}))"
    for seed in "12":
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        )
        assert done.stdout.decode().strip() == task_id(COMMAND, chosen)


TASK = "0123456789abcdef"


@pytest.mark.parametrize("number", [1, 9, 10, 2**31 - 1])
def test_the_text_of_an_attempt_is_parsed_back(number: int) -> None:
    attempt = AttemptId(TASK, number)
    assert str(attempt) == f"{TASK}.{number}"
    assert AttemptId.parse(str(attempt)) == attempt


@pytest.mark.parametrize(
    "text",
    [
        "", ".", TASK, f"{TASK}.", f"{TASK}.0", f"{TASK}.01", f"{TASK}.-1", f"{TASK}.+1", f"{TASK}.1.2",
        f"{TASK}.1 ", f" {TASK}.1", f"{TASK}.1\n", f"{TASK}.x", f"{TASK}.\u0661", f"{TASK}.{2**31}",
        f"{TASK}.{'9' * 5000}", f"{TASK.upper()}.1", f"{TASK[1:]}.1", f"{TASK}0.1", f"../{TASK}.1",
        None, 5, 1.5, b"x", [TASK, 1], {},
    ],
    ids=lambda text: repr(text)[:30],
)  # fmt: skip
def test_any_other_text_is_no_attempt(text: object) -> None:
    with pytest.raises(MessageError, match="not the name of an attempt") as raised:
        AttemptId.parse(text)
    assert len(str(raised.value)) < 200, "a long text is cut"


def test_attempts_are_ordered_by_task_and_then_by_number() -> None:
    other = "f" * 16
    ordered = [AttemptId(TASK, 2), AttemptId(TASK, 10), AttemptId(other, 1)]
    assert sorted([ordered[2], ordered[1], ordered[0]]) == ordered
    assert sorted(map(str, ordered)) != list(map(str, ordered)), "their texts are ordered otherwise"
    assert len({AttemptId(TASK, 2), AttemptId(TASK, 2), AttemptId(TASK, 3)}) == 2


def test_a_task_id_has_16_lowercase_hexadecimal_digits() -> None:
    assert is_task_id(TASK)
    for value in (TASK.upper(), TASK[1:], TASK + "0", TASK + "\n", "g" * 16, "", None, 5, TASK.encode()):
        assert not is_task_id(value)


def test_the_number_of_an_attempt_is_a_whole_number_from_1_that_the_journal_can_hold() -> None:
    assert is_attempt_number(1)
    assert is_attempt_number(2**31 - 1)
    for value in (0, -1, 2**31, 1.0, True, "1", None):
        assert not is_attempt_number(value)
