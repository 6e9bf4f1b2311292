"""Notices: messages to people that stand in the status until they are over."""

from __future__ import annotations

from collections.abc import Iterator


class Notices:
    """One notice for each topic."""

    def __init__(self) -> None:
        self._by_topic: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_topic.values())

    def get(self, topic: str) -> str:
        """The notice about a topic; empty if there is none."""
        return self._by_topic.get(topic, "")

    def set(self, topic: str, notice: str) -> None:
        self._by_topic[topic] = notice

    def set_or_clear(self, topic: str, notice: str) -> None:
        """Set the notice about a topic, or clear it if `notice` is empty."""
        if notice:
            self.set(topic, notice)
        else:
            self.clear(topic)

    def clear(self, topic: str) -> None:
        self._by_topic.pop(topic, None)
