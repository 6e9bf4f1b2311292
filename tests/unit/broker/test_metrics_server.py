"""Server of the metrics: TLS, a password, the metrics, and nothing else."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port

from framework.broker import metrics_server
from framework.broker.metrics_server import make_metrics_server
from framework.messages.status import Status


class Server:
    """The server, with a certificate of its own."""

    def __init__(self, loop: IOLoop, authority: Path) -> None:
        self._loop = loop
        self._authority = authority
        self.server = make_metrics_server()
        socket, self._port = bind_unused_port()

        async def listen() -> None:
            self.server.add_socket(socket)

        loop.run_sync(listen)

    def ask(self, path: str = "/metrics", password: str = "secret", user: str = "flower") -> HTTPResponse:
        async def fetch() -> HTTPResponse:
            return await AsyncHTTPClient().fetch(
                f"https://127.0.0.1:{self._port}{path}", auth_username=user, auth_password=password,
                ca_certs=str(self._authority), raise_error=False,
            )  # fmt: skip

        answer: HTTPResponse = self._loop.run_sync(fetch, timeout=60)
        return answer


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "flower_password").write_text("secret\n")
    monkeypatch.setattr(metrics_server, "_SECRETS", tmp_path)
    monkeypatch.setattr(metrics_server, "_PUBLISHED", tmp_path)
    loop = IOLoop()
    server = Server(loop, tmp_path / "cert.pem")
    yield server
    server.server.stop()
    loop.close(all_fds=True)


def publish(directory: Path, updated: float) -> None:
    status = Status(
        updated=updated, project="p", version="v", total=9, done=5, failed=0, running=0, finished=False,
        seconds_left=None,
    )  # fmt: skip
    status.write(directory / "status.json")


def test_who_has_the_password_gets_the_metrics(server: Server, tmp_path: Path) -> None:
    publish(tmp_path, time.time())
    answer = server.ask()
    assert answer.code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    assert families["infrainit_combinations"].samples[0].value == 9


@pytest.mark.parametrize(("user", "password"), [("flower", "wrong"), ("other", "secret"), ("flower", "é")])
def test_nobody_else_does(server: Server, tmp_path: Path, user: str, password: str) -> None:
    publish(tmp_path, time.time())
    answer = server.ask(user=user, password=password)
    assert (answer.code, answer.body) == (401, b"")
    assert "Basic" in answer.headers["WWW-Authenticate"]
    assert server.ask("/metrics", password="").code == 401


def test_metrics_that_are_old_are_none(server: Server, tmp_path: Path) -> None:
    assert (server.ask().code, server.ask().body.decode()) == (
        503, "the master has not started yet: it has written no status"
    )  # fmt: skip
    publish(tmp_path, time.time() - 100)
    assert server.ask().code == 503
    assert re.search(r"the master has written no status for 1\d\d s", server.ask().body.decode())


@pytest.mark.parametrize("path", ["/", "/metrics/", "/sweep", "/status.json"])
def test_nothing_else_is_served(server: Server, path: str) -> None:
    assert server.ask(path).code == 404
