"""What requirements.txt names: files in the project, and what the build of an image cannot install."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.configuration.requirements import Requirements, read_requirements
from framework.configuration.yaml_nodes import Problems

PYPROJECT = """
[project]
name = "My.Pkg"
dependencies = ["requests>=2", "six ; python_version < '4'"]
[project.optional-dependencies]
train = ["torch", "my-pkg[extra]"]
extra = ["scipy"]
"""
WRITE = "list them in requirements.txt"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for path in ("p/sub", "p/wheels", "p/vendor/x"):
        (tmp_path / path).mkdir(parents=True)
    for path in ("p/vendor/x/setup.py", "p/wheels/a-1.whl", "p/sub/c.txt", "outside.txt"):
        (tmp_path / path).touch()
    (tmp_path / "p/out").symlink_to("../outside.txt")
    return tmp_path / "p"


def read(project: Path, text: str, packages: list[str] | None = None) -> tuple[Requirements, list[str]]:
    """What is found in requirements.txt, and the problems as LINE:COLUMN: TEXT."""
    (project / "requirements.txt").write_text(text)
    problems = Problems()
    found = read_requirements(project, packages, problems)
    return found, [line.removeprefix(f"{project}/requirements.txt:") for line in problems.lines]


def test_files_that_it_names(project: Path) -> None:
    (project / "sub/more.txt").write_text("-c c.txt\n--find-links=../wheels\n-r ../requirements.txt\n")
    found, problems = read(
        project,
        "\ufeff# -r nothing.txt\n  -r sub/more.txt  # more\nsix==1.0 \\\n  --hash=sha256:aa\n./vendor/x\n"
        "wheels/a-1.whl\n--index-url https://${TOKEN}@host/simple\na[b] @ https://x/y.whl\n-f https://x/\n"
        "numpy ; python_version < '3.9'\n--requirement=sub/c.txt\n-e git+https://x/y#egg=y\n",
    )
    assert problems == []
    assert list(found.files) == ["requirements.txt", "sub/more.txt", "sub/c.txt"]
    assert list(found.local) == ["wheels", "vendor/x", "wheels/a-1.whl"]
    assert list(found.variables) == ["TOKEN"]
    assert not found.dependencies


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-r ../outside.txt", "'../outside.txt' leads out of the project; put it there, and write its path"),
        ("-c /etc/passwd", "'/etc/passwd' leads out of the project"),
        ("-r out", "'out' is a link that leads out of the project"),
        ("-r nothing.txt", "there is no 'nothing.txt' among the files of the project that go to hosts"),
        ("-r https://x/y.txt", "https://x/y.txt is not part of the project; put the file into the project"),
        ("-r", "--requirement: has no value"),
        ("-e ./vendor/x", "an image has a copy of it; write ./vendor/x without -e"),
        ("-e .", f"-e .: the project has no pyproject.toml; {WRITE}"),
        ("./sub", "'./sub' has no pyproject.toml or setup.py, and cannot be installed"),
        ("~/x.whl", "'~/x.whl' leads out of the project"),
        ("x @ file:///opt/x.whl", "x @ file:///opt/x.whl: leads out of the project"),
        ("git+file:///srv/x", "git+file:///srv/x: leads out of the project"),
        ("git+ssh://git@x/y", "git+ssh://git@x/y: the build of an image has no key for ssh; write git+https"),
        ("git+https://x/y", "git+https://x/y: needs git in the image; write packages: [git] in project.yml"),
        ("-e git+https://x/y", "git+https://x/y: needs git in the image"),
        ("--find-links 'a", "No closing quotation; write the option as for a shell"),
    ],
)
def test_what_cannot_be_installed_is_refused_with_its_line(project: Path, line: str, said: str) -> None:
    _, problems = read(project, f"six\n {line}\n", [])
    assert len(problems) == 1
    assert problems[0].startswith(f"2:2: {said}")


def test_git_may_be_there(project: Path) -> None:
    assert read(project, "git+https://x/y\n", ["git"])[1] == []
    assert read(project, "git+https://x/y\n", None)[1] == [], "nobody knows what an image of the user's has"


@pytest.mark.parametrize(
    ("line", "dependencies"),
    [
        ("-e .", ["requests>=2", "six ; python_version < '4'"]),
        (".[train]", ["requests>=2", "six ; python_version < '4'", "torch", "scipy"]),
        ("--editable=./", ["requests>=2", "six ; python_version < '4'"]),
    ],
)
def test_of_the_project_itself_its_dependencies_are_taken(
    project: Path, line: str, dependencies: list[str]
) -> None:
    (project / "pyproject.toml").write_text(PYPROJECT)
    pytest.importorskip("tomllib")
    found, problems = read(project, f"numpy\n{line}  # us\n")
    assert problems == []
    assert list(found.dependencies) == dependencies


def test_a_package_without_requirements_txt(project: Path) -> None:
    pytest.importorskip("tomllib")
    (project / "pyproject.toml").write_text(PYPROJECT)
    problems = Problems()
    found = read_requirements(project, [], problems)
    assert (list(found.files), len(found.dependencies)) == ([], 2)
    (project / "pyproject.toml").write_text("[tool.poetry.dependencies]\nnumpy = '2'\n")
    assert not read_requirements(project, [], problems).dependencies
    assert not problems
    assert problems.notices == [
        f"{project}/pyproject.toml:1:1: dependencies in tool.poetry are not read; {WRITE}"
    ]
    for text, said in [
        ("[project", "not valid TOML"),
        ("[project]\ndependencies = 'numpy'\n", "project.dependencies has to be a list of texts"),
        ("[project]\ndependencies = ['-r x']\n", "'-r x' is not a requirement"),
        ("[project]\ndependencies = ['x @ git+https://y']\n", "x @ git+https://y: needs git"),
    ]:
        (project / "pyproject.toml").write_text(text)
        problems = Problems()
        read_requirements(project, [], problems)
        assert problems.lines[0].startswith(f"{project}/pyproject.toml:1:1: {said}")


def test_a_project_that_has_neither(project: Path) -> None:
    problems = Problems()
    assert read_requirements(project, [], problems) == Requirements()
    assert not problems


def test_what_is_elsewhere_or_unknown_is_refused_for_the_project_itself(project: Path) -> None:
    pytest.importorskip("tomllib")
    (project / "pyproject.toml").write_text('[project]\nname = "x"\ndynamic = ["dependencies"]\n')
    assert read(project, "-e .\n")[1] == [
        f"1:1: -e .: dependencies in the build's own files are not read; {WRITE}"
    ]
    (project / "pyproject.toml").write_text(PYPROJECT)
    assert read(project, ".[tests]\n")[1] == ["1:1: pyproject.toml has no optional dependencies 'tests'"]


def test_a_file_that_is_no_text(project: Path) -> None:
    (project / "sub/c.txt").write_bytes(b"\xff")
    problems = Problems()
    (project / "requirements.txt").write_text("-r sub/c.txt\n")
    read_requirements(project, [], problems)
    assert problems.lines == [f"{project}/sub/c.txt:1:1: byte 0 is not UTF-8; save it as UTF-8"]
