"""Options, config.sh and hosts files: refused with a line and 2, or kept in config.sh as they were given"""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st
from shell import HARMFUL, SHELL, SPACE, TOOL

OPTIONS = [
    "-a", "--hosts", "-i", "--key", "-r", "--remote-path", "-d", "--project", "--root", "--run-cap", "-b",
    "--broker", "--tunnel", "-m", "--master", "-w", "--workers", "--tolerate", "-f", "-y", "-n",
    "--refresh", "--recover", "--drain", "--wait", "--failed", "--outdated", "--fresh", "--verbose", "-fn",
    "--host", "-x", "--", "-", "",
]  # fmt: skip
SETTINGS = [
    "HOSTS", "KEY", "REMOTE_PATH", "PROJECT", "ROOT", "RUN_CAP", "BROKER", "TUNNEL", "MASTER", "WORKERS",
    "TOLERATE", "SLOTS", "BROKER_IMAGE", "WORKER_IMAGE", "DEBIAN_MIRROR", "BASE_DAYS", "FLOWER_PORT",
    "BROKER_PORT", "METRICS_PORT", "RESULTS_LIMIT", "SEND_LIMIT", "HOST", "PATH", "BASH_ENV", "IFS", "x",
]  # fmt: skip
HOST_KEYS = ["name", "user", "port", "key", "slots", "gpus", "labels", "mount:/data", "mounts", "nmae", ""]
VALUES = [
    *HARMFUL, "p", "me@hostA:22", "hostA,hostB", "gpu[01-03,7]", "gpu[1-9][1-9][1-9]", "h[1-999999999]",
    "[fe80::1%eth0]:22", "ssh://me@h/", "-oProxyCommand=x", "local", "1", "1,2", "1-3", "3-1", "0", "08",
    "local,1", "99999999999999999999", "1" * 400, "@hosts", "@", "@/etc/passwd", "@/dev/null", "@.", "all",
    "-1", "1e3", "~", "~/x", "../x", "/x", "a b", "a'b", 'a"b', "a\nb", "\x1b[31m", "\u202e", "é", "\udcff",
    "*", "", "=", "[", "]", "[]", "{a,b}", "&", "\\", "%s", "x" * 3000, "a," * 1500, ":", "a:", ":1", "a:0",
    "a:70000", "::1", "yes", "5671", "celery_tasks", "a@b@c", "#", "!", "!!", "'",
]  # fmt: skip


@dataclass(frozen=True)
class Input:
    """Words of the command line, and the texts of config.sh and of a hosts file."""

    words: tuple[str, ...]
    config: str | None
    hosts: str


def strategy(_: Path | None) -> st.SearchStrategy[Input]:
    value = (
        st.sampled_from(VALUES)
        | st.builds("{}{}".format, st.sampled_from(VALUES), st.sampled_from(VALUES))
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
    )
    word = st.sampled_from(OPTIONS) | value | st.builds("{}={}".format, st.sampled_from(OPTIONS), value)
    option = st.tuples(st.sampled_from(OPTIONS[:17]), value)
    good = st.just(("-a", "h1,h2", "-d", "p", "-m", "1", "-w", "local,1,2"))
    words = st.builds(
        lambda first, more: (*first, *(each for pair in more for each in pair)),
        good | st.just(()) | st.just(("-f",)),
        st.lists(option, max_size=3),
    )
    assignment = st.builds("{}={}".format, st.sampled_from(SETTINGS), value.map(shlex.quote))
    config = st.lists(assignment, max_size=4).map(
        lambda lines: (
            "\n".join(["HOSTS=h1,h2 PROJECT=p", "MASTER=1 # one", "  WORKERS='local,1'", *lines]) + "\n"
        )
    )
    line = st.builds(
        lambda host, pairs: " ".join([host, *(f"{key}={value}" for key, value in pairs)]),
        st.sampled_from(["h1", "h2", "me@h3:22", "gpu[1-3]", "", "#"]) | value,
        st.lists(st.tuples(st.sampled_from(HOST_KEYS), value), max_size=3),
    )  # fmt: skip
    return st.builds(
        Input,
        words | st.lists(word, max_size=6).map(tuple),
        st.none() | config,
        st.lists(line, max_size=4).map("\n".join),
    )


def check(given: Input) -> str:
    with tempfile.TemporaryDirectory(dir=SPACE) as temporary:
        directory = Path(temporary)
        (directory / "words").write_bytes(
            b"".join(word.replace("\0", "").encode(errors="surrogateescape") + b"\0" for word in given.words)
        )
        if given.config is not None:
            (directory / "config").write_bytes(given.config.encode(errors="surrogateescape"))
        (directory / "hosts").write_bytes(given.hosts.encode(errors="surrogateescape"))
        before = set(directory.iterdir()) | {directory / "out", directory / "err"}
        code = SHELL.run("options", directory, (0, 2))
        assert set(directory.iterdir()) == before, "a file was made"
        (TOOL / "infra_clean.sh").unlink(missing_ok=True)
        settings = (directory / "out").read_bytes().split(b"\0")[:-1]
        if code == 0 and settings:
            half = len(settings) // 2
            assert settings[:half] == settings[half:], "config.sh keeps something else"
    return "taken" if code == 0 else "refused"
