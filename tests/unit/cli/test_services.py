"""Services: what the containers' commands start, and workers that are waited for."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from framework.broker import celery_app, master_connection, metrics_server, worker_app
from framework.cli import locations
from framework.cli import main as cli
from framework.files import MasterFiles
from framework.master import master as master_module
from framework.messages.identity import Identity


def identity(role: str) -> Identity:
    return Identity(role, "infra-1", "p", "host1")


@pytest.fixture(autouse=True)
def container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Identity, "of_container", identity)
    monkeypatch.setattr(locations, "DATA", tmp_path / "data")
    monkeypatch.setattr(locations, "CODE", tmp_path / "code")


class App:
    """Celery's application, as far as these commands know it."""

    def __init__(self, ping: Callable[[Sequence[str]], Sequence[Mapping[str, object]]] | None = None) -> None:
        self.control = self
        self.roles: list[str] = []
        self.started: list[list[str]] = []
        self._ping = ping

    def make(self, identity: Identity) -> App:
        self.roles.append(identity.role)
        return self

    def start(self, arguments: list[str]) -> None:
        self.started.append(arguments)

    def ping(self, destination: Sequence[str], timeout: float, limit: int) -> Sequence[Mapping[str, object]]:
        assert self._ping is not None
        assert limit == len(destination), "not one answer more is waited for"
        assert timeout > 0
        return self._ping(destination)


def use(monkeypatch: pytest.MonkeyPatch, app: App) -> App:
    monkeypatch.setattr(celery_app, "make_app", app.make)
    return app


@pytest.mark.parametrize(("given", "slots"), [(None, None), ("", None), ("3", 3)])
def test_a_worker_has_the_slots_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch, given: str | None, slots: int | None
) -> None:
    served: list[tuple[Any, ...]] = []
    monkeypatch.setattr(worker_app, "serve", lambda *arguments: served.append(arguments))
    monkeypatch.setenv("TASK_MEMORY", "512")
    if given is None:
        monkeypatch.delenv("SLOTS", raising=False)
    else:
        monkeypatch.setenv("SLOTS", given)
    assert cli.main(["worker"]) == 0
    assert served == [(identity("worker"), locations.DATA, locations.CODE, slots, 512 * 2**20)]


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", " "])
def test_slots_that_are_no_number_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    monkeypatch.setattr(worker_app, "serve", lambda *_: pytest.fail("it was started"))
    monkeypatch.setenv("SLOTS", given)
    assert cli.main(["worker"]) == 2
    assert capsys.readouterr().err == f"SLOTS is {given!r}: it must be a number of 1 or more\n"


def test_a_master_runs_with_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    app = use(monkeypatch, App())
    made: list[tuple[Any, ...]] = []

    class Master:
        def __init__(self, *arguments: object, values: Mapping[str, str]) -> None:
            made.append((*arguments, values))

        def run(self, link: Callable[[], object]) -> None:
            made.append((link(), link()))

    monkeypatch.setattr(master_module, "Master", Master)
    monkeypatch.setattr(celery_app, "connect", lambda identity: object())
    monkeypatch.setattr(master_connection, "MasterConnection", lambda app, connection: (app, connection))
    assert cli.main(["master"]) == 0
    assert made[0] == (identity("master"), MasterFiles(locations.DATA), locations.CODE, {})
    first, second = made[1]
    assert first[0] is second[0] is app
    assert first[1] is not second[1], "each link has a new connection"


def test_flower_and_celerys_commands_are_started_with_the_application(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = use(monkeypatch, App())
    assert cli.main(["flower"]) == 0
    assert cli.main(["celery", "inspect", "ping", "--json"]) == 0
    assert app.started == [["flower", f"--conf={celery_app.FLOWER_CONFIG}"], ["inspect", "ping", "--json"]]
    assert app.roles == ["flower", "master"]


def test_the_metrics_are_served_beside_flower_if_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    app = use(monkeypatch, App())
    ports: list[int] = []
    monkeypatch.setattr(
        metrics_server, "make_metrics_server", lambda: types.SimpleNamespace(listen=ports.append)
    )
    assert cli.main(["flower"]) == 0
    assert ports == []
    monkeypatch.setenv("METRICS", "yes")
    assert cli.main(["flower"]) == 0
    assert (ports, len(app.started)) == ([5556], 2)


def test_workers_are_waited_for_until_each_has_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Sequence[str]] = []

    def ping(destination: Sequence[str]) -> Sequence[Mapping[str, object]]:
        asked.append(destination)
        match len(asked):
            case 1:
                raise celery_app.BROKER_ERRORS[0]("refused")
            case 2:
                return [{"worker@b": {"ok": "pong"}}, {"worker@stranger": {"ok": "pong"}}]
            case _:
                return [{"worker@a": {"ok": "pong"}}]

    use(monkeypatch, App(ping))
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert cli.main(["wait-workers", "a", "b"]) == 0
    assert asked == [["worker@a", "worker@b"], ["worker@a", "worker@b"], ["worker@a"]]
    assert capsys.readouterr().out == "worker@b answers\nworker@a answers\n"


def test_workers_that_do_not_answer_in_time_are_named_with_the_brokers_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ping(destination: Sequence[str]) -> Sequence[Mapping[str, object]]:
        if len(destination) == 3:
            return [{"worker@b": {"ok": "pong"}}]
        raise celery_app.BROKER_ERRORS[0]("refused")

    use(monkeypatch, App(ping))
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert cli.main(["wait-workers", "a", "b", "c", "--timeout", "0.2"]) == 1
    assert capsys.readouterr().err == "no answer in 0 s from the workers on a, c (the broker: refused)\n"
