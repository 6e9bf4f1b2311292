"""Orders to workers: attempts that they are to stop, or to hand back."""

from __future__ import annotations

from collections.abc import Collection

from framework.messages.task_ids import AttemptId


class StopOrders:
    """Attempts that hosts are to be told to stop or to hand back, and those that a heartbeat has named."""

    def __init__(self) -> None:
        self._orders: dict[str, set[AttemptId]] = {}  # by host
        self._to_hand_back: dict[str, set[AttemptId]] = {}  # by host
        self._unwanted: dict[str, set[AttemptId]] = {}  # by host: unwanted attempts in its last heartbeat

    def add(self, host: str, attempts: Collection[AttemptId]) -> None:
        """Have a host told to stop attempts."""
        if attempts:
            self._orders.setdefault(host, set()).update(attempts)

    def hand_back(self, host: str, attempts: Collection[AttemptId]) -> None:
        """Have a host told to hand back those attempts that have not begun."""
        if attempts:
            self._to_hand_back.setdefault(host, set()).update(attempts)

    def note_unwanted(self, host: str, attempts: set[AttemptId]) -> None:
        """Have those stopped that the host's last two heartbeats have named.

        An attempt that only one has named may have ended since: its result came in another queue.
        """
        self.add(host, attempts & self._unwanted.get(host, set()))
        self._unwanted.pop(host, None)
        if attempts:
            self._unwanted[host] = attempts

    def take(self) -> dict[str, list[AttemptId]]:
        """Remove and return the orders to stop: the attempts by host."""
        orders, self._orders = self._orders, {}
        return {host: sorted(attempts) for host, attempts in orders.items()}

    def take_hand_backs(self) -> dict[str, list[AttemptId]]:
        """Remove and return the orders to hand back: the attempts by host."""
        orders, self._to_hand_back = self._to_hand_back, {}
        return {host: sorted(attempts) for host, attempts in orders.items()}
