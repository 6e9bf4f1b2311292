"""Installs requirements.txt into /opt/requirements, in the build of a runner image, with the image's Python.

It is a virtual environment in which the packages of the image stay visible. Python 3.8 or newer; no shell.
"""

import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

INPUTS = Path("/tmp")
ENVIRONMENT = Path("/opt/requirements")
PYTHON = ENVIRONMENT / "bin/python"


def main() -> int:
    venv.create(ENVIRONMENT, system_site_packages=True, symlinks=True)
    if sys.prefix != sys.base_prefix:
        show_outer_environment()
    certificates = INPUTS / "certificates.pem"
    pip = find_pip()
    certificates.write_text(trusted_by(pip) + added_here())
    return subprocess.run(
        [
            *(PYTHON, pip, "install"),
            *("--cert", certificates),
            "--disable-pip-version-check",
            "--no-cache-dir",
            "--no-input",
            *("--progress-bar", "off"),
            *("--requirement", INPUTS / "requirements.txt"),
        ]
    ).returncode


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
