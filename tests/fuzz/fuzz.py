"""Fuzzing of what reads text from outside: users' files, messages, archives and answers of hosts

tests/run fuzz TARGET [--minutes N | --examples N] [--seed N] [--cases DIRECTORY] [--coverage]

Each TARGET is a module beside this one: `strategy(cases)` is hypothesis's, and `check(example)` raises on
whatever is no clear answer, or returns what became of the example. This program draws examples until the
minutes are over, shows the smallest one of each finding, counts all, and ends with 1 if there is any. A
finding is mended at its root, and kept as a unit test beside the code.

--cases DIRECTORY: the project in each of its directories is mutated, beside the examples in docs/ (projects).
--coverage: atheris (pip install '.[fuzz]') draws the examples, led by what they reach in framework/; it ends
at the first finding. Not for targets in shell: archives, hosts, options.
"""

from __future__ import annotations

import argparse
import importlib
import random
import re
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase

HERE = Path(__file__).resolve().parent
TARGETS = ("projects", "messages", "archives", "hosts", "options")
HANG_SECONDS = 60  # for one example, on a machine that does much else
MEMORY = 3 * 2**30  # bytes
ROUND = 300  # examples that one seed draws


class Run:
    """Examples of a target, counted by what became of them."""

    def __init__(self, target: Any, minutes: float, examples: int | None, cases: Path | None) -> None:
        self._target = target
        self._cases = cases
        self._examples = examples
        self._end = time.monotonic() + minutes * 60
        self.outcomes: Counter[str] = Counter()
        self.known: set[tuple[str, str]] = set()  # findings: place and message
        self.finding = ("", "")

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._end

    def test(self) -> Callable[[], None]:
        """A test of hypothesis; examples that come after the end are not tried."""

        def check(example: Any) -> None:
            if not self.is_over:
                signal.alarm(HANG_SECONDS)
                try:
                    self.outcomes[self._target.check(example)] += 1
                except Exception as error:
                    place = str(traceback.extract_tb(error.__traceback__)[-1])
                    self.finding = (place, re.sub(r"/tmp/\S+|\W|\d", "", str(error))[:60])
                    if self.finding not in self.known:
                        raise
                finally:
                    signal.alarm(0)

        return hypothesis.given(self._target.strategy(self._cases))(check)

    def by_chance(self, seed: int) -> None:
        settings = hypothesis.settings(
            max_examples=self._examples or ROUND,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        while not self.is_over:
            try:
                hypothesis.seed(seed)(settings(self.test()))()
            except Exception:
                traceback.print_exc()
                self.known.add(self.finding)
            seed += 1
            if self._examples:
                return

    def by_coverage(self, seed: int) -> None:
        import atheris

        one = self.test().hypothesis.fuzz_one_input  # type: ignore[attr-defined]
        left = max(1, int(self._end - time.monotonic()))
        arguments = [sys.argv[0], f"-seed={seed}", f"-max_total_time={left}", "-timeout=0", "-rss_limit_mb=0"]
        atheris.Setup([*arguments, "-print_final_stats=1", "-max_len=4096", "-len_control=0"], one)
        atheris.Fuzz()


def on_alarm(*_: Any) -> None:
    raise AssertionError(f"no answer within {HANG_SECONDS} s")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--examples", type=int, help="no more than these")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--coverage", action="store_true")
    options = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    if options.coverage:
        import atheris

        with atheris.instrument_imports(include=["framework"]):
            target = importlib.import_module(options.target)
    else:
        target = importlib.import_module(options.target)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, on_alarm)
    warnings.simplefilter("ignore")
    began = time.monotonic()
    run = Run(target, options.minutes, options.examples, options.cases)
    try:
        (run.by_coverage if options.coverage else run.by_chance)(options.seed)
    finally:
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in run.outcomes.most_common())
        minutes = (time.monotonic() - began) / 60
        print(f"{options.target}: {minutes:.1f} min, seed {options.seed}: {outcomes or 'nothing'}")
        print(f"{len(run.known)} findings", flush=True)
    return 1 if run.known else 0


if __name__ == "__main__":
    sys.exit(main())
