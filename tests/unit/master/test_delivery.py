"""Delivery: what a webhook and a command are given, and what is said when they cannot be told."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
from webhook import Webhook

from framework.master import delivery
from framework.master.delivery import DeliveryError, call_webhook, run_command

CONTENT = {"text": "größer", "project": "p"}


def test_a_webhook_is_sent_json_that_ntfy_can_show(webhook: Webhook) -> None:
    call_webhook(webhook.url + "?a=1#b", CONTENT)
    ((path, headers, content),) = webhook.requests
    assert (path, content) == ("/topic?a=1", CONTENT)
    assert headers["Content-Type"] == "application/json"
    assert (headers["X-Template"], headers["X-Message"]) == ("yes", "{{.text}}")
    assert "Authorization" not in headers


def test_user_and_password_of_a_url_are_a_header(webhook: Webhook) -> None:
    call_webhook(webhook.url.replace("//", "//me:p%40ss@"), CONTENT)
    assert webhook.requests[0][1]["Authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize(
    ("status", "is_final"), [(301, True), (404, True), (408, False), (429, False), (500, False), (503, False)]
)
def test_an_answer_that_is_no_success(webhook: Webhook, status: int, is_final: bool) -> None:
    webhook.statuses = [status]
    with pytest.raises(DeliveryError, match=rf"^the webhook at 127\.0\.0\.1 answers {status}$") as caught:
        call_webhook(webhook.url, CONTENT)
    assert caught.value.is_final is is_final
    assert len(webhook.requests) == 1, "it goes nowhere else"


def test_a_server_that_is_not_there_or_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/secret"
        monkeypatch.setattr(delivery, "SECONDS", 0.2)
        with pytest.raises(DeliveryError, match=r"does not answer|cannot be reached") as caught:
            call_webhook(url, CONTENT)
        assert not caught.value.is_final
    with pytest.raises(DeliveryError, match=r"cannot be reached \(Connection refused\)") as caught:
        call_webhook(url, CONTENT)
    assert "secret" not in str(caught.value)


def test_a_server_that_speaks_something_else_than_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"SSH-2.0-server\r\n")
                while connection.recv(4096):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DeliveryError, match=r"does not answer as a web server does \(BadStatusLine\)$"):
            call_webhook(f"http://127.0.0.1:{server.getsockname()[1]}/", CONTENT)
        thread.join()


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "secret", "", "http://", "http://x:secret/", "http://x/\nsecret", "http://ä/"],
)
def test_what_is_no_url_of_a_web_server_is_said_without_it(url: str) -> None:
    with pytest.raises(DeliveryError, match=r"^it is no URL of http or https$") as caught:
        call_webhook(url, CONTENT)
    assert caught.value.is_final


def test_a_command_gets_json_and_values_and_no_other_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER", "x")
    script = 'cat >got; echo "$PWD $KEY ${OTHER-none}" >>got; echo >&2 noise'
    run_command(["sh", "-c", script], CONTENT, tmp_path, {"KEY": "k"})
    first, second = (tmp_path / "got").read_text().split("}")
    assert json.loads(first + "}") == CONTENT
    assert second == f"{tmp_path} k none\n"


def test_a_command_that_does_not_read_its_stdin(tmp_path: Path) -> None:
    run_command(["true"], {"text": "x" * 10**6}, tmp_path, {})


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ["sh", "-c", "echo one; echo first >&2; echo 'my '$KEY' \x1b[2J' $LONGER >&2; exit 3"],
            r"'sh' failed, exit code 3: my \*\*\*  \[2J \*\*\*",
        ),
        (["./missing"], r"'\./missing' cannot be run \(No such file or directory\)"),
        (["sh", "-c", "sleep 60 & sleep 60"], "'sh' ran longer than 1 s"),
    ],
)  # fmt: skip
def test_a_command_that_fails_says_why_and_no_value(
    tmp_path: Path, command: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SECONDS", 1.0 if "longer" in said else 60.0)
    with pytest.raises(DeliveryError, match=f"^{said} *$"):
        run_command(command, CONTENT, tmp_path, {"KEY": "s3cret", "LONGER": "s3cret2"})
