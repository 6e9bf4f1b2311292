"""What a pyproject.toml says of dependencies; test_requirements has what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.configuration.package_dependencies import read_package


def test_extras_may_name_others_of_the_same_package(tmp_path: Path) -> None:
    pytest.importorskip("tomllib")
    file = tmp_path / "pyproject.toml"
    assert read_package(file) is None
    file.write_text(
        '[project]\nname = "A_b"\n'
        '[project.optional-dependencies]\nAll_ = ["a.B[one, all-]", "x"]\none = ["y"]\n'
    )
    package = read_package(file)
    assert package is not None
    assert package.of(["all-"]) == ["x", "y"]
    with pytest.raises(ValueError, match="no optional dependencies 'two'"):
        package.of(["two"])


@pytest.mark.parametrize("dependencies", ["'numpy'", "[3]", "['numpy', 3]"])
def test_dependencies_are_a_list_of_texts(tmp_path: Path, dependencies: str) -> None:
    pytest.importorskip("tomllib")
    file = tmp_path / "pyproject.toml"
    file.write_text(f"[project]\ndependencies = {dependencies}\n")
    with pytest.raises(ValueError, match=r"project\.dependencies has to be a list of texts"):
        read_package(file)
