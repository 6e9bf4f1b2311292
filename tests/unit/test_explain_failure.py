"""docker/runner/packages/explain_failure.py: what a failed build of an image says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def explain(output: str, project: Path, files: list[str]) -> str:
    file = ROOT / "docker/runner/packages/explain_failure.py"
    spec = importlib.util.spec_from_file_location("explain_failure", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.explain(output, project, files))


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            "ERROR: Could not find a version that satisfies the requirement nosuch==1 (from versions: none)\n"
            "ERROR: No matching distribution found for nosuch==1\n",
            "requirements.txt:3: nosuch: could not be installed: no index has it for this Python and "
            "machine; is the name right?",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement six==99 (from versions: 1.0)\n"
            "ERROR: No matching distribution found for six==99\n",
            "sub/more.txt:1: six: could not be installed: the index has no such version; those that it has "
            "are above",
        ),
        (
            "Processing ./ext (from -r requirements.txt (line 4))\n"
            "      error: command 'gcc' failed: No such file or directory\n"
            "  ERROR: Failed building wheel for needsgcc\nFailed to build needsgcc\n"
            "ERROR: Failed to build installable wheels for some pyproject.toml based projects (needsgcc)\n",
            "requirements.txt:4: needsgcc: could not be installed: a C compiler is missing; in project.yml "
            "write  packages: [gcc, libc6-dev, python3-dev]",
        ),
        (
            "Collecting my-tool from git+https://x/y/My_Tool.git@v1 (from -r requirements.txt (line 5))\n"
            "ERROR: Error [Errno 2] No such file or directory: 'git' while executing command git version\n"
            "ERROR: Cannot find command 'git' - do you have 'git' installed and in your PATH?\n",
            "requirements.txt:5: my-tool: could not be installed: git is missing; in project.yml write  "
            "packages: [git]",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. …\n"
            "    six==1.15.0 from https://x/six.whl (from -r requirements.txt (line 2)):\n"
            "        Expected sha256 aa\n             Got        bb\n",
            "sub/more.txt:1: six: could not be installed: the file is another one than its --hash says; "
            "correct the hash",
        ),
        (
            "x.c:1: fatal error: ffi.h: No such file or directory\nERROR: Failed building wheel for other\n",
            "other: could not be installed: the header ffi.h is missing; in project.yml write  packages: and "
            "the Debian package that has it: apt-file search ffi.h",
        ),
        ("something else\n", "requirements: could not be installed: pip says why above"),
    ],
)
def test_what_is_said_of_a_failed_installation(tmp_path: Path, output: str, said: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "requirements.txt").write_text(
        "# packages\n-r sub/more.txt\nNoSuch == 1\n./ext\ngit+https://x/y/My_Tool.git@v1\n"
    )
    (tmp_path / "sub/more.txt").write_text("six==99\n")
    assert explain(output, tmp_path, ["requirements.txt", "sub/more.txt"]) == said
