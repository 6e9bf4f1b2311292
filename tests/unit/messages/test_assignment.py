"""Assignments and results: unchanged by transport, and refused if not exactly valid."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.errors import MessageError
from framework.messages.assignment import Assignment, AttemptResult
from framework.messages.task_ids import AttemptId
from framework.space.values import Value

ASSIGNMENT = Assignment("infra-0123abcd", "digits", "0123456789abcdef", 1, {"C": 0.1, "text": "a\n'$*"})
RESULT = AttemptResult(
    task="0123456789abcdef", attempt=2, host="local", state="done", started=1_700_000_000.5, seconds=1.25,
    exit_code=0, reason="", metrics={"accuracy": 0.9, "loss": "nan", "epoch": 3}, code="abc", image="",
    infrastructure="infra-0123abcd", project="digits",
)  # fmt: skip


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
def test_an_assignment_with_an_invalid_field_is_refused(change: dict[str, object]) -> None:
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
        {"started": 2**53 - 1},
        {"started": -1},
        {"seconds": 2**53 - 1},
        {"exit_code": -9},
        {"exit_code": "0"},
        {"exit_code": True},
        {"reason": None},
        {"reason": "x" * 10_000},
        {"metrics": None},
        {"metrics": {"a\nb": 1}},
        {"metrics": {"a": None}},
        {"metrics": {"a": float("nan")}},
        {"metrics": {"a": 10**400}},
        {"metrics": dict.fromkeys(map(str, range(1001)), 1)},
        {"host": ""},
        {"host": "a\x1b]52;c;eA==\x07"},
        {"extra": 1},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_result_with_an_invalid_field_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MessageError):
        AttemptResult.from_message(RESULT.to_message() | change)


@pytest.mark.parametrize("message", [None, 1, "x", [], {}, {1: 2}])
def test_content_that_is_no_message_is_refused(message: object) -> None:
    with pytest.raises(MessageError):
        Assignment.from_message(message)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AttemptResult)])
def test_every_field_is_needed(field: str) -> None:
    message = RESULT.to_message()
    del message[field]
    with pytest.raises(MessageError, match=field):
        AttemptResult.from_message(message)


@pytest.mark.parametrize("exit_code", [None, 0, 1, 137, 254, 255])
def test_a_result_with_any_exit_code_of_a_process_is_accepted(exit_code: int | None) -> None:
    message = RESULT.to_message() | {"state": "failed", "exit_code": exit_code}
    assert AttemptResult.from_message(message).exit_code == exit_code


@pytest.mark.parametrize("exit_code", [-1, 256, 300, 255.0])
def test_a_result_with_another_exit_code_is_refused(exit_code: object) -> None:
    with pytest.raises(MessageError, match="exit_code"):
        AttemptResult.from_message(RESULT.to_message() | {"exit_code": exit_code})


def test_the_id_of_an_assignment_and_of_its_result_is_that_of_the_attempt() -> None:
    assert ASSIGNMENT.id == AttemptId("0123456789abcdef", 1)
    assert RESULT.id == AttemptId("0123456789abcdef", 2)
