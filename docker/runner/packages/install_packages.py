"""Installs a project's requirements into /opt/requirements, in the build of a runner image, with its Python.

It is a virtual environment in which the packages of the image stay visible. Python 3.8 or newer; no shell.
"""

import os
import re
import shlex
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Dict, List

from explain_failure import explain

INPUTS = Path(__file__).parent
PROJECT = INPUTS / "project"
ENVIRONMENT = Path("/opt/requirements")
PYTHON = ENVIRONMENT / "bin/python"
# A line for the project itself, as configuration/requirements.py knows it: its dependencies come in a file.
OWN = re.compile(r"^[ \t]*(?:(?:-e|--editable)[ \t=]*)?\./?(?:\[[\w, .-]*\])?[ \t\r]*(?:[ \t]#.*)?$", re.M)


def main() -> int:
    venv.create(ENVIRONMENT, system_site_packages=True, symlinks=True)
    if sys.prefix != sys.base_prefix:
        show_outer_environment()
    certificates = INPUTS / "certificates.pem"
    pip = find_pip()
    certificates.write_text(trusted_by(pip) + added_here())
    code, output = run_shown(
        [
            *(PYTHON, pip, "install"),
            *("--cert", certificates),
            "--disable-pip-version-check",
            "--no-cache-dir",
            "--no-input",
            *("--progress-bar", "off"),
            *requirements(),
        ],
        {**os.environ, **settings(), **trusting(certificates)},
    )
    if code:
        print("", explain(output, PROJECT, requirement_files()), sep="\n", flush=True)
    return code


def requirement_files() -> List[str]:
    """The paths of requirements.txt, if there is one, and of the files that it names for pip to read."""
    return (INPUTS / "requirement_files").read_text(encoding="utf-8").splitlines()


def requirements() -> List[str]:
    """Options of pip: requirements.txt without the project itself, and the dependencies of pyproject.toml."""
    options: List[str] = []
    for path in requirement_files():
        file = PROJECT / path
        file.write_bytes(OWN.sub("", file.read_bytes().decode("utf-8")).encode("utf-8"))
        if not options:
            options += ["--requirement", path]
    if (INPUTS / "dependencies.txt").exists():
        options += ["--requirement", str(INPUTS / "dependencies.txt")]
    return options


def settings() -> Dict[str, str]:
    """Settings of pip on the build machine, as variables."""
    words = shlex.split((INPUTS / "settings/environment").read_text())
    return dict(word.split("=", 1) for word in words)


def trusting(certificates: Path) -> Dict[str, str]:
    """Variables for what pip starts, such as git."""
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
    return {"GIT_TERMINAL_PROMPT": "0", **{name: str(certificates) for name in names}}


def run_shown(command: List[object], environment: Dict[str, str]) -> "tuple[int, str]":
    """Run a command in the project's directory, and show what it says; return its exit code, and that."""
    lines = []
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return process.returncode, "".join(lines)


def show_outer_environment() -> None:
    """Make the packages visible of the virtual environment that the image's Python belongs to."""
    own = Path(sysconfig.get_path("purelib", "posix_prefix", {"base": str(ENVIRONMENT)}))
    (own / "image.pth").write_text("".join(f"{path}\n" for path in site.getsitepackages()))


def find_pip() -> Path:
    """The directory of the image's own pip, or of ours if it has none."""
    found = ask_python("from importlib import util; s = util.find_spec('pip'); print(s.origin if s else '')")
    return Path(found).parent if found else INPUTS / "pip"


def trusted_by(pip: Path) -> str:
    """The certificates that this pip trusts by itself."""
    find = f"import sys; sys.path.insert(0, {str(pip.parent)!r}); from pip._vendor import certifi"
    return Path(ask_python(f"{find}; print(certifi.where())")).read_text()


def added_here() -> str:
    """The build machine's own authorities."""
    return "".join(file.read_text() + "\n" for file in sorted((INPUTS / "certificates").glob("*.crt")))


def ask_python(program: str) -> str:
    """Return the line that the environment's Python prints."""
    done = subprocess.run([PYTHON, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
