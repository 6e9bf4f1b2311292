"""Pages of the sweep in Flower: behind its password, and with what the master has published."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import pytest
from flower import urls
from flower.app import Flower
from flower.options import default_options
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port

from framework.broker import sweep_pages
from framework.broker.sweep_pages import add_pages

SWEEP = {"version": 1, "project": "</script>p", "tasks": []}


class Server:
    """A Flower without broker, with our pages."""

    def __init__(self, loop: IOLoop) -> None:
        self._loop = loop
        app = celery.Celery(broker="memory://")
        application = Flower(capp=app, options=default_options, io_loop=loop, **urls.settings)
        socket, self.port = bind_unused_port()
        self._server = HTTPServer(application)
        self._server.add_socket(socket)

    def ask(self, path: str, password: str = "secret", **headers: str) -> HTTPResponse:
        async def fetch() -> HTTPResponse:
            return await AsyncHTTPClient().fetch(
                f"http://127.0.0.1:{self.port}{path}", auth_username="flower", auth_password=password,
                headers={name.replace("_", "-"): value for name, value in headers.items()}, raise_error=False,
            )  # fmt: skip

        answer: HTTPResponse = self._loop.run_sync(fetch, timeout=60)
        return answer

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(sweep_pages, "PUBLISHED", tmp_path)
    monkeypatch.setattr(urls, "handlers", urls.handlers[:])
    monkeypatch.setattr("flower.app.default_handlers", urls.handlers)
    monkeypatch.setattr(default_options.mockable(), "basic_auth", ["flower:secret"])
    add_pages()
    loop = IOLoop()
    server = Server(loop)
    yield server
    server.stop()
    loop.close(all_fds=True)


OUTPUT = "/sweep/output?attempt=0123456789abcdef.2&host=gpu1"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What workers were asked for."""
    questions: list[tuple[str, str]] = []

    def answer(_: Any, host: str, attempt: Any) -> dict[str, str]:
        questions.append((host, str(attempt)))
        return {"stdout": "</script>", "stderr": ""}

    monkeypatch.setattr(sweep_pages, "ask_for_output", answer)
    return questions


def test_the_output_of_a_task_is_asked_for_when_it_is_looked_at(
    server: Server, asked: list[tuple[str, str]]
) -> None:
    answer = server.ask(OUTPUT)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert json.loads(answer.body) == {"stdout": "</script>", "stderr": ""}
    assert b"</script>" not in answer.body
    assert asked == [("gpu1", "0123456789abcdef.2")]


@pytest.mark.parametrize(
    "question", ["", "?attempt=0123456789abcdef.2", "?host=gpu1&attempt=../2", f"{OUTPUT[13:]}%0Ax"]
)
def test_no_worker_is_asked_nonsense(server: Server, asked: list[tuple[str, str]], question: str) -> None:
    assert server.ask(f"/sweep/output{question}").code == 400
    assert asked == []


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("path", ["/sweep", "/sweep/sweep.json", "/sweep/status.json", OUTPUT])
def test_the_password_is_asked_for(server: Server, tmp_path: Path, path: str) -> None:
    for name in ("sweep.json", "status.json"):
        (tmp_path / name).write_text(json.dumps(SWEEP))
    assert server.ask(path, password="wrong").code == 401
    assert server.ask(path).code == 200


def test_the_page_has_the_data_of_this_moment(server: Server, tmp_path: Path) -> None:
    for before in ("the master has published nothing yet", "</script>p"):
        answer = server.ask("/sweep")
        (text,) = re.findall(r'id="data" data-live="yes">(.*?)</script>', answer.body.decode(), re.DOTALL)
        content = json.loads(text)
        assert before in (content.get("warning"), content["project"])
        (tmp_path / "sweep.json").write_text(json.dumps(SWEEP))
    assert "connect-src 'self'" in answer.body.decode()


def test_a_browser_is_sent_the_data_once(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps(SWEEP))
    first = server.ask("/sweep/sweep.json")
    assert json.loads(first.body) == SWEEP
    assert server.ask("/sweep/sweep.json", If_None_Match=first.headers["Etag"]).code == 304


@pytest.mark.parametrize("path", ["/sweep/journal.sqlite", "/sweep/../sweep.json", "/sweep/"])
def test_nothing_else_is_served(server: Server, tmp_path: Path, path: str) -> None:
    (tmp_path / "journal.sqlite").touch()
    (tmp_path.parent / "sweep.json").touch()
    assert server.ask(path).code == 404
