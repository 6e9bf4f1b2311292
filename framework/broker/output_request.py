"""Request to a worker, by Celery's remote control, for the output of an attempt."""

from __future__ import annotations

from celery import Celery

from framework.broker.celery_app import BROKER_ERRORS, OUTPUT_COMMAND
from framework.broker.declared_names import DeclaredControl
from framework.errors import MessageError
from framework.messages.output_tail import OutputTail
from framework.messages.task_ids import AttemptId
from framework.text import as_on_terminal, one_line

ANSWER_SECONDS = 3.0
_LONGEST_PROBLEM = 300


def ask_for_output(app: Celery, host: str, attempt: AttemptId) -> dict[str, str]:
    """The last lines of `stdout` and `stderr`, fit to be shown, or a `problem`: why they are not known."""
    try:
        answer = _ask(app, f"worker@{host}", str(attempt))
        tail = OutputTail.from_message(answer)
    except MessageError as error:
        return {"problem": one_line(f"{host}: {error}", _LONGEST_PROBLEM)}
    except BROKER_ERRORS as error:
        return {"problem": one_line(f"the broker does not answer: {error!r}", _LONGEST_PROBLEM)}
    return {"stdout": as_on_terminal(tail.stdout), "stderr": as_on_terminal(tail.stderr)}


def _ask(app: Celery, worker: str, attempt: str) -> object:
    """What a worker answers. Raises MessageError if it does not answer, and BROKER_ERRORS.

    A mailbox of its own: a later question meets no answer that came too late, and none is kept.
    """
    with app.pool.acquire(block=True) as connection:
        connection.connect()  # one try
        replies = DeclaredControl(app).broadcast(
            OUTPUT_COMMAND, {"name": attempt}, destination=[worker], connection=connection, reply=True,
            timeout=ANSWER_SECONDS,
        )  # fmt: skip
    for reply in replies or []:
        if isinstance(reply, dict) and worker in reply:
            return reply[worker]
    raise MessageError(f"its worker does not answer (waited {ANSWER_SECONDS:.0f} s)")
