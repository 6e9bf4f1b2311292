"""Identity of tasks and attempts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from framework.messages.task_ids import task_id
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
