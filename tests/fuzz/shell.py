"""A bash that has sourced a copy of framework/shell, for the targets in shell."""

from __future__ import annotations

import atexit
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPACE = Path(tempfile.mkdtemp(prefix="fuzz"))
TOOL = SPACE / "the tool's copy"
CANARY = SPACE / "canary"  # what texts to be executed would make
# Texts that do it where they are executed, or computed with.
HARMFUL = [
    f"$(touch {CANARY})",
    f"`touch {CANARY}`",
    f"a[$(touch {CANARY})]",
    f"';touch {CANARY};'",
    f'";touch {CANARY};"',
    f"x=$(touch {CANARY})",
]
_OF_BASH = re.compile(
    rb"(\.sh|bash|sh|environment): (line )?\d+: |unbound variable|syntax error|bad array subscript"
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


class Shell:
    """The process; it is started anew where it has ended."""

    def __init__(self) -> None:
        atexit.register(shutil.rmtree, SPACE, ignore_errors=True)
        shutil.copytree(ROOT / "framework/shell", TOOL / "framework/shell")
        for name in ("config.sh.example", "infra_clean.sh.tmpl"):
            shutil.copy(ROOT / name, TOOL)
        (TOOL / "tasks/p").mkdir(parents=True)
        for name in ("project.yml", "parameters.yml"):
            (TOOL / "tasks/p" / name).write_text("x: 1\n")
        self._process: subprocess.Popen[str] | None = None

    def run(self, verb: str, directory: Path, codes: tuple[int, ...]) -> int:
        """The exit code, one of `codes`; what is shown is fit for a terminal, and nothing was executed."""
        if self._process is None or self._process.poll() is not None:
            command = ["bash", str(Path(__file__).with_name("drive.bash")), str(TOOL)]
            environment = {
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "HOME": str(SPACE / "home"),
                "LC_ALL": "C.UTF-8",
                "TMPDIR": str(SPACE),
            }
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=SPACE
            )
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(f"{verb} {directory}\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
        except BaseException:
            self._process.kill()
            raise
        err = (directory / "err").read_bytes()
        assert not CANARY.exists(), CANARY.unlink() or "something was executed"
        assert code in codes, f"exit code {code}: {err!r:.500}"
        # Bash says so where it drops a NUL of an answer, which is then as it was without.
        err = re.sub(rb".*ignored null byte in input\n", b"", err)
        assert not _OF_BASH.search(err), err[:500]
        assert not _CONTROL.search(err), err[:500]
        assert code == 0 or err.strip(), "no word about the failure"
        return code


SHELL = Shell()
