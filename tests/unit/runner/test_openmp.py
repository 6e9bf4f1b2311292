"""OpenMP in an import and in its calls, with GNU's runtime as the C compiler of this machine brings it."""

import shutil
import subprocess
from pathlib import Path

import pytest
from attempt_bench import CallBench

from framework.runner import openmp
from framework.runner.openmp import prepare_fork

PARALLEL = """
int threads(void) {
    int number = 0;
    #pragma omp parallel num_threads(3)
    {
        #pragma omp atomic
        number++;
    }
    return number;
}
"""
# Stands for an older libgomp: it cannot pause, and waits for ever in a fork once it has been used.
OLD = """
#include <unistd.h>
static int user;
int omp_get_thread_num(void) { return 0; }
int threads(void) {
    while (user && user != getpid()) pause();
    user = getpid();
    return 3;
}
void GOMP_parallel(void (*f)(void *), void *data, unsigned number, unsigned flags) { threads(); }
"""
PROGRAM = """
    import ctypes
    print("Import: imported=1")
    threads = ctypes.CDLL(str(HERE / "{library}")).threads
    {at_import}
    def run(x):
        return {{"threads": threads(), "x": x}}
"""


def build(calls: CallBench, source: str, library: str, *options: str) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    file = calls.path / "library.c"
    file.write_text(source)
    argv = ["gcc", "-shared", "-fPIC", *options, "-o", str(calls.project / library), str(file)]
    if subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("needs a gcc with OpenMP")


def test_a_call_can_use_it_after_the_import_has(calls: CallBench) -> None:
    build(calls, PARALLEL, "parallel.so", "-fopenmp")
    calls.write(PROGRAM.format(library="parallel.so", at_import="threads()"))
    for x in range(2):
        found = calls.run(x=x)
        assert (found.state, found.reason) == ("done", "")
        assert found.metrics == {"threads": 3, "x": x} | ({} if x else {"imported": 1})
    assert len(calls.pids("imported")) == 1


@pytest.mark.slow
def test_a_runtime_that_is_of_no_use_in_a_fork(calls: CallBench) -> None:
    build(calls, OLD, "libgomp-old.so")
    calls.write(PROGRAM.format(library="libgomp-old.so", at_import="threads()"))
    for x in range(2):
        found = calls.run(x=x)
        assert (found.state, found.metrics) == ("done", {"imported": 1, "threads": 3, "x": x})
        assert found.reason == (
            "train:run is imported by each call: its import starts OpenMP threads, which no fork can use"
        )
    assert len(set(calls.pids("imported"))) == 3  # once for all, then for each call
    assert "framework" not in calls.stderr


def test_a_runtime_that_the_import_has_not_used(calls: CallBench) -> None:
    build(calls, OLD, "libgomp-old.so")
    calls.write(PROGRAM.format(library="libgomp-old.so", at_import=""))
    assert [calls.run(x=x).reason for x in range(2)] == ["", ""]
    assert len(calls.pids("imported")) == 1


def test_an_import_error_in_a_call_is_the_tasks(calls: CallBench) -> None:
    build(calls, OLD.replace("pause()", "_exit(1)"), "libgomp-old.so")  # it fails at once
    calls.write(
        PROGRAM.format(library="libgomp-old.so", at_import="threads()")
        + """
    if len((HERE / "imported").read_text().split()) == 2: raise ValueError("the second")
    """
    )
    found = calls.run(x=1)
    assert found.state == "failed"
    assert found.reason.startswith("exit code 1: train:run cannot be imported: ValueError: the second")
    assert calls.run(x=2).state == "done"


def test_without_proc_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmp, "_MAPS", tmp_path / "maps")
    assert prepare_fork()


def test_a_runtime_whose_file_is_gone_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "maps").write_text(
        f"7f00-7f01 r-xp 0000 08:01 5 {tmp_path}/a b/libgomp.so.1\n7f02-7f03 rw-p 0\n"
    )
    monkeypatch.setattr(openmp, "_MAPS", tmp_path / "maps")
    assert not prepare_fork()
