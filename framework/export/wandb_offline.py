"""Offline runs of W&B, which `wandb sync` uploads."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # an export tells nobody

import wandb

from framework.export.sweep_results import SweepResults, TaskRun


def export(results: SweepResults, target: Path) -> str:
    """Write a run for each task below `target`/wandb; nothing is sent to W&B.

    An earlier export of a task is removed. The step of a value says how many have been printed before it.
    Raises OSError.
    """
    target.mkdir(parents=True, exist_ok=True)  # else wandb takes another one
    for run in results.runs():
        for earlier in (target / "wandb").glob(f"offline-run-*-{run.task}"):
            shutil.rmtree(earlier)
        _write(results, run, target)
    wandb.teardown()
    return f"wandb sync {shlex.quote(f'{target}/wandb')}/offline-run-*"


def _write(results: SweepResults, run: TaskRun, target: Path) -> None:
    entry = wandb.init(
        mode="offline",
        dir=str(target),
        project=re.sub(r"[/\\#?%:]", "-", results.project),
        group=results.project,
        id=run.task,
        name=run.name,
        tags=[run.state],
        notes=run.reason or None,
        config=dict(run.parameters),
        reinit="create_new",
        # Of this machine, and of this program, nothing is to be told.
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, host="", save_code=False,
            x_disable_meta=True, x_disable_stats=True, x_save_requirements=False, x_disable_machine_info=True
        ),
    )  # fmt: skip
    for step in range(max(map(len, run.curves.values()), default=0)):
        entry.log(
            {name: values[step] for name, values in run.curves.items() if step < len(values)}, step=step
        )
    last = {name: values[-1] for name, values in run.curves.items()}
    times = {"started": run.started, "ended": run.ended}
    entry.summary.update({**last, **run.texts, "infrainit": {**run.facts, **times}})
    entry.finish(exit_code=0 if run.state in ("done", "pruned") else 1)
