"""Mutants of the code: lines that are changed one at a time, and the tests that notice each.

They are listed in python.txt and shell.txt here, separated by empty lines:

    framework/files.py                  the file
    - os.fsync(descriptor)              its line, which stands there once; or more of them, to find it
    + pass                              what it becomes; of more lines, all
    tests/unit/test_files.py::test_…    the test that fails then; one of bats: FILE.bats: NAME

A mutant that changes nothing that can be observed has `= REASON` in place of its test.

Load, or a flaw of its own, lets a test fail as well. A mutant is caught only if its test fails with it,
passes without it, and fails with it once more. What the test says then is printed: see that it is the reason
that you meant.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
LIMIT = 900  # seconds for a test, on a busy machine; one that hangs has noticed its mutant
COPIES = 2  # of the checkout; as many tests run at a time


@dataclass(frozen=True)
class Mutant:
    place: str  # where it is listed
    file: str
    lines: tuple[str, ...]
    mutation: tuple[str, ...]
    test: str  # or why there is none
    equivalent: bool

    def apply(self, text: str) -> str:
        """The file's text with the mutation. Raises ValueError unless the lines stand there once."""
        whole = text.split("\n")
        count = len(self.lines)
        bare = [line.strip() for line in whole]
        found = [at for at in range(len(bare)) if bare[at : at + count] == [*self.lines]]
        if len(found) != 1:
            raise ValueError(f"{self.place}: {self.file} has this {len(found)} times: {self.lines[0]}")
        for at, old, new in zip(range(found[0], len(whole)), self.lines, self.mutation, strict=False):
            whole[at] = whole[at].partition(old)[0] + new
        return "\n".join(whole)


def read_list(path: Path) -> Iterator[Mutant]:
    """Raises ValueError for an entry that is none."""
    number = 1
    for entry in path.read_text().split("\n\n"):
        place = f"{path.name}:{number}"
        number += entry.count("\n") + 2
        file, *change, test = entry.strip("\n").split("\n")
        old = tuple(line[2:] for line in change if line.startswith("- "))
        new = tuple(line[2:] for line in change if line.startswith("+ "))
        if not old or len(old) != len(new) or len(change) != 2 * len(old):
            raise ValueError(f"{place}: no mutant: its file, lines with -, as many with +, and its test")
        yield Mutant(place, file, old, new, test.removeprefix("= "), test.startswith("= "))


def read_lists() -> list[Mutant]:
    """All mutants. Raises ValueError for one that cannot be applied, or whose test is gone."""
    mutants = [mutant for name in ("python.txt", "shell.txt") for mutant in read_list(HERE / name)]
    for mutant in mutants:
        mutant.apply((CHECKOUT / mutant.file).read_text())
        if not mutant.equivalent:
            file, name = split_test(mutant.test)
            if name not in (CHECKOUT / file).read_text():
                raise ValueError(f"{mutant.place}: there is no such test: {mutant.test}")
    return mutants


def split_test(test: str) -> tuple[str, str]:
    """The file of a test, and its name there."""
    file, _, name = test.partition(": " if ".bats: " in test else "::")
    return file, name


def copy_checkout(directory: Path) -> None:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (CHECKOUT / name).exists():  # and is not about to be deleted in git
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, directory / name, follow_symlinks=False)


def failure(test: str, copy: Path) -> str | None:
    """What the test says if it fails in this copy of the checkout. Raises ValueError if it cannot be run."""
    file, name = split_test(test)
    if file.endswith(".bats"):
        command = ["bats", "--filter", f"^{re.escape(name)}$", file]
        failures = [1]
    else:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
        failures = [1, 2]  # 2: a file cannot be imported
    process = subprocess.Popen(
        command, cwd=copy, start_new_session=True, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"COLUMNS": "1000"},  # for the summary of pytest, which is cut
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"it ran longer than {LIMIT} s"
    if process.returncode not in [0, *failures] or output.startswith("1..0"):
        raise ValueError(f"{test} cannot be run (exit code {process.returncode}):\n{output}")
    return None if process.returncode == 0 else reason(output)


def reason(output: str) -> str:
    """The line of a failed test that says most: of pytest's summary, or what bats says has failed."""
    said = re.findall(r"^(?:FAILED|ERROR) .*? - (.*)|^# +(`.*' failed.*)", output, re.MULTILINE)
    return "".join(said[0]) if said else output.strip().rpartition("\n")[2]


def judge(mutant: Mutant, copy: Path) -> tuple[str, str]:
    """What becomes of a mutant, and why: caught, SURVIVED, or UNKNOWN, when its test fails without it."""
    path = copy / mutant.file
    text, times = path.read_text(), path.stat()
    try:
        path.write_text(mutant.apply(text))
        if (first := failure(mutant.test, copy)) is None:
            return "SURVIVED", "its test passes"
        path.write_text(text)
        # As it was: Python takes bytecode for that of a file whose size and second are the same.
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        if (unbroken := failure(mutant.test, copy)) is not None:
            return "UNKNOWN", f"its test fails without it, too: {unbroken}"
        path.write_text(mutant.apply(text))
        if failure(mutant.test, copy) is None:
            return "SURVIVED", f"its test has failed once, and then passed: {first}"
        return "caught", first
    finally:
        path.write_text(text)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tests/run mutants",
        description="Breaks one line of the code at a time, and checks that the test named for it notices. "
        "The mutants are listed in tests/mutants. Exit code 1: some survived, or it is unknown, as their "
        "tests fail without them, too.",
    )
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="only mutants of files with this in their name"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants, drawn by the seed")
    parser.add_argument(
        "--seed", default=datetime.date.today().isoformat(), help="default: the day's date, %(default)s"
    )
    options = parser.parse_args()
    listed = read_lists()
    mutants = [
        mutant
        for mutant in listed
        if not mutant.equivalent
        if not options.files or any(part in mutant.file for part in options.files)
    ]
    if options.sample is not None:
        mutants = random.Random(options.seed).sample(mutants, min(options.sample, len(mutants)))
        print(f"{len(mutants)} of {len(listed)} mutants, drawn by --seed {options.seed}")

    count: Counter[str] = Counter()
    copies: SimpleQueue[Path] = SimpleQueue()

    def judge_one(mutant: Mutant) -> tuple[str, str]:
        copy = copies.get()
        try:
            return judge(mutant, copy)
        finally:
            copies.put(copy)

    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(COPIES) as pool:
        for number in range(COPIES):
            copy_checkout(Path(root, str(number)))
            copies.put(Path(root, str(number)))
        for mutant, (verdict, why) in zip(mutants, pool.map(judge_one, mutants), strict=True):
            count[verdict] += 1
            print(f"{verdict:8}  {mutant.file}  ({mutant.test})")
            for sign, lines in (("-", mutant.lines), ("+", mutant.mutation)):
                print(*(f"    {sign} {line}" for line in lines), sep="\n")
            print(f"    {why}", flush=True)
    unknown = f", {count['UNKNOWN']} unknown" if count["UNKNOWN"] else ""
    print(f"{count['caught']} of {len(mutants)} mutants caught{unknown}")
    return int(count["caught"] < len(mutants))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        print(f"tests/run mutants: {error}", file=sys.stderr)
        sys.exit(2)
