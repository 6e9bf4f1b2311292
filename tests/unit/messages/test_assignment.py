"""The identity of a task, and the messages about it."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import MessageError
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.task_ids import task_id
from framework.space.values import Value

COMMAND = ["python", "train.py"]
ASSIGNMENT = Assignment("infra-0123abcd", "digits", "0123456789abcdef", 1, {"C": 0.1, "text": "a\n'$*"})
RESULT = AttemptResult(
    task="0123456789abcdef",
    attempt=2,
    host="local",
    state="done",
    started=1_700_000_000.5,
    seconds=1.25,
    exit_code=0,
    reason="",
    metrics={"accuracy": 0.9, "loss": "nan", "epoch": 3},
    code="abc",
    image="",
    infrastructure="infra-0123abcd",
    project="digits",
)

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


def test_identity_does_not_depend_on_the_process() -> None:
    chosen: dict[str, Value] = {"größe": 1e-3, "C": 0.1, "text": "a\n\"'$*", "on": True}
    program = f"from framework.messages.task_ids import task_id; print(task_id({COMMAND!r}, {chosen!r}))"
    for seed in "12":
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        )
        assert done.stdout.decode().strip() == task_id(COMMAND, chosen)


def test_identity_stays_what_it_was() -> None:
    # were it to change, every result there is would be run again
    assert task_id(["python", "train.py"], {"C": 0.1, "kernel": "rbf"}) == "255d30e0b6a337fa"


@given(
    parameters=st.dictionaries(
        st.from_regex(r"[a-z]\w*", fullmatch=True), st.floats(allow_nan=False) | st.text()
    )
)
def test_an_assignment_there_and_back(parameters: dict[str, Value]) -> None:
    chosen = {
        k: v for k, v in parameters.items() if v not in (float("inf"), float("-inf")) and "\0" not in str(v)
    }
    sent = dataclasses.replace(ASSIGNMENT, parameters=chosen)
    arrived = Assignment.from_message(json.loads(json.dumps(sent.to_message())))
    assert arrived == sent
    assert list(arrived.parameters) == list(chosen)


def test_a_result_there_and_back() -> None:
    for result in (
        RESULT,
        dataclasses.replace(RESULT, state="failed", exit_code=None, reason="no such file"),
    ):
        assert AttemptResult.from_message(json.loads(json.dumps(result.to_message()))) == result


@pytest.mark.parametrize(
    "change",
    [
        {"task": "0123456789ABCDEF"},
        {"task": "../../../../etc"},
        {"task": 5},
        {"attempt": 0},
        {"attempt": True},
        {"attempt": 1.0},
        {"attempt": "1"},
        {"parameters": []},
        {"parameters": {"--x": 1}},
        {"parameters": {"x": (1,)}},
        {"parameters": {"x": [{"y": b""}]}},
        {"parameters": {"x": float("nan")}},
        {"parameters": {"x": "\0"}},
        {"infrastructure": ""},
        {"infrastructure": "x" * 300},
        {"project": None},
        {"extra": 1},
    ],
    ids=str,
)
def test_no_assignment(change: dict[str, object]) -> None:
    with pytest.raises(MessageError):
        Assignment.from_message(ASSIGNMENT.to_message() | change)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "running"},
        {"state": ["done"]},
        {"seconds": -1},
        {"seconds": float("inf")},
        {"seconds": True},
        {"started": "now"},
        {"exit_code": -9},
        {"exit_code": "0"},
        {"exit_code": True},
        {"reason": None},
        {"reason": "x" * 10_000},
        {"metrics": None},
        {"metrics": {"a b": 1}},
        {"metrics": {"a": None}},
        {"metrics": {"a": float("nan")}},
        {"host": ""},
        {"extra": 1},
    ],
    ids=str,
)
def test_no_result(change: dict[str, object]) -> None:
    with pytest.raises(MessageError):
        AttemptResult.from_message(RESULT.to_message() | change)


@pytest.mark.parametrize("message", [None, 1, "x", [], {}, {1: 2}])
def test_no_message_at_all(message: object) -> None:
    with pytest.raises(MessageError):
        Assignment.from_message(message)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AttemptResult)])
def test_every_field_is_needed(field: str) -> None:
    message = RESULT.to_message()
    del message[field]
    with pytest.raises(MessageError, match=field):
        AttemptResult.from_message(message)
