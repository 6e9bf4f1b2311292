"""Advice: the commands that notices recommend, on hosts and for local runs."""

from __future__ import annotations

from dataclasses import dataclass

from framework.files import LocalFiles, short_path
from framework.scheduler.sweep_events import LogPlace


@dataclass(frozen=True)
class Advice:
    """Commands that notices recommend."""

    resume: str  # a paused sweep
    renew: str  # results of other files of the project, or of another image
    retry: str  # failed tasks
    log_place: LogPlace  # of a failed task


ON_HOSTS = Advice(
    resume="./infrainit.sh -f, or 'framework resume' in the master's container",
    renew="'./infrainit.sh -f --outdated' runs these again, --fresh runs all again",
    retry="'./infrainit.sh -f --failed' runs failed tasks again",
    log_place=lambda record: f"./check_celery_status.sh logs {record.number + 1}",
)


def advice_of(command: str, files: LocalFiles) -> Advice:
    """The advice for a run with these files; `command` runs again what has not ended."""
    return Advice(
        resume=command,
        renew=f"{command} --outdated runs these again, --fresh runs all again",
        retry=f"{command} --failed",
        log_place=lambda each: str(short_path(files.worker.attempt(each.task, each.attempts).stderr)),
    )
