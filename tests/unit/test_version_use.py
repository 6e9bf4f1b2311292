"""Use of a version: what holds it, and for how long; `flock` of the scripts sees it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from framework.version_use import use_version, version_in_use


@pytest.fixture
def version(tmp_path: Path) -> Path:
    (tmp_path / "VERSION").write_text("framework=a\n")
    (tmp_path / "VERSION").chmod(0o444)
    return tmp_path


def is_free(version: Path) -> bool:
    lock = ["flock", "--exclusive", "--nonblock", str(version / "VERSION"), "true"]
    return subprocess.run(lock).returncode == 0


def test_a_version_is_in_use_as_long_as_anyone_uses_it(version: Path) -> None:
    assert is_free(version)
    with version_in_use(version):
        with version_in_use(version):
            assert not is_free(version)
        assert not is_free(version)
    assert is_free(version)


def test_a_process_that_is_started_does_not_prolong_it(version: Path) -> None:
    descriptor = use_version(version)
    assert descriptor is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        os.close(descriptor)
        assert is_free(version)
        child.communicate(b"\n")


def test_what_is_no_version_has_no_lock(tmp_path: Path) -> None:
    assert use_version(tmp_path) is None
    with version_in_use(tmp_path / "nowhere"):
        pass


def test_nobody_waits_for_a_version_that_is_being_removed(version: Path) -> None:
    with (version / "VERSION").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert use_version(version) is None
