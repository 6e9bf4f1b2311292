"""Targets of exports: each has its extra in pyproject.toml, and says which package is missing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from framework.errors import UsageError
from framework.export.targets import TARGETS, Target, missing_package

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


NEEDS = {
    "tensorboard": "tensorboard", "mlflow": "mlflow", "optuna": "optuna", "wandb-offline": "wandb",
    "parquet": "pyarrow",
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.option)
def test_an_exporter_says_which_package_it_lacks_and_the_extra_has_it(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert target.exporter().__module__ == f"framework.export.{target.module}"
    package = NEEDS[target.option]
    monkeypatch.delitem(sys.modules, f"framework.export.{target.module}")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"packages are missing \({package}\); .*'\.\[{target.extra}\]'"):
        target.exporter()
    extra = re.search(rf"^{target.extra} = \[(.*?)\]$", PYPROJECT.read_text(), re.MULTILINE | re.DOTALL)
    assert extra is not None
    assert f'"{package}' in extra[1]


def test_a_module_of_ours_that_is_missing_is_no_usage_error() -> None:
    error = ModuleNotFoundError("No module named 'framework.gone'", name="framework.gone")
    with pytest.raises(ModuleNotFoundError):
        missing_package("x", error, "y")
