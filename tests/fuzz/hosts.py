"""Answers of hosts: refused with a line that names the host, or taken; never executed, never shown raw"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st
from shell import HARMFUL, SHELL, SPACE

FACTS = {
    "time": "1764129600", "home": "/home/me", "user": "me", "uid": "1000", "gid": "1000", "arch": "amd64",
    "cores": "4", "memory": "8589934592", "boot_id": "b", "client_address": "10.0.0.1",
    "addresses": "10.0.0.1 fe80::1%eth0 ", "root_writable": "yes", "disk": "99999999999",
    "tmp_writable": "yes", "docker": "ok", "engine": "28.5.2", "docker_group": "me,you",
    "docker_kind": "plain", "engine_id": "E", "gpu_runtime": "0", "docker_disk": "99999999999", "gpus": "0",
    "gpu_kind": "", "gpu_groups": "44 105 ", "broker": "10.0.0.1", "port_5671": "free", "port_5555": "ours",
    "docker_message": "is down", "root_user": "infra-1", "docker_host": "unix:///run/docker.sock",
    "state": "0" * 64, "master": "c0123456789ab runs ",
}  # fmt: skip
ID = "0123456789abcdef"
# What a line of facts can be at all, by the bytes.
FACT = re.compile(
    r"(time|uid|gid|memory)=\d{1,18}|(cores|disk|docker_disk|gpus|gpu_runtime)=(\d{1,18})?|(home|user|docker_message|docker_group)=\P{Cc}*".replace(
        r"\P{Cc}", r"[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\udc80-\udcff]"
    )
    + r"|(root|tmp)_writable=(yes|full|no: /[^\x00-\x1f]*)"
    r"|(arch|boot_id|client_address|addresses|docker|engine|docker_kind|engine_id|gpu_kind|gpu_groups|broker|root_user|docker_host|state"
    r"|master|port_(5671|5555|9464))=[\w .:/%,+~-]*",
    re.ASCII,
)
LINES = [
    "running 0123456789ab 0 0", "exited 0123456789ab 3 137", "0123456789ab", "c0123456789ab", "3 4000",
    "0 0", "08 09", "4 [$x]", "ok -", "ok 100", "missing -", "private 7", f"10 {ID}/1", f"08 {ID}/1",
    f"000000000000008 {ID}/2", f"x0 {ID}/1", f"{ID}/1/result.json", "IMAGE=infrainit-worker:0123456789ab",
    "image=infrainit-runner:0123456789ab", "infrainit-worker:0123456789ab",
    "sha256:" + "0" * 64 + "  infrainit-worker:0123456789ab,", "0" * 64, "1000 [\"sha256:a\",\"sha256:b\"]",
    "08 null", "ssh-ed25519 AAAA me", "ssh-rsa AAAA", "/data", "/infrainit/data/runner", "running x",
]  # fmt: skip
PIECES = [
    *HARMFUL, "*", "?", "[a]", "~", "\r", "\n", "\0", "\x1b[31m", "\x1b]0;x\x07", "\x9b31m", "\u202e", "é",
    "\udcff", "=", "-", "--help", "%s%n", "\\", "'", '"', " ", "\t", "0", "08", "-1", "1e9", "9" * 18,
    "9" * 19, "9" * 400, "0x10", "1+1", "x" * 5000, "1 " * 3000, "a b", "..", "/", "local", "$HOME",
    "MARKER", "\n\n", "&", "\\1",
]  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a host says when the function that `verb` of drive.bash calls has asked it."""

    verb: str
    text: str


def strategy(_: Path | None) -> st.SearchStrategy[Answer]:
    piece = st.sampled_from(PIECES) | st.text(max_size=4)
    change = st.tuples(
        st.sampled_from(["value", "value", "value", "insert", "cut", "drop", "twice", "line"]),
        st.integers(0, 1000),
        st.lists(piece, max_size=2).map("".join),
    )
    facts = st.builds(
        lambda keys, changes: _changed(
            [f"{key}={value}" for key, value in FACTS.items() if key not in keys], changes
        ),
        st.sets(st.sampled_from(sorted(FACTS)[20:]), max_size=3),
        st.lists(change, max_size=3),
    )
    lines = st.builds(_changed, st.lists(st.sampled_from(LINES), max_size=3), st.lists(change, max_size=2))
    begin = st.sampled_from(
        ["MARKER\n"] * 8 + ["", "welcome\nMARKER\n", "MARKER", "x MARKER\n", "MARKER\r\n"]
    )
    return st.one_of(
        st.builds(lambda first, text: Answer("facts", first + text), begin, facts),
        *[facts.map(lambda text: Answer("check", text))] * 4,
        st.builds(lambda first, text: Answer("states", first + text), begin, lines),
        st.builds(lambda first, text: Answer("sizes", first + text), begin, lines),
        st.builds(lambda first, text: Answer("answer", first + text), begin, lines),
    )


def _changed(lines: list[str], changes: list[tuple[str, int, str]]) -> str:
    for kind, at, text in changes:
        at %= len(lines) + 1
        old = lines[at] if at < len(lines) else ""
        key = old.partition("=")[0]
        match kind:
            case "value":
                lines[at : at + 1] = [f"{key}={text}" if "=" in old else text]
            case "insert":
                lines[at : at + 1] = [old[: len(old) // 2] + text + old[len(old) // 2 :]]
            case "cut":
                lines[at:] = [old[: len(old) // 2]]
            case "drop":
                lines[at : at + 1] = []
            case "twice":
                lines[at:at] = [old]
            case "line":
                lines[at:at] = [text]
    return "\n".join(lines) + ("" if "cut" in {kind for kind, _, _ in changes} else "\n")


def check(answer: Answer) -> str:
    with tempfile.TemporaryDirectory(dir=SPACE) as temporary:
        directory = Path(temporary)
        (directory / "answer").write_bytes(answer.text.encode(errors="surrogateescape"))
        code = SHELL.run(answer.verb, directory, (0, 1))
        err = (directory / "err").read_text(errors="replace")
        assert code == 0 or "far" in err, err[:500]
        if answer.verb == "check" and code == 0:
            for line in answer.text.replace("\0", "").split("\n"):
                assert line == "" or FACT.fullmatch(line), f"taken: {line!r}"
        if answer.verb == "facts":
            found = dict(
                line.partition("=")[::2]
                for line in (directory / "out").read_text(errors="replace").split("\n")
                if line
            )
            if not found.get("unreachable"):
                said = answer.text.replace("\0", "").partition("MARKER\n")[2].split("\n")
                for key, value in found.items():
                    assert key in ("unreachable", "skew") or f"{key}={value}" in said, (
                        f"{key}={value!r} was not said"
                    )
    return f"{answer.verb}: {'taken' if code == 0 else 'refused'}"
