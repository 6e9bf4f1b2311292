"""Tools that results can be exported to: the option of each, and its exporter."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from framework.errors import UsageError
from framework.export.sweep_results import SweepResults
from framework.text import how_to_install

# Writes results to a path, in place of those of an earlier export, and returns what to do with it.
Exporter: TypeAlias = Callable[[SweepResults, Path], str]


@dataclass(frozen=True)
class Target:
    """A tool."""

    option: str
    metavar: str
    module: str  # of framework.export; it has a function export(), an Exporter
    extra: str  # of pyproject.toml, with the packages that it needs
    description: str

    @property
    def attribute(self) -> str:
        """The name of the option's value in parsed arguments."""
        return self.option.replace("-", "_")

    def exporter(self) -> Exporter:
        """The exporter; raises UsageError if a package that it needs is missing."""
        try:
            module = importlib.import_module(f"framework.export.{self.module}")
        except ModuleNotFoundError as error:
            raise missing_package(f"--{self.option}", error, self.extra) from error
        exporter: Exporter = module.export
        return exporter


TARGETS = (
    Target("tensorboard", "DIR", "tensorboard_log", "tensorboard", "event files with HParams"),
    Target("mlflow", "DIR", "mlflow_store", "mlflow", "an experiment in DIR/mlflow.db"),
    Target("optuna", "FILE", "optuna_storage", "adaptive", "a study in an SQLite file"),
    Target("wandb-offline", "DIR", "wandb_offline", "wandb", "offline runs, for 'wandb sync'"),
    Target("parquet", "FILE", "parquet", "parquet", "a table"),
)


def missing_package(what: str, error: ModuleNotFoundError, extra: str) -> UsageError:
    """The error to raise for a package that is missing; raises `error` itself if it is one of ours."""
    package = (error.name or "framework").partition(".")[0]
    if package == "framework":
        raise error
    return UsageError(f"{what}: packages are missing ({package}); {how_to_install(extra)}")
