"""Files that an import has opened, as calls find them, one beside the other."""

import os
import zipfile
from pathlib import Path

import pytest
from attempt_bench import CallBench

from framework.runner import open_files
from framework.runner.open_files import OpenFiles

pytestmark = pytest.mark.slow

# Each of them reads 2 lines of 5 in the import, and the rest in the call.
READERS = {
    "binary": ("FILE = open(DATA, 'rb')", "FILE.readline()"),
    "unbuffered": ("FILE = open(DATA, 'rb', buffering=0)", "FILE.readline()"),
    "text": ("FILE = open(DATA)", "FILE.readline()"),
    "csv": ("import csv; FILE = csv.reader(open(DATA))", "next(FILE, None)"),
    "descriptor": ("FILE = os.open(DATA, os.O_RDONLY)", "os.read(FILE, 8)"),
    "read and written": ("FILE = open(DATA, 'r+')", "FILE.readline()"),
    "appended to": ("FILE = open(DATA, 'a+'); FILE.seek(0)", "FILE.readline()"),
    "mapped": (
        "import mmap; F = open(DATA, 'rb'); FILE = mmap.mmap(F.fileno(), 0, prot=mmap.PROT_READ)",
        "FILE.readline()",
    ),
    "deleted": ("FILE = open(DATA); os.remove(DATA)", "FILE.readline()"),
    "temporary": (
        "import tempfile; FILE = tempfile.TemporaryFile('w+'); FILE.write(Path(DATA).read_text());"
        "FILE.seek(0)",
        "FILE.readline()",
    ),
    "duplicated": (
        "A = os.open(DATA, os.O_RDONLY); B = os.dup(A); C = os.open(DATA, os.O_RDONLY)",
        "os.read((A, B)[count % 2], 8)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", READERS)
def test_each_call_reads_from_where_the_import_has_stopped(calls: CallBench, kind: str) -> None:
    opened, read = READERS[kind]
    calls.write(f"""
        DATA = str(HERE / "data")
        Path(DATA).write_text("1234567\\n" * 20_000)
        {opened}
        def read(count):
            return {read}
        read(0), read(1)
        def run(x):
            count = 0
            while read(count):
                count += 1
                if count == 9_000:  # until the others have come as far
                    note("called")
                    while len((HERE / "called").read_text().split()) < 3: time.sleep(0.01)
            return {{"count": count}}
    """)
    found = [each.result() for each in [calls.begin(x=x) for x in range(3)]]
    assert [(each.state, each.reason, each.metrics) for each in found] == [
        ("done", "", {"count": 19_998})
    ] * 3


def test_the_members_of_an_archive(calls: CallBench) -> None:
    with zipfile.ZipFile(calls.project / "data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in range(20):
            archive.writestr(str(name), os.urandom(100_000))
    calls.write("""
        import zipfile
        ARCHIVE = zipfile.ZipFile(HERE / "data.zip")
        def run(x):
            note("called")
            while len((HERE / "called").read_text().split()) < 4: time.sleep(0.01)
            return {"size": sum(len(ARCHIVE.read(str(name))) for name in range(20))}
    """)
    found = [each.result() for each in [calls.begin(x=x) for x in range(4)]]
    assert [(each.reason, each.metrics) for each in found] == [("", {"size": 2_000_000})] * 4


def test_arrays_of_numpy(calls: CallBench) -> None:
    numpy = pytest.importorskip("numpy")
    arrays = {f"a{name}": numpy.full(50_000, name) for name in range(20)}
    numpy.savez(calls.project / "data.npz", **arrays)
    calls.write("""
        import numpy
        DATA = numpy.load(HERE / "data.npz")
        def run(x):
            note("called")
            while len((HERE / "called").read_text().split()) < 4: time.sleep(0.01)
            return {"sum": sum(int(DATA[f"a{name}"].sum()) for name in range(20))}
    """)
    found = [each.result() for each in [calls.begin(x=x) for x in range(4)]]
    assert [(each.reason, each.metrics) for each in found] == [("", {"sum": 190 * 50_000})] * 4


@pytest.mark.parametrize("mode", ["a", "w", "wb"])
def test_nothing_that_calls_write_is_lost_or_written_twice(calls: CallBench, mode: str) -> None:
    calls.write(f"""
        FILE = open(HERE / "log", {mode!r})
        def write(text): FILE.write(text if FILE.mode != "wb" else text.encode())
        write("import\\n")
        def run(x):
            note("called")
            while len((HERE / "called").read_text().split()) < 3: time.sleep(0.01)
            write(f"call {{x}}\\n")
            if x == 1: FILE.flush()
    """)
    for each in [calls.begin(x=x) for x in range(3)]:
        each.result()
    lines = (calls.project / "log").read_text().splitlines()
    assert sorted(lines) == ["call 0", "call 1", "call 2", "import"]


def test_what_a_call_leaves_in_a_buffer_is_written(calls: CallBench) -> None:
    calls.write("""
        def run():
            global file
            file = open("mine.txt", "w")
            file.write("to the end")
    """)
    calls.run()
    assert (calls.attempts[-1].work / "mine.txt").read_text() == "to the end"


def test_a_pipe_that_nobody_reads_holds_nobody_up(calls: CallBench) -> None:
    calls.write("""
        import subprocess
        def run():
            global child
            child = subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE, bufsize=1_000_000)
            child.stdin.write(b"x" * 500_000)
    """)
    assert calls.run().state == "done"


def test_descriptors_keep_their_numbers_and_flags(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("0123456789")
    first = os.open(tmp_path / "data", os.O_RDWR | os.O_APPEND | os.O_CREAT)
    copy = os.dup(first)
    other = os.open(tmp_path / "data", os.O_RDONLY)
    os.set_inheritable(copy, True)
    os.lseek(first, 4, os.SEEK_SET)
    files = OpenFiles([])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        problems = files.reopen()
        inherited = [os.get_inheritable(each) for each in (first, copy, other)]
        read = os.read(first, 2) + os.read(copy, 1) + os.read(other, 1)
        os.write(first, b"x")
        os.write(writer, repr((problems, inherited, read)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert eval(os.read(reader, 1000)) == ([], [False, True, False], b"4560")
    assert [os.lseek(each, 0, os.SEEK_CUR) for each in (first, copy, other)] == [4, 4, 0]
    assert (tmp_path / "data").read_text() == "0123456789x"
    for descriptor in (first, copy, other, reader, writer):
        os.close(descriptor)


def test_a_descriptor_that_is_another_file_by_now_is_left_alone(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
    file = os.open(tmp_path / "old", os.O_RDONLY)
    files = OpenFiles([])
    new = os.open(tmp_path / "new", os.O_RDONLY)
    os.dup2(new, file)
    assert files.reopen() == []
    assert os.read(file, 3) + os.read(new, 3) == b"new"
    for descriptor in (file, new):
        os.close(descriptor)


def test_without_proc_nothing_is_done_and_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "_DESCRIPTORS", str(tmp_path / "fd"))
    with (tmp_path / "data").open("w+") as file:
        file.write("text")
        file.seek(0)
        remarks = OpenFiles([]).reopen()
        name = f"the file with descriptor {file.fileno()}"
        assert [each for each in remarks if f"{name}," in each] == [
            f"calls share their position in {name}, which was opened by the import: "
            "it cannot be opened again (No such file or directory); open it in the function"
        ]
        assert file.read() == "text"


def test_a_file_that_cannot_be_opened_again_is_named(calls: CallBench) -> None:
    calls.write("""
        (HERE / "data").write_text("text")
        FILE = open(HERE / "data")
        def refuse(*_): raise PermissionError(13, "Permission denied")
        os.open = refuse
        def run(): pass
    """)
    found = calls.run()
    assert found.state == "done"
    assert found.reason == (
        f"calls share their position in {calls.project}/data, which was opened by the import: "
        "it cannot be opened again (Permission denied); open it in the function"
    )
