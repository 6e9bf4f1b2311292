"""Celery consumer that rejects malformed and foreign messages instead of failing on them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import kombu
from celery import signals
from celery.exceptions import WorkerShutdown
from celery.worker import consumer

from framework.broker.celery_app import TASK_NAME, attempt_of
from framework.errors import MessageError

log = logging.getLogger(__name__)

_HEADERS = {"task": TASK_NAME, "eta": None, "expires": None, "retries": 0, "timelimit": [None, None]}


class Consumer(consumer.Consumer):
    """Rejects messages that no master has sent; the broker passes them to the master, which counts them.

    Celery's own consumer drops what it cannot decode, and some other messages end the worker. Such a message
    is not acknowledged: it is delivered again, and ends the worker again.
    """

    def start(self) -> None:
        """Consume until the worker is stopped, or the broker refuses it something.

        It would do so again and again: the worker ends, and Docker starts it anew, after longer and longer
        pauses.
        """
        try:
            super().start()
        except self.channel_errors as error:
            log.critical(
                "the broker refuses what this worker needs: %r; the worker ends, not what runs", error
            )
            signals.worker_shutting_down.send(sender=self.hostname, sig="", how="Warm", exitcode=1)
            raise WorkerShutdown(1) from error

    def create_task_handler(self, *arguments: Any, **options: Any) -> Callable[[kombu.Message], None]:
        handle = super().create_task_handler(*arguments, **options)

        def on_message(message: kombu.Message) -> None:
            try:
                if not _is_an_attempt(message):
                    raise MessageError("not a message of the master")
                handle(message)
            except self.connection_errors:
                raise
            except Exception as error:
                self._reject(message, error)

        return on_message

    def on_decode_error(self, message: kombu.Message, exc: Exception) -> None:
        self._reject(message, exc)

    def _reject(self, message: kombu.Message, error: Exception) -> None:
        log.warning("a message was rejected: %.300r", error)
        message.reject_log_error(log, self.connection_errors)


def _is_an_attempt(message: kombu.Message) -> bool:
    """True for what MasterConnection sends, as far as Celery acts on it; the worker checks the assignment."""
    arguments, options, embedded = message.payload
    return (
        all(message.headers.get(name) == value for name, value in _HEADERS.items())
        and attempt_of(message.headers.get("id")) is not None
        and isinstance(arguments, list)
        and len(arguments) == 1
        and options == {}
        and not any(embedded.values())
    )
