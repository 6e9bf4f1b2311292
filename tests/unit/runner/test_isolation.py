"""Isolation of a runner: another process of its user, which is not root, does not get at what it holds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from framework.runner import isolation

SOURCE = Path(isolation.__file__).read_text()
NOBODY = 65534

# Prints which files in a process's directory of /proc can be read.
READ = """
import json, os, sys
def can_read(name):
    path = f"/proc/{sys.argv[1]}/{name}"
    try:
        os.listdir(path) if os.path.isdir(path) else open(path, "rb").close()
    except OSError:
        return False
    return True
print(json.dumps([name for name in ("environ", "maps", "mem", "fd") if can_read(name)]))
"""


@pytest.fixture
def user() -> dict[str, object]:
    """Options of a process of a user who is not root, and the interpreter that it can execute."""
    if os.getuid() != 0:
        return {"args": [sys.executable]}
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("needs a Python outside of root's directory")
    return {"args": [python], "user": NOBODY, "group": NOBODY, "extra_groups": []}


def start(user: dict[str, object], *argv: str, **options: object) -> subprocess.Popen[bytes]:
    args = user["args"]
    assert isinstance(args, list)
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        **{**user, "args": [*args, "-I", "-S", "-B", "-c", *argv]}, stdout=subprocess.PIPE, cwd="/", **options
    )


@contextmanager
def runner(user: dict[str, object], call: str) -> Iterator[int]:
    program = f"{SOURCE}\n{call}\nimport sys\nprint('ready', flush=True)\nsys.stdin.read()"
    with start(user, program, stdin=subprocess.PIPE, env={"SECRET": "x"}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.communicate()


def readable(user: dict[str, object], pid: int) -> list[str]:
    found: list[str] = json.loads(start(user, READ, str(pid)).communicate()[0])
    return found


def test_its_memory_and_its_environment_are_its_own(user: dict[str, object]) -> None:
    with runner(user, "pass") as pid:
        if "environ" not in readable(user, pid):
            pytest.skip("this machine hides processes of a user from each other")
    with runner(user, "hide_memory()") as pid:
        assert readable(user, pid) == []


def test_what_it_starts_is_not_concerned(user: dict[str, object]) -> None:
    start_other = "import subprocess; subprocess.run(['cat', '/proc/self/environ'])"
    found = start(user, f"{SOURCE}\nhide_memory()\n{start_other}", env={"PATH": "/bin"}).communicate()[0]
    assert b"PATH=/bin\0" in found


@pytest.mark.parametrize("descriptors", ["/proc/self/fd", "/none"])
def test_programs_do_not_inherit_what_it_was_given(descriptors: str) -> None:
    listed = "import subprocess; subprocess.run(['ls', '/proc/self/fd'], close_fds=False)"
    reader, writer = os.pipe()
    found = {}
    for call in ("pass", "keep_descriptors()"):
        program = f"{SOURCE}\n_DESCRIPTORS = {descriptors!r}\n{call}\n{listed}"
        argv = [sys.executable, "-I", "-S", "-c", program]
        listing = subprocess.run(argv, pass_fds=[reader], stdout=subprocess.PIPE, check=True).stdout
        found[call] = [int(name) for name in listing.split()]
    assert reader in found["pass"]
    assert found["keep_descriptors()"] == [0, 1, 2, 3], "the last is ls's own"
    os.close(reader)
    os.close(writer)
