"""Delivery of a notification: one try to tell a webhook, or a command, what has happened."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from framework.text import one_line

SECONDS = 30.0  # that one try may take
_LONGEST = 200  # characters of a reason
# ntfy shows the fields that these templates name, in place of the JSON; others ignore the headers.
_NTFY_HEADERS = {"X-Template": "yes", "X-Title": "{{.project}}", "X-Message": "{{.text}}"}
_TRIED_AGAIN = (408, 425, 429)  # of the statuses that blame the request


class DeliveryError(Exception):
    """Nobody was told; the message has neither a URL nor a value. `is_final`: another try is of no use."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


def call_webhook(address: str, content: Mapping[str, Any]) -> None:
    """Post JSON. Raises DeliveryError."""
    url, headers = _request(address)
    body = json.dumps(content).encode()
    request = urllib.request.Request(url, body, {**_NTFY_HEADERS, **headers}, method="POST")
    host = f"the webhook at {urlsplit(url).hostname}"
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=SECONDS):
            pass
    except urllib.error.HTTPError as error:
        is_final = error.code < 500 and error.code not in _TRIED_AGAIN
        error.close()
        raise DeliveryError(f"{host} answers {error.code}", is_final=is_final) from None
    except urllib.error.URLError as error:
        why = error.reason.strerror if isinstance(error.reason, OSError) else None
        raise DeliveryError(f"{host} cannot be reached ({one_line(why or 'no answer', _LONGEST)})") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DeliveryError(f"{host} does not answer as a web server does ({type(error).__name__})") from None


def _request(address: str) -> tuple[str, dict[str, str]]:
    """The URL without user and password, and the headers of a request. Raises DeliveryError."""
    headers = {"Content-Type": "application/json", "User-Agent": "infrainit"}
    try:
        parts = urlsplit(address)
        is_valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        is_valid = False
    if not is_valid or not address.isascii() or not address.isprintable() or " " in address:
        raise DeliveryError("it is no URL of http or https", is_final=True)
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(credentials.encode()).decode()}"
    return _without_credentials(parts), headers


def _without_credentials(parts: SplitResult) -> str:
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is sent goes where the user has said, and nowhere else."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def run_command(
    command: Sequence[str], content: Mapping[str, Any], directory: Path, values: Mapping[str, str]
) -> None:
    """Run a command in `directory` with JSON on its stdin and these variables. Raises DeliveryError.

    Its processes are killed when it has ended, or takes too long.
    """
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER")
    environment = {name: os.environ[name] for name in names if name in os.environ} | dict(values)
    with tempfile.TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(
                command, cwd=directory, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=stderr, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it has a NUL character"
            raise DeliveryError(f"{command[0]!r:.60} cannot be run ({why})", is_final=True) from None
        try:
            process.communicate(json.dumps(content).encode(), timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise DeliveryError(f"{command[0]!r:.60} ran longer than {SECONDS:.0f} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.returncode:
            stderr.seek(max(0, os.fstat(stderr.fileno()).st_size - 2000))
            said = stderr.read().decode(errors="replace").split("\n")
            last = next((line for line in reversed(said) if line.strip()), "")
            for value in sorted(values.values(), key=len, reverse=True):
                last = last.replace(value, "***") if value else last
            why = f": {one_line(last, _LONGEST)}" if last else ""
            raise DeliveryError(f"{command[0]!r:.60} failed, exit code {process.returncode}{why}")
