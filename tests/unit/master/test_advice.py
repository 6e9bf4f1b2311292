"""Advice: commands that can be typed, and where the log of a failed task is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from framework.files import LocalFiles
from framework.master.advice import ON_HOSTS, advice_of

FAILED: Any = SimpleNamespace(number=4, task="0123456789abcdef", attempts=2)


def test_of_a_local_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    advice = advice_of("framework run p", LocalFiles(tmp_path / "data"))
    assert (advice.resume, advice.retry) == ("framework run p", "framework run p --failed")
    assert advice.renew == "framework run p --outdated runs these again, --fresh runs all again"
    assert advice.log_place(FAILED) == "data/tasks/0123456789abcdef/2/stderr"


def test_on_hosts() -> None:
    assert ON_HOSTS.log_place(FAILED) == "./check_celery_status.sh logs 5", "tasks count from 1"
