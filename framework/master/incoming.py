"""Messages of workers: checked, then applied to the sweep or quarantined."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from framework.errors import FrameworkError, JournalError, MessageError
from framework.master.quarantine import SetAside
from framework.messages import queues
from framework.messages.assignment import AttemptResult
from framework.messages.identity import Identity
from framework.messages.worker_events import check_news
from framework.scheduler.retry_policy import Judgement
from framework.scheduler.sweep_state import RunningSet

log = logging.getLogger(__name__)

LONGEST_MESSAGE = 4 * 2**20  # bytes; no right one is as long


class Intake:
    """Takes the messages of the workers that run a set."""

    def __init__(
        self, identity: Identity, running: RunningSet, judgement: Judgement, set_aside: SetAside
    ) -> None:
        self._identity = identity
        self._set = running
        self._judgement = judgement
        self._set_aside = set_aside
        self._unwanted: dict[str, set[str]] = {}  # by host: what its last beat named and is not to run

    def take(self, message: Any) -> None:
        """Take a message for what it is; set it aside if it is not exactly right.

        Nothing in it is fatal. Raises JournalError.
        """
        queue = str(message.delivery_info.get("routing_key", ""))
        dead = queue == queues.DEAD
        try:
            if dead:
                queue = str((message.headers or {}).get("x-first-death-queue", ""))
            if dead and queue != queues.RESULTS:
                raise MessageError(f"a dead letter of the queue {queue}")
            content = self._read(message.body, queue)
            if queue == queues.RESULTS:
                self._take_result(AttemptResult.from_message(content))
            else:
                self._take_news(check_news(content))
        except JournalError:
            raise
        except Exception as error:
            if not isinstance(error, FrameworkError | ValueError):
                log.exception("nobody thought of such a message")
            self._set_aside.add(queues.DEAD if dead else queue, message.body, str(error))

    def _read(self, body: Any, queue: str) -> object:
        if len(body) > LONGEST_MESSAGE:
            raise MessageError(f"a message of {len(body)} bytes")
        content = json.loads(body if isinstance(body, str) else bytes(body))
        if not isinstance(content, dict):
            raise MessageError("a message that is no object")
        ours = {"infrastructure": self._identity.infrastructure}
        if queue == queues.RESULTS:
            ours["project"] = self._set.project.name
        for field, expected in ours.items():
            if content.get(field) != expected:
                raise MessageError(f"a message of another {field}: {content.get(field)!r:.100}")
        return content

    def _take_news(self, news: Mapping[str, Any]) -> None:
        if news["project"] != self._set.project.name:
            return  # the last words of workers that ran another project before
        match news["kind"]:
            case "beat":
                self._take_beat(news)
            case "started":
                self._set.start(news["task"], news["attempt"], news["host"], news["started"])
            case "metrics":
                self._set.journal.metrics(news["task"], news["attempt"], news["metrics"])
                self._set.report(news["task"], news["attempt"], news["reports"])
            case "refused":
                reason = f"refused by the worker on {news['host']}: {news['reason']}"
                self._set_aside.add(queues.tasks_of(news["host"]), news["message"], reason)

    def _take_beat(self, beat: Mapping[str, Any]) -> None:
        host, running, reserved = beat["host"], set(beat["running"]), set(beat["reserved"])
        fleet = self._set.fleet
        if host not in fleet.hosts:
            log.info("worker host %s has %d slots", host, beat["slots"])
        now = time.monotonic()
        fleet.beat(
            host, beat["incarnation"], beat["slots"], running, reserved, now, beat["notice"], beat["unfit"]
        )
        unwanted = {
            name for name in running | reserved if not self._set.is_wanted(name, host, name in running)
        }
        # What is named once may have ended since the beat was written: its result came in another queue.
        self._set.tell_to_stop(host, unwanted & self._unwanted.get(host, set()))
        self._unwanted[host] = unwanted

    def _take_result(self, result: AttemptResult) -> None:
        journal = self._set.journal
        if journal.get(result.task) is None:
            raise FrameworkError(f"a result of task {result.task}, which this journal does not know")
        final = journal.is_new(result) and self._judgement.is_final(result, time.monotonic())
        self._set.finish(result, final)
