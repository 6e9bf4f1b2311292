"""Reader of requirements.txt: files that it names, and what a build cannot install."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from framework.configuration.package_dependencies import PackageDependencies, read_package
from framework.configuration.project_paths import path_in_project
from framework.configuration.yaml_nodes import Position, Problems

# The project itself: install_packages.py leaves such a line out, as the project's files are pushed.
_OWN = re.compile(r"(?:(?:-e|--editable)[\s=]*)?\./?(?:\[([\w, .-]*)\])?")
_COMMENT = re.compile(r"(?:^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")  # as pip expands them
_URL = re.compile(r"(?:^|\s*@\s*)((?:[a-z]+\+)?[a-z]+):(//)?", re.IGNORECASE)
_VERSION_CONTROL = ("git", "hg", "svn", "bzr")
_SCHEMES = ("https", "http")
_ARCHIVES = (".whl", ".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".zip")
_NAME_END = re.compile(r"[\s;@<>=!~\[(,]")
_OPTIONS = {"-r": "--requirement", "-c": "--constraint", "-e": "--editable", "-f": "--find-links"}
_MOST_BYTES = 2**20


@dataclass
class Requirements:
    """What has to be installed for a project with pip."""

    files: dict[str, None] = field(default_factory=dict)  # paths that pip reads; requirements.txt first
    local: dict[str, None] = field(default_factory=dict)  # paths in the project that pip installs from
    dependencies: dict[str, None] = field(default_factory=dict)  # requirements that pyproject.toml lists
    variables: dict[str, None] = field(default_factory=dict)  # of the environment, that the files name


def read_requirements(project: Path, packages: Sequence[str] | None, problems: Problems) -> Requirements:
    """The requirements of the project in this directory, of requirements.txt or else of pyproject.toml.

    `packages` are the Debian packages of its image, beside which it has nothing but Python; None: an image of
    the user's, which may have anything. Each mistake becomes a problem, what may surprise a notice.
    """
    return _Reader(project, packages, problems).read()


class _Reader:
    def __init__(self, project: Path, packages: Sequence[str] | None, problems: Problems) -> None:
        self._project = project
        self._lacks_git = packages is not None and "git" not in packages
        self._problems = problems
        self._found = Requirements()

    def read(self) -> Requirements:
        if (self._project / "requirements.txt").exists():
            self._read_file("requirements.txt")
        else:
            self._read_package()
        return self._found

    def _read_package(self) -> None:
        """Take the dependencies of pyproject.toml."""
        top = Position(self._project / "pyproject.toml", 1, 1)
        try:
            package = read_package(top.file)
            if package is None:
                return
            if package.is_elsewhere:
                self._problems.note(top, f"dependencies in {package.is_elsewhere} are not read; {_WRITE}")
            self._add_dependencies(package, ())
        except ValueError as error:
            self._problems.add(top, str(error))

    def _add_dependencies(self, package: PackageDependencies, extras: Sequence[str]) -> None:
        for text in package.of(extras):
            if text.startswith("-") or not text.isprintable():
                raise ValueError(f"{text!r} is not a requirement")
            self._check_requirement(text)
            self._found.dependencies[text] = None

    def _read_file(self, path: str) -> None:
        if path in self._found.files:
            return
        self._found.files[path] = None
        file = self._project / path
        try:
            content = file.read_bytes()
            text = content.decode("utf-8-sig")
        except OSError as error:
            self._problems.add(Position(file, 1, 1), f"cannot be read ({error.strerror})")
            return
        except UnicodeDecodeError as error:
            self._problems.add(Position(file, 1, 1), f"byte {error.start} is not UTF-8; save it as UTF-8")
            return
        if len(content) > _MOST_BYTES:
            self._problems.add(Position(file, 1, 1), f"more than {_MOST_BYTES >> 20} MiB; make it smaller")
            return
        for number, line in _logical_lines(text):
            stripped = _COMMENT.sub("", line).strip()
            if not stripped:
                continue
            position = Position(file, number, len(line) - len(line.lstrip()) + 1)
            try:
                self._read_line(stripped, str(Path(path).parent))
            except ValueError as error:
                self._problems.add(position, str(error))

    def _read_line(self, line: str, directory: str) -> None:
        """Take a line of a file in this directory of the project. Raises ValueError."""
        self._found.variables.update(dict.fromkeys(_VARIABLE.findall(line)))
        if own := _OWN.fullmatch(line):
            self._add_own(line, [each for each in (own[1] or "").split(",") if each.strip()])
            return
        if not line.startswith("-"):
            self._check_requirement(line)
            return
        option, value = _option(line)
        if option in ("--requirement", "--constraint"):
            if "://" in value:
                raise ValueError(f"{value} is not part of the project; put the file into the project")
            self._read_file(path_in_project(self._project, value, directory))
        elif option == "--editable":
            if _URL.search(value):
                self._check_requirement(value)
            else:
                path = path_in_project(self._project, value)
                raise ValueError(f"an image has a copy of it; write ./{path} without -e")
        elif option == "--find-links" and "://" not in value:
            start = directory if os.path.exists(self._project / directory / value) else ""
            self._found.local[path_in_project(self._project, value, start)] = None

    def _add_own(self, line: str, extras: list[str]) -> None:
        """Take the dependencies of the project itself. Raises ValueError."""
        package = read_package(self._project / "pyproject.toml")
        if package is None:
            raise ValueError(f"{line}: the project has no pyproject.toml; {_WRITE}")
        if package.is_elsewhere:
            raise ValueError(f"{line}: dependencies in {package.is_elsewhere} are not read; {_WRITE}")
        self._add_dependencies(package, extras)

    def _check_requirement(self, text: str) -> None:
        """Take the path in a requirement; raises ValueError for one that the build cannot install."""
        if url := _URL.search(text):
            self._check_url(text, url[1].lower())
        elif _is_path(text):
            words = text.split(";")[0].split()
            if len(words) > 1 and not words[1].startswith("--"):
                raise ValueError(f"{text!r} is no path; one with spaces cannot be read")
            plain, _, extras = words[0].partition("[")
            path = path_in_project(self._project, plain)
            if path == ".":
                raise ValueError(f"{text!r}: write it as a line  .  or  .[{extras or 'extra]'}")
            found = self._project / path
            if found.is_dir() and not any((found / name).exists() for name in ("pyproject.toml", "setup.py")):
                raise ValueError(f"{plain!r} has no pyproject.toml or setup.py, and cannot be installed")
            self._found.local[path] = None

    def _check_url(self, text: str, scheme: str) -> None:
        tool, plus, transport = scheme.rpartition("+")
        if transport == "file":
            raise ValueError(f"{text}: leads out of the project; put it there, and write ./{_WHEEL}")
        if plus and tool in _VERSION_CONTROL and transport not in _SCHEMES:
            raise ValueError(
                f"{text}: the build of an image has no key for {transport}; write {tool}+https://…"
            )
        if tool == "git" and self._lacks_git:
            raise ValueError(f"{text}: needs git in the image; write packages: [git] in project.yml")


_WHEEL = "wheels/name-1.0-py3-none-any.whl"
_WRITE = "list them in requirements.txt"


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with the numbers at which they begin; as pip reads them, those that end in \\ joined."""
    first, joined = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        first = first or number
        if line.endswith("\\") and not re.match(r"\s*#", line):
            joined += line[:-1]
            continue
        yield first, joined + line
        first, joined = 0, ""
    if joined:
        yield first, joined


def _option(line: str) -> tuple[str, str]:
    """The long name of the option at the beginning of a line, and its value. Raises ValueError."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(f"{error}; write the option as for a shell") from error
    name, equals, value = words[0].partition("=")
    if not name.startswith("--") and len(name) > 2:
        name, value = name[:2], words[0][2:].removeprefix("=")
    elif not equals:
        value = words[1] if len(words) > 1 else ""
    name = _OPTIONS.get(name, name)
    if name in _OPTIONS.values() and not value:
        raise ValueError(f"{name}: has no value; write what it takes behind it")
    return name, value


def _is_path(text: str) -> bool:
    """True if pip takes a requirement for the path of a file or directory."""
    name = _NAME_END.split(text, maxsplit=1)[0]
    return text.startswith((".", "/", "~")) or "/" in name or name.lower().endswith(_ARCHIVES)
