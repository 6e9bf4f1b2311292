"""Configuration of Flower: a password for every page, and no private data in the command line."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flower import urls
from flower.options import default_options
from flower.utils.search import SearchDocument
from flower.views.monitor import Healthcheck, Metrics

from framework.broker.celery_app import FLOWER_CONFIG


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    """What Flower reads, with the views that are open to everybody, and all pages, restored afterwards."""
    for view in (Healthcheck, Metrics):
        monkeypatch.setattr(view, "get", view.get)
    monkeypatch.setattr(urls, "handlers", urls.handlers[:])
    monkeypatch.setattr(SearchDocument, "from_task", SearchDocument.from_task)

    def read_text(path: Path, *_: object) -> str:
        assert str(path) == "/secrets/flower_password"
        return "secret\n"

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", read_text)
        return runpy.run_path(str(FLOWER_CONFIG))


def test_flower_asks_for_the_password_over_tls(configuration: Mapping[str, Any]) -> None:
    assert configuration["basic_auth"] == ["flower:secret"]
    assert (configuration["certfile"], configuration["keyfile"]) == ("/secrets/cert.pem", "/secrets/key.pem")
    assert configuration["read_only"] is True


def test_flower_keeps_its_history_and_names_tasks(configuration: Mapping[str, Any]) -> None:
    assert configuration["persistent"] is True
    assert (configuration["db"], configuration["state_save_interval"]) == ("/var/tmp/flower", 60_000)
    assert isinstance(configuration["format_task"], default_options._options["format-task"].type)
    assert configuration["format_task"].__name__ == "named"


def test_the_pages_that_flower_leaves_open_ask_for_the_password_too(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    open_pages = [view.get for view in (Healthcheck, Metrics)]
    request.getfixturevalue("configuration")
    for view, page in zip((Healthcheck, Metrics), open_pages, strict=True):
        assert view.get is not page
        assert view.get.__wrapped__ is page, "tornado's check comes first"
