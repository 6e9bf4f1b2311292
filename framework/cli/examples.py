"""Examples in the help of the commands that people type."""

from __future__ import annotations

EXIT_CODES = "exit codes: 0 success, 1 something failed, 2 the options or the project are wrong"

OF_ALL = "framework COMMAND --help has the options of a command, its exit codes, and examples."

# By command: its examples, each with a remark. Tests parse them.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "plan": (
        ("plan tasks/digits", "check the project, and count its combinations"),
        ("plan tasks/digits --slots 8 --json", "for programs, with 8 tasks at a time"),
    ),
    "run": (
        ("run tasks/digits", "on this machine; what has a result does not run again"),
        ("run tasks/digits --slots 2 --failed", "two at a time, failed tasks again"),
    ),
    "import": (("import search_space.json", "to be saved as parameters.yml"),),
    "status": (("status", ""), ("status --json", "for programs")),
    "watch": (("watch", "until the sweep has ended"),),
    "explain": (
        ("explain 17", ""),
        ("explain 3f2a", "by the beginning of its id in results.csv"),
        ("explain 3 --project tasks/digits", "of local runs"),
    ),
    "best": (("best 10", ""), ("best --failures --project tasks/digits", "of local runs")),
    "report": (
        ("report results/digits", "what get_results.sh has brought home"),
        ("report tasks/digits -o digits.html", "of local runs"),
    ),
    "changes": (("changes c0123456789ab", "since that version of the code"),),
    "export": (("export results/digits --tensorboard logs", "then: tensorboard --logdir logs"),),
    "results": (("results --all", "with combinations that are no longer in the sweep"),),
    "cancel": (("cancel 17 18", ""),),
    "pause": (("pause", "then: framework resume"),),
    "resume": (("resume", ""),),
    "drain": (("drain gpu1 gpu2", ""), ("drain --end gpu1", "send it tasks again")),
    "again": (("again 17", ""), ("again --failed", "all failed tasks")),
    "recover": (("recover ~/celery_tasks/worker/digits --project tasks/digits --journal journal.db", ""),),
    "celery": (("celery status", "which workers answer"), ("celery inspect active", "what they run")),
}


def epilog_of(command: str) -> str | None:
    """The exit codes and examples of a command, as the end of its help; None if people do not type it."""
    examples = EXAMPLES.get(command, ())
    width = max((len(line) for line, _ in examples), default=0)
    lines = (f"  framework {line:{width}}  {remark}".rstrip() for line, remark in examples)
    return "\n".join((EXIT_CODES, "", "examples:", *lines)) if examples else None
