"""Ignore rules: as git has them for .gitignore files; .infrainitignore and `ignore:` come after them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from framework.project.ignore_rules import IgnoreRules, ignore_file_problems, pattern_problem
from framework.project.source_tree import SourceTree

Make = Callable[[dict[str, str]], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write files, and return the project in the directory `p`."""

    def write(files: dict[str, str]) -> Path:
        for name, content in {"p/project.yml": "", **files}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        return tmp_path / "p"

    return write


def files(project: Path, *ignore: str) -> str:
    """The files that belong, but those that say so."""
    tree = SourceTree(project, ignore)
    found = (Path(entry.path) for entry in tree.walk() if not entry.is_dir(follow_symlinks=False))
    return " ".join(
        str(path.relative_to(tree.top)) for path in found if path.suffix != ".yml" and path.stem[0] != "."
    )


def test_a_gitignore_holds_for_its_directory_and_below_and_the_deepest_comes_last(make: Make) -> None:
    project = make({
        "p/.gitignore": "*.csv\n/only_here\nlogs/\n", "p/a.csv": "", "p/only_here": "", "p/sub/only_here": "",
        "p/logs/x": "", "p/sub/logs": "", "p/sub/.gitignore": "!b.csv\n*.txt\n", "p/sub/b.csv": "",
        "p/sub/c.csv": "", "p/sub/d.txt": "", "p/d.txt": "",
    })  # fmt: skip
    assert files(project) == "d.txt sub/b.csv sub/logs sub/only_here"


def test_of_a_repository_the_directories_above_count_as_well(make: Make) -> None:
    project = make({
        ".gitignore": "*.log\n/p/data/\n", "p/data/x": "", "p/a.log": "", "p/.gitignore": "!kept.log\n",
        "p/kept.log": "", "p/b": "",
    })  # fmt: skip
    assert files(project) == "a.log b data/x kept.log", "there is no repository"
    (project.parent / ".git").touch()  # a file, in a work tree of git's
    assert files(project) == "b kept.log"
    (project / ".git").mkdir()
    assert files(project) == "a.log b data/x kept.log", "the project is a repository of its own"


def test_a_repository_that_ignores_the_whole_project_says_nothing_of_its_files(make: Make) -> None:
    project = make({".gitignore": "*.log\np/\n", "p/a.log": "", "p/b": ""})
    (project.parent / ".git").mkdir()
    assert files(project) == "a.log b"


def test_a_project_behind_a_link_is_where_it_lies(make: Make, tmp_path: Path) -> None:
    project = make({"p/.gitignore": "*.log\n", "p/a.log": "", "p/b": ""})
    link = tmp_path / "link"
    link.symlink_to(project)
    assert files(link) == "b"


def test_all_but_some_files(make: Make) -> None:
    project = make({"p/.gitignore": "*\n!*/\n!*.py\n", "p/a.py": "", "p/b": "", "p/c/d.py": "", "p/c/e": ""})
    assert files(project) == "a.py c/d.py"


def test_infrainitignore_and_the_settings_come_last_and_take_in_again(make: Make) -> None:
    project = make({
        "p/.gitignore": "data/*.csv\n/big/\n*.npy\n", "p/data/a.csv": "", "p/big/x": "", "p/sub/y.npy": "",
        "p/sub/.gitignore": "*\n", "p/train.py": "",
    })  # fmt: skip
    assert files(project) == "train.py"
    (project / ".infrainitignore").write_text("# a comment\n\n!data/\n!/big/\ntrain.py\n")
    assert files(project) == "big/x data/a.csv"
    assert files(project, "big", "!sub/y.npy") == "data/a.csv sub/y.npy"


