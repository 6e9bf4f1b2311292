"""Search for the directory in which the program of a sweep file runs.

W&B's agent runs a program in the directory in which the agent was started, which the file does not name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

_SCRIPTS = (".py", ".sh")


@dataclass(frozen=True)
class Program:
    """The `program:` of a sweep file, and the directory that its path is relative to."""

    file: Path  # the sweep file
    given_root: Path | None  # None: it is searched for
    text: str  # as it is written
    words: Sequence[str]  # of the command, with ${program}
    workdir: str = ""  # path of the directory, below the root, in which the command starts

    @cached_property
    def root(self) -> Path:
        """The nearest directory, from that of the file upwards, in which the program is."""
        if self.given_root is not None:
            return self.given_root
        directories = list(directories_above(self.file))
        if self._above is not None:
            return Path(os.path.commonpath([self.file.parent.resolve(), self._above]))
        return next(filter(self._has_program, directories), directories[0])

    @property
    def path(self) -> str:
        """The path of the program from where the command starts."""
        start = self.root.resolve() / self.workdir
        return self.text if self._above is None else os.path.relpath(self._above, start)

    @property
    def problem(self) -> str:
        """What is wrong with the program; empty if it is there."""
        if self._has_program(self.root) or self._is_installed:
            return ""
        text = self.text if self.text.startswith("../") else os.path.join(self.workdir, self.text)
        if self.given_root is not None:
            return f"there is no {text} in {self.given_root}; --root is the directory its path begins in"
        *_, top = directories_above(self.file)
        where = "beside this file" if top == self.file.parent else f"in {self.file.parent}, or up to {top}"
        return f"there is no {text} {where}; write --root DIR with the directory its path begins in"

    @property
    def _above(self) -> Path | None:
        """The program's own path if it is written as one above the file's directory."""
        if not self.text.startswith("../"):
            return None
        path = (self.file.parent / self.text).resolve()
        is_inside = self.given_root is None or path.is_relative_to(self.given_root.resolve())
        return path if is_inside and os.path.isfile(path) else None

    @property
    def _names(self) -> list[str]:
        """The names, one of which has to be there."""
        if self.text.startswith("../"):
            return [] if self._above is None else [self.path]
        return _module_files(self.text) if self._is_module else [self.text]

    def _has_program(self, root: Path) -> bool:
        # A name that is too long is not there, which Path.exists() would raise.
        return any(os.path.exists(root / self.workdir / name) for name in self._names)

    @property
    def _is_module(self) -> bool:
        return ("-m", "${program}") in pairwise(self.words)

    @property
    def _is_installed(self) -> bool:
        """True for the name of a command, which a host may have: `${program}`, or `uv run ${program}`."""
        if "/" in self.text or self.text.endswith(_SCRIPTS):
            return False
        before = ["", *self.words][list(self.words).index("${program}")]
        return before != "-m" and not Path(before).name.startswith("python")


def find_root(file: Path, words: Sequence[str], workdir: str = "") -> Path:
    """The nearest directory, from that of `file` upwards, with a script or module that the command names.

    `workdir`: as in Program.
    """
    names = [word for word in words if word.endswith(_SCRIPTS)]
    for option, module in pairwise(words):
        if option == "-m":
            names += _module_files(module)
    paths = [Path(workdir, name) for name in names]
    found = (each for each in directories_above(file) if any(os.path.isfile(each / path) for path in paths))
    return next(found, file.parent)


def directories_above(file: Path) -> Iterator[Path]:
    """The directory of `file`, and those above it up to that of its git repository.

    Without a repository they go up to the current directory, if the file is below it.
    """
    directory = file.parent.resolve()
    above = [directory, *directory.parents]
    tops = [each for each in above if (each / ".git").exists()] or [
        each for each in above if each == Path.cwd()
    ]
    yield file.parent
    if tops:
        yield from above[1 : above.index(tops[0]) + 1]


def _module_files(module: str) -> list[str]:
    path = module.replace(".", "/")
    return [f"{path}.py", f"{path}/__main__.py", f"{path}/__init__.py"]
