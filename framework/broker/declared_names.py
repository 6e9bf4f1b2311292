"""Celery's remote control and events, which declare no name that the broker has already

Celery declares an exchange before it uses it, each time. That needs the right to configure it, which is also
the right to delete it. Only queues for replies and received events are declared, by whoever receives them.
"""

from __future__ import annotations

from typing import Any

import kombu
from celery.app.control import Control
from celery.events.event import event_exchange
from kombu.pidbox import Mailbox

event_exchange.no_declare = True  # Celery and Flower copy it wherever they use it


class _Mailbox(Mailbox):
    def _get_exchange(self, namespace: str, kind: str) -> kombu.Exchange:
        name = self.exchange_fmt % namespace
        return kombu.Exchange(name, kind, delivery_mode="transient", no_declare=True)

    def _get_reply_exchange(self, namespace: str) -> kombu.Exchange:
        name = self.reply_exchange_fmt % namespace
        return kombu.Exchange(name, "direct", delivery_mode="transient", no_declare=True)

    def get_queue(self, hostname: str) -> kombu.Queue:
        return kombu.Queue(f"{hostname}.{self.exchange.name}", self.exchange, no_declare=True)

    def _publish_reply(
        self, reply: Any, _: str, routing_key: str, ticket: str, channel: Any = None, **options: Any
    ) -> None:
        with self.producer_or_acquire(None, channel) as producer:
            producer.publish(
                reply,
                exchange=self.reply_exchange.name,
                routing_key=routing_key,
                headers={"ticket": ticket, "clock": self.clock.forward()},
                retry=True,
                **options,
            )


class DeclaredControl(Control):
    """Celery's remote control."""

    Mailbox = _Mailbox