def test_what_is_excluded_for_all_projects_is_not_taken_in_and_what_is_needed_is(make: Make) -> None:
    project = make({
        "p/.infrainitignore": "*\n!.git\n!__pycache__/\n!results/\n", "p/.git/x": "", "p/__pycache__/x": "",
        "p/results/x": "", "p/parameters.yml": "", "p/sub/project.yml": "",
    })  # fmt: skip
    assert [entry.name for entry in SourceTree(project).walk()] == ["parameters.yml", "project.yml"]


def test_a_link_is_a_file_and_is_not_followed(make: Make, tmp_path: Path) -> None:
    project = make({"p/.infrainitignore": "dir/\n", "outside": "*\n", "other/x": ""})
    (project / "dir").symlink_to("../other")
    (project / "sub").mkdir()
    (project / "sub/file").touch()
    (project / "sub/.gitignore").symlink_to(tmp_path / "outside")
    assert files(project) == "dir sub/file"
    os.mkfifo(project / "pipe")
    assert files(project) == "dir sub/file", "neither a file nor a link"


@pytest.mark.parametrize("pattern", ["!", "a\nb", "[z-a]"])
def test_what_is_no_pattern_is_named(make: Make, pattern: str) -> None:
    assert repr(pattern) in pattern_problem(pattern)
    assert not any(map(pattern_problem, ("", "# x", "a b", "**/x", "!x", "[a-z]", "\\#")))


def test_a_line_that_is_no_pattern_is_left_out_of_gitignore_and_a_problem_in_ours(make: Make) -> None:
    text = "a\n!\r\nb\n"
    project = make(
        {"p/.gitignore": "\ufeff" + text, "p/a": "", "p/b": "", "p/c": "", "p/.infrainitignore": text}
    )
    assert files(project) == "c"
    assert [line for line, _ in ignore_file_problems(project)] == [2]


def test_the_rule_is_named(make: Make) -> None:
    project = make({"p/.gitignore": "a\n", "p/.infrainitignore": "b\n"})
    rules = IgnoreRules(project, ["c/"])
    assert [rules.ignored_by(project / name, name == "c") for name in "abcd"] == [
        ".gitignore", ".infrainitignore", "ignore:", "",
    ]  # fmt: skip


_NAMES = st.sampled_from(["a", "b", "a.csv", "data", "x y"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)
_PATTERNS = st.one_of(
    _PATHS,
    st.tuples(
        st.sampled_from(["", "!", "/", "!/", "**/"]), _PATHS, st.sampled_from(["", "/", "/*", "/**"])
    ).map("".join),
    st.sampled_from(
        ["*", "!*", "*.csv", "!*.csv", "?", "[ab]", "!*/", "/*", "*/", "# x", "", "a*", "data/**/a"]
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    paths=st.lists(_PATHS, min_size=1, max_size=8),
    rules=st.dictionaries(
        st.sampled_from(["", "p/", "p/data/", "p/a/"]), st.lists(_PATTERNS, min_size=1, max_size=4)
    ),
)
def test_the_files_are_those_that_git_would_add(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], rules: dict[str, list[str]]
) -> None:
    top = tmp_path_factory.mktemp("repository")
    git = ["git", "-C", str(top), "-c", "core.excludesFile=/dev/null"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for name in ("p/project.yml", *(f"p/{path}" for path in paths)):
        if not any((top / parent).is_file() for parent in Path(name).parents) and not (top / name).is_dir():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).touch()
    for directory, lines in rules.items():
        if (top / directory).is_dir():
            (top / directory / ".gitignore").write_text("\n".join(lines) + "\n")
    ignored = subprocess.run([*git, "check-ignore", "--quiet", "p"]).returncode == 0
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--others", "--exclude-standard", "p"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    expected = {name[2:] for name in listed.split("\0") if name} | {"project.yml"}
    if not ignored:  # then the rules above it do not count, which git cannot be asked
        tree = SourceTree(top / "p")
        found = (Path(each.path) for each in tree.walk() if not each.is_dir(follow_symlinks=False))
        assert {str(path.relative_to(tree.top)) for path in found} == expected
