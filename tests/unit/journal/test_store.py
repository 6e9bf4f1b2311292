"""Journal: one terminal record for each task, whatever comes twice, late or in another order."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from journal_bench import FAILED, RESULT, TASK, record_of, sent, state

from framework.errors import FrameworkError, JournalError, UnknownTaskError
from framework.journal.records import Member, NewAttempt, TaskOutcome
from framework.journal.store import Journal
from framework.messages.metrics import Metric


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "it's a journal?.sqlite") as journal:
        yield journal


def test_the_life_of_a_task(journal: Journal) -> None:
    assert journal.get(TASK) is None
    assert sent(journal) == 1
    assert state(journal) == "sent"
    assert journal.start(TASK, 1, "a", 200.0)
    journal.metrics(TASK, 1, {"epoch": 3})
    running = record_of(journal)
    assert (running.state, running.started, running.metrics) == ("running", 200.0, {"epoch": 3})
    assert journal.finish(RESULT, final=True)
    record = record_of(journal)
    assert dataclasses.asdict(record) == {
        "task": TASK, "number": 7, "parameters": {"C": 0.1, "text": "a\n'"}, "state": "done", "attempts": 1,
        "host": "a", "sent": 100.0, "started": 200.0, "seconds": 5.0, "exit_code": 0, "reason": "",
        "code": "c1", "image": "i1", "metrics": {"accuracy": 0.9}, "first": 1,
    }  # fmt: skip
    assert list(record.parameters) == ["C", "text"]
    assert journal.counts() == {"waiting": 0, "sent": 0, "running": 0, "done": 1, "failed": 0}


def test_a_result_that_comes_twice_changes_nothing(journal: Journal) -> None:
    sent(journal)
    assert journal.finish(RESULT, final=True)
    before = journal.get(TASK)
    assert not journal.finish(RESULT, final=True)
    assert not journal.finish(FAILED, final=True)
    assert not journal.finish(dataclasses.replace(RESULT, attempt=2, host="b"), final=True)
    assert not journal.lost(TASK, 1, "gone", final=True)
    assert not journal.start(TASK, 1, "b", 300.0)
    journal.metrics(TASK, 1, {"late": 1})
    assert journal.get(TASK) == before


def test_a_failed_attempt_is_run_again(journal: Journal) -> None:
    sent(journal)
    assert not journal.finish(FAILED, final=False)
    assert state(journal) == "waiting"
    assert not journal.finish(FAILED, final=True)  # the same once more
    assert state(journal) == "waiting"
    assert sent(journal, "b") == 2
    fresh = record_of(journal)
    assert (fresh.state, fresh.host, fresh.started, fresh.exit_code, fresh.reason) == (
        "sent",
        "b",
        None,
        None,
        "",
    )
    assert journal.finish(dataclasses.replace(FAILED, attempt=2, host="b"), final=True)
    assert state(journal) == "failed"
    assert [(attempt.attempt, attempt.host, attempt.state) for attempt in journal.attempts(TASK)] == [
        (1, "a", "failed"),
        (2, "b", "failed"),
    ]
    assert journal.attempts_ended(TASK, ["failed", "timeout"]) == 2
    assert journal.attempts_ended(TASK, ["lost"]) == 0


def test_done_ends_a_task_even_if_not_called_final(journal: Journal) -> None:
    sent(journal)
    assert journal.finish(RESULT, final=False)
    assert state(journal) == "done"


def test_a_timeout_is_a_failure(journal: Journal) -> None:
    sent(journal)
    assert journal.finish(dataclasses.replace(FAILED, state="timeout"), final=True)
    assert state(journal) == "failed"
    assert journal.attempts(TASK)[0].state == "timeout"


def test_a_lost_attempt_is_run_again_and_may_come_back(journal: Journal) -> None:
    sent(journal)
    journal.start(TASK, 1, "a", 150.0)
    assert not journal.lost(TASK, 1, "no sign of a", final=False)
    assert state(journal) == "waiting"
    assert sent(journal, "b") == 2
    journal.start(TASK, 2, "b", 250.0)
    assert not journal.finish(FAILED, final=False)  # of the first attempt: the second is still under way
    assert state(journal) == "running"
    assert journal.finish(dataclasses.replace(RESULT, attempt=2, host="b"), final=True)
    record = record_of(journal)
    assert (record.host, record.attempts) == ("b", 2)


def test_a_lost_attempt_that_comes_back_done_counts(journal: Journal) -> None:
    sent(journal)
    journal.lost(TASK, 1, "no sign of a", final=False)
    sent(journal, "b")
    assert journal.finish(RESULT, final=True)
    assert not journal.finish(dataclasses.replace(RESULT, attempt=2, host="b"), final=True)
    record = record_of(journal)
    assert (record.state, record.host, record.attempts) == ("done", "a", 2)


def test_lost_too_often(journal: Journal) -> None:
    sent(journal)
    assert journal.lost(TASK, 1, "lost 5 times", final=True)
    record = record_of(journal)
    assert (record.state, record.reason) == ("failed", "lost 5 times")


def test_an_older_attempt_is_lost_without_harm_to_the_younger(journal: Journal) -> None:
    sent(journal)
    journal.lost(TASK, 1, "x", final=False)
    sent(journal, "b")
    assert not journal.lost(TASK, 1, "x", final=True)
    assert state(journal) == "sent"


def test_events_that_come_late_or_in_another_order_change_nothing(journal: Journal) -> None:
    sent(journal)
    journal.finish(FAILED, final=False)
    assert not journal.start(TASK, 1, "a", 200.0)
    assert state(journal) == "waiting"
    assert not journal.start(TASK, 9, "a", 200.0)
    assert not journal.start("f" * 16, 1, "a", 200.0)
    journal.metrics("f" * 16, 1, {"x": 1})


def test_the_journal_knows_to_which_host_an_attempt_was_sent(journal: Journal) -> None:
    assert not journal.was_sent(TASK, 1, "a")
    sent(journal)
    journal.lost(TASK, 1, "no sign of a", final=False)
    sent(journal, "b")
    known = [(n, host) for n in (1, 2, 3) for host in ("a", "b") if journal.was_sent(TASK, n, host)]
    assert known == [(1, "a"), (2, "b")]


def test_a_lost_attempt_that_runs_on_takes_its_place_again(journal: Journal) -> None:
    sent(journal)
    journal.start(TASK, 1, "a", 150.0)
    journal.lost(TASK, 1, "no sign of a", final=False)
    sent(journal, "b")
    assert not journal.reinstate(TASK, 2, "b"), "it is under way"
    assert journal.reinstate(TASK, 1, "a")
    assert not journal.reinstate(TASK, 1, "a")
    record = record_of(journal)
    assert (record.state, record.host, record.started, record.attempts) == ("running", "a", 150.0, 2)
    assert [(attempt.attempt, attempt.state) for attempt in journal.attempts(TASK)] == [
        (1, "running"),
        (2, "stopped"),
    ]
    assert [attempt.attempt for attempt in journal.under_way()] == [1]
    journal.metrics(TASK, 1, {"epoch": 3})
    journal.metrics(TASK, 2, {"epoch": 9})
    record = record_of(journal)
    assert record.metrics == {"epoch": 3}
    assert not journal.finish(dataclasses.replace(FAILED, attempt=2, state="stopped"), final=False)
    assert state(journal) == "running"
    assert not journal.finish(FAILED, final=False)
    assert state(journal) == "waiting"
    assert sent(journal, "b") == 3


def test_a_stopped_attempt_that_was_done_before_it_heard_of_it_counts(journal: Journal) -> None:
    sent(journal)
    journal.lost(TASK, 1, "no sign of a", final=False)
    sent(journal, "b")
    journal.reinstate(TASK, 1, "a")
    assert journal.finish(dataclasses.replace(RESULT, attempt=2, host="b"), final=True)
    assert not journal.reinstate(TASK, 1, "a")
    assert not journal.finish(RESULT, final=True)
    record = record_of(journal)
    assert (record.state, record.host) == ("done", "b")


def test_a_failed_task_that_is_asked_for_again_begins_anew(journal: Journal) -> None:
    sent(journal)
    assert not journal.finish(FAILED, final=False)
    sent(journal, "b")
    assert journal.again([TASK]) == 0, "it has not ended"
    assert journal.finish(dataclasses.replace(FAILED, attempt=2, host="b"), final=True)
    assert journal.again([TASK, "f" * 16]) == 1
    record = record_of(journal)
    assert (record.state, record.first, record.seconds, record.code) == ("waiting", 3, None, "")
    assert journal.attempts_ended(TASK, ["failed"]) == 0
    assert journal.failed_on(TASK) == set()
    assert sent(journal) == 3
    assert not journal.finish(dataclasses.replace(FAILED, attempt=3), final=False)
    assert journal.attempts_ended(TASK, ["failed"]) == 1
    assert journal.failed_on(TASK) == {"a"}
    assert sent(journal) == 4
    assert journal.finish(dataclasses.replace(RESULT, attempt=4), final=True)
    assert [attempt.state for attempt in journal.attempts(TASK)] == ["failed", "failed", "failed", "done"]


def test_an_attempt_from_before_a_task_was_asked_for_again_does_not_end_it(journal: Journal) -> None:
    sent(journal)
    journal.start(TASK, 1, "a", 150.0)
    journal.lost(TASK, 1, "no sign of a", final=False)
    sent(journal, "b")
    journal.start(TASK, 2, "b", 250.0)
    journal.cancel(TASK, 7, {}, 300.0)
    assert journal.again([TASK]) == 1
    assert journal.under_way() == []
    assert not journal.reinstate(TASK, 1, "a")
    assert not journal.finish(RESULT, final=True)
    assert not journal.finish(dataclasses.replace(FAILED, attempt=2, host="b"), final=True)
    assert state(journal) == "waiting"
    assert sent(journal) == 3
    assert not journal.finish(dataclasses.replace(RESULT, attempt=2, host="b"), final=True)
    assert [attempt.attempt for attempt in journal.under_way()] == [3]
    assert journal.finish(dataclasses.replace(RESULT, attempt=3), final=True)


def test_an_old_attempt_of_a_task_that_runs_again_is_not_taken_for_the_new_one(journal: Journal) -> None:
    sent(journal)
    journal.lost(TASK, 1, "no sign of a", final=False)
    sent(journal, "b")
    assert journal.finish(RESULT, final=True), "of the first attempt, while the second still runs"
    journal.again([TASK])
    assert sent(journal) == 3
    assert [(attempt.attempt, attempt.state) for attempt in journal.attempts(TASK)] == [
        (1, "done"),
        (2, "stopped"),
        (3, "sent"),
    ]


def test_a_task_under_way_is_not_sent_again(journal: Journal) -> None:
    sent(journal)
    with pytest.raises(FrameworkError, match="it is sent"):
        sent(journal)
    journal.finish(RESULT, final=True)
    with pytest.raises(FrameworkError, match="it is done"):
        sent(journal)


def test_an_unknown_task(journal: Journal) -> None:
    with journal.batch():
        sent(journal, task="a" * 16)
        with pytest.raises(UnknownTaskError):
            journal.finish(RESULT, final=True)
        with pytest.raises(UnknownTaskError):
            journal.lost(TASK, 1, "x", final=True)
    assert state(journal, "a" * 16) == "sent"


def test_a_result_of_an_attempt_the_journal_does_not_know_counts(journal: Journal) -> None:
    sent(journal)
    assert journal.finish(dataclasses.replace(RESULT, attempt=3), final=True)
    record = record_of(journal)
    assert (record.state, record.attempts) == ("done", 3)


def test_a_batch_is_kept_whole_or_not_at_all(journal: Journal) -> None:
    def half() -> None:
        with journal.batch():
            sent(journal)
            raise KeyError("half way")

    with pytest.raises(KeyError):
        half()
    assert journal.get(TASK) is None
    with journal.batch(), journal.batch():
        sent(journal)
    assert state(journal) == "sent"


def test_looking_up_many(journal: Journal) -> None:
    tasks = [f"{number:016x}" for number in range(5000)]
    with journal.batch():
        for number, task in enumerate(tasks[::2]):
            journal.assign(task, number, {}, "a", 1.0)
    records = journal.records(tasks)
    assert list(map(bool, map(records.get, tasks))) == [True, False] * 2500
    outcomes = journal.outcomes(tasks)
    assert [task for task in tasks if task in outcomes] == tasks[::2]
    assert outcomes[tasks[0]] == TaskOutcome("sent", "", "")


def members(journal: Journal) -> dict[int, str]:
    return {number: member.task for number, member in journal.members(range(100)).items()}


def test_a_sweep_has_the_tasks_that_are_marked_or_assigned_in_it(journal: Journal) -> None:
    assert not journal.open_sweep("first")
    sent(journal)
    assert members(journal) == {7: TASK}
    assert not journal.open_sweep("first"), "it is not complete"
    journal.complete_sweep()
    assert journal.open_sweep("first")
    assert journal.has_sweep("first")
    assert not journal.open_sweep("second")
    assert (members(journal), journal.last_number(), journal.is_member(TASK)) == ({}, -1, False)
    journal.mark([(70, TASK), (1, "f" * 16)])
    assert (members(journal), journal.last_number(), journal.is_member(TASK)) == ({70: TASK}, 70, True)
    journal.complete_sweep()
    assert (journal.has_sweep("first"), journal.has_sweep("second")) == (False, True)
    assert not journal.open_sweep("first"), "tasks of the second may have changed meanwhile"


def test_ended_tasks_are_those_of_the_current_sweep_or_all_others(journal: Journal) -> None:
    journal.open_sweep("first")
    for number in (2, 0, 1):
        sent(journal, task=f"{number:016x}", number=number)
        journal.finish(dataclasses.replace(RESULT, task=f"{number:016x}"), final=True)
    sent(journal, task="f" * 16, number=3)
    assert [record.number for record in journal.ended_members()] == [0, 1, 2]
    assert journal.ended_counts() == [(TaskOutcome("done", RESULT.code, RESULT.image), 3)]
    journal.open_sweep("second")
    journal.mark([(5, f"{0:016x}"), (4, f"{2:016x}"), (6, "f" * 16)])
    assert [(record.number, record.task) for record in journal.ended_members()] == [
        (4, f"{2:016x}"), (5, f"{0:016x}"),
    ]  # fmt: skip
    assert [record.task for record in journal.ended_others()] == [f"{1:016x}"]
    assert journal.ended_counts() == [(TaskOutcome("done", RESULT.code, RESULT.image), 2)]
    assert journal.has_any({"done"})
    journal.open_sweep("third")
    assert not journal.has_any({"done"})


def test_the_latest_durations_are_those_of_what_was_done_also_before_a_rerun(journal: Journal) -> None:
    assert journal.latest_timed(10) == []
    for number, (seconds, result) in enumerate([(1.0, RESULT), (50.0, FAILED), (9.0, RESULT), (2.0, RESULT)]):
        task = f"{number:016x}"
        sent(journal, task=task)
        later = dataclasses.replace(result, task=task, seconds=seconds, started=100.0 + number)
        journal.finish(later, final=True)
    timed = journal.latest_timed(2)
    assert [(each.task, each.host, each.seconds) for each in timed] == [
        (f"{2:016x}", RESULT.host, 9.0),
        (f"{3:016x}", RESULT.host, 2.0),
    ]
    assert journal.again([f"{0:016x}"]) == 1
    assert [each.seconds for each in journal.latest_timed(10)] == [1.0, 9.0, 2.0]
    sent(journal, task=f"{9:016x}")
    journal.prune(f"{9:016x}", "worse than others")
    pruned = dataclasses.replace(RESULT, task=f"{9:016x}", state="stopped", seconds=4.0, started=90.0)
    journal.finish(pruned, final=False)
    assert 4.0 in [each.seconds for each in journal.latest_timed(10)]


def test_the_best_task_has_the_metric_as_a_finite_number_and_is_done(journal: Journal) -> None:
    journal.open_sweep("first")
    assert journal.best("a.b", "maximize") is None
    values: list[Metric] = [0.5, 3, "inf", "nan", "text", 0.25, 3]
    for number, value in enumerate(values):
        sent(journal, task=f"{number:016x}", number=number)
        result = dataclasses.replace(RESULT, task=f"{number:016x}", metrics={"a.b": value})
        journal.finish(result, final=True)
    sent(journal, task="f" * 16, number=9)
    journal.finish(dataclasses.replace(FAILED, task="f" * 16, metrics={"a.b": 9}), final=True)
    for goal, number in (("maximize", 1), ("minimize", 5)):
        best = journal.best("a.b", goal)  # type: ignore[arg-type]
        assert best is not None
        assert best.number == number
    journal.open_sweep("second")
    assert journal.best("a.b", "maximize") is None


def test_metric_names_are_those_of_ended_tasks(journal: Journal) -> None:
    sent(journal)
    journal.metrics(TASK, 1, {"epoch": 1})
    assert journal.metric_names() == set()
    with pytest.raises(ValueError, match="JSON"):
        journal.metrics(TASK, 1, {"epoch": float("nan")})
    journal.finish(dataclasses.replace(RESULT, metrics={"b": 1, "a.b": "x"}), final=True)
    assert journal.metric_names() == {"a.b", "b"}


def test_a_reader_sees_what_was_committed(journal: Journal) -> None:
    sent(journal)
    with Journal(journal.path, read_only=True) as reader:
        assert state(reader) == "sent"
        with journal.batch():
            journal.start(TASK, 1, "a", 1.0)
            assert state(reader) == "sent"
        assert state(reader) == "running"
        with reader.batch():
            assert state(reader) == "running"
            journal.finish(RESULT, final=True)
            assert state(reader) == "running"
        assert state(reader) == "done"
        with pytest.raises(JournalError, match="readonly"):
            reader.mark([(8, TASK)])
    journal.close()
    with Journal(journal.path, read_only=True) as reader:
        assert state(reader) == "done"


def test_no_journal_to_read(tmp_path: Path) -> None:
    with pytest.raises(FrameworkError, match="has not started"):
        Journal(tmp_path / "journal.sqlite", read_only=True)
    (tmp_path / "journal.sqlite").touch()
    with pytest.raises(FrameworkError, match="has not started"):
        Journal(tmp_path / "journal.sqlite", read_only=True)
    with pytest.raises(JournalError, match="unable to open"):
        Journal(tmp_path / "missing" / "journal.sqlite")


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is no database" * 1000)
    with pytest.raises(FrameworkError, match="damaged") as caught:
        Journal(path)
    assert not isinstance(caught.value, JournalError)


def test_a_full_disk(journal: Journal) -> None:
    sent(journal)
    journal._connection.execute(f"PRAGMA max_page_count = {journal._value('PRAGMA page_count') + 2}")

    def fill() -> None:
        with journal.batch():
            for number in range(1000):
                journal.assign(f"{number:016x}", number, {"text": "x" * 1000}, "a", 1.0)

    with pytest.raises(JournalError, match="full"):
        fill()
    assert journal.counts()["sent"] == 1
    assert not journal._connection.in_transaction
    journal._connection.execute("PRAGMA max_page_count = 100000")
    journal.assign("f" * 16, 1, {"text": "x" * 100_000}, "a", 1.0)
    assert journal.counts()["sent"] == 2


def test_a_full_disk_that_someone_overlooks(journal: Journal) -> None:
    journal._connection.execute(f"PRAGMA max_page_count = {journal._value('PRAGMA page_count') + 2}")

    def overlook() -> None:
        with journal.batch():
            for number in range(100):
                with suppress(FrameworkError):
                    journal.assign(f"{number:016x}", number, {"text": "x" * 1000}, "a", 1.0)

    with pytest.raises(JournalError):
        overlook()
    assert journal.counts()["sent"] == 0


def test_many_threads(journal: Journal) -> None:
    def work(thread: int) -> None:
        for number in range(20):
            task = f"{thread:08x}{number:08x}"
            with journal.batch():
                journal.assign(task, number, {}, "a", 1.0)
                journal.finish(dataclasses.replace(RESULT, task=task), final=True)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.counts()["done"] == 160


def test_committed_batches_survive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    program = (
        "import sys; from pathlib import Path; from framework.journal.store import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(10**9):\n"
        "    journal.assign(f'{number:016x}', number, {}, 'a', 1.0)\n"
        "    print(number, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert process.stdout is not None
    printed = [process.stdout.readline() for _ in range(50)]
    os.kill(process.pid, signal.SIGKILL)
    printed += process.stdout.read().splitlines(keepends=True)
    process.wait()
    process.stdout.close()
    complete = [line for line in printed if line.endswith(b"\n")]
    with Journal(path) as journal:
        assert journal.counts()["sent"] in (len(complete), len(complete) + 1)


events = st.lists(
    st.tuples(
        st.sampled_from(
            ["assign", "copy", "start", "done", "failed", "stopped", "lost", "reinstate", "again", "prune"]
        ),
        st.integers(1, 4),
        st.booleans(),
    ),
    max_size=30,
)


@example([("failed", 2, False), ("failed", 1, False), ("assign", 1, False)])  # an attempt that was never sent
@example([("copy", 1, False), ("lost", 2, True), ("copy", 2, True), ("failed", 1, False), ("done", 1, True)])
@example([("done", 1, True), ("done", 2, True), ("again", 1, True), ("assign", 1, True)])  # the same later
@given(events)
def test_there_is_never_more_than_one_terminal_record(
    tmp_path_factory: pytest.TempPathFactory, happened: list[tuple[str, int, bool]]
) -> None:
    with Journal(tmp_path_factory.mktemp("journal") / "journal.sqlite") as journal:
        sent(journal)
        firsts = 0  # since it was asked for again
        for event, attempt, final in happened:
            before = record_of(journal)
            match event:
                case "assign":
                    if before.state == "waiting":
                        assert sent(journal, f"host{attempt}") == before.attempts + 1
                case "copy":
                    if before.state in ("sent", "running") and not journal.copied():
                        assert journal.copy(TASK, f"host{attempt}", 1.0) == before.attempts + 1
                case "start":
                    journal.start(TASK, attempt, "a", 1.0)
                case "prune":
                    firsts += journal.prune(TASK, "pruned")
                case "again":
                    assert journal.again([TASK]) == firsts
                    firsts = 0
                case "reinstate":
                    journal.reinstate(TASK, attempt, "a")
                case "lost":
                    firsts += journal.lost(TASK, attempt, "lost", final)
                case "done" | "failed" | "stopped" as end:
                    result = dataclasses.replace(FAILED, state=end, attempt=attempt)
                    firsts += journal.finish(result, final)
            after = record_of(journal)
            assert (after.state in ("done", "failed", "pruned")) == (firsts == 1)
            if before.state in ("done", "failed") and event != "again":
                assert after == before
            if attempt < before.first and event not in ("assign", "copy", "prune"):
                assert (after.state, after.host) == (before.state, before.host) or event == "again"
            assert firsts <= 1
            under_way = [each for each in journal.attempts(TASK) if each.state in ("sent", "running")]
            copied = [each for each in journal.attempts(TASK) if each.state == "copied"]
            assert copied == journal.copied()
            if after.state in ("sent", "running"):
                assert len(under_way) == 1
                assert len(copied) <= 1
            else:
                assert after.state != "waiting" or not under_way
            assert after.attempts >= before.attempts


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_the_records_in_order_are_read_page_by_page(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("framework.journal.store._PAGE", page)
    # The same number several times, as after a change of the sweep: it stands on both sides of a page border.
    numbers = (4, 2, 0, 2, 2, 1, 2)
    for task, number in enumerate(numbers):
        journal.assign(f"{task:016}", number, {}, "a", 1.0)
    assert [(record.number, record.task) for record in journal.in_order()] == sorted(
        (number, f"{task:016}") for task, number in enumerate(numbers)
    )


def test_reports_from_before_a_task_was_asked_for_again_do_not_count(journal: Journal) -> None:
    task = "0" * 16
    journal.assign(task, 0, {}, "a", 1.0)
    journal.report(task, 1, 3, 0.5)
    assert journal.prune(task, "pruned at report 3")
    assert not journal.prune(task, "pruned at report 9")
    journal.again([task])
    assert journal.reports() == {}
    assert journal.assign(task, 0, {}, "a", 2.0) == 2
    journal.report(task, 2, 3, 0.7)
    assert journal.reports() == {task: {3: 0.7}}


def test_every_commit_is_synced_to_the_disk(journal: Journal) -> None:
    full = 2
    assert journal._value("PRAGMA synchronous") == full
    assert journal._value("PRAGMA journal_mode") == "wal"
    journal.close()
    with Journal(journal.path) as again:
        assert (again._value("PRAGMA synchronous"), again._value("PRAGMA journal_mode")) == (full, "wal")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_ended_tasks_are_read_page_by_page(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("framework.journal.store._PAGE", 2)
    tasks = [f"{number:016x}" for number in range(count)]
    journal.open_sweep("first")
    for number, task in enumerate(tasks):
        sent(journal, task=task, number=2 * number)
        journal.finish(dataclasses.replace(RESULT, task=task), final=True)
    for number in range(count):
        sent(journal, task=f"{number + 100:016x}", number=2 * number + 1)  # has not ended
    assert [record.task for record in journal.ended_members()] == tasks
    assert list(journal.ended_others()) == []
    journal.open_sweep("second")
    assert [record.task for record in journal.ended_others()] == tasks
    assert list(journal.ended_members()) == []
    journal.mark((count - number, task) for number, task in enumerate(tasks))
    assert [record.task for record in journal.ended_members()] == tasks[::-1]
    assert len(list(journal.in_order())) == 2 * count


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_the_attempts_of_a_sweep_are_read_page_by_page(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("framework.journal.store._PAGE", page)
    journal.open_sweep("first")
    attempts = []
    for number, count in enumerate((3, 1, 2)):
        for attempt in range(1, count + 1):
            sent(journal, task=f"{number:016x}", number=number)
            journal.lost(f"{number:016x}", attempt, "its host is gone", final=False)
            attempts.append((f"{number:016x}", attempt))
    journal.mark((number, f"{number:016x}") for number in range(3))
    assert [(each.task, each.attempt) for each in journal.member_attempts()] == attempts


def test_members_are_those_of_the_current_sweep_with_the_numbers_asked_for(journal: Journal) -> None:
    sent(journal, task="e" * 16, number=3)  # belongs to no sweep
    journal.open_sweep("first")
    for number in range(5):
        sent(journal, host=f"host{number}", task=f"{number:016x}", number=number)
    assert list(journal.members(range(1, 4))) == [1, 2, 3]
    assert journal.members(range(3, 4)) == {3: Member(3, f"{3:016x}", "sent", "host3")}
    assert journal.members(range(3, 3)) == {}
    assert journal.members(range(5, 500)) == {}
    assert journal.last_number() == 4


def test_a_completed_sweep_is_the_current_one_until_another_is_opened(journal: Journal) -> None:
    assert not journal.has_sweep("first")
    journal.open_sweep("first")
    assert not journal.has_sweep("first"), "its tasks are not marked yet"
    journal.complete_sweep()
    with Journal(journal.path, read_only=True) as reader:
        assert reader.has_sweep("first")
        assert not reader.has_sweep("second")
    assert not journal.open_sweep("second")
    assert not journal.has_sweep("first")
    journal.complete_sweep()
    assert journal.open_sweep("second")
    assert journal._value("SELECT count(*) FROM sweeps WHERE complete") == 2


def test_a_sweep_that_is_not_opened_has_no_marks_to_complete(journal: Journal) -> None:
    journal.complete_sweep()
    sent(journal)
    assert not journal.has_sweep("")
    assert members(journal) == {7: TASK}, "tasks of a journal without sweeps belong together"


def test_the_first_attempt_to_report_a_step_counts(journal: Journal) -> None:
    sent(journal)
    journal.lost(TASK, 1, "no sign of a", final=False)
    sent(journal, "b")
    journal.report(TASK, 2, 3, 0.7)  # the younger attempt is the first to be heard
    journal.report(TASK, 2, 9, 0.6)
    journal.report(TASK, 1, 3, 0.5)
    journal.report(TASK, 1, 3, 0.4)
    assert journal.reports() == {TASK: {3: 0.5, 9: 0.6}}
    journal.finish(dataclasses.replace(FAILED, attempt=2), final=True)
    assert journal.reports() == {TASK: {3: 0.5, 9: 0.6}}
    journal.again([TASK])
    journal.report(TASK, 2, 27, 0.1)  # late, of an attempt from before
    assert journal.reports() == {}


def test_several_tasks_are_assigned_at_once_each_with_the_number_of_its_own_next_attempt(
    journal: Journal,
) -> None:
    others = [f"{number:016x}" for number in range(3)]
    assert sent(journal) == 1
    journal.finish(FAILED, final=False)
    attempts = [NewAttempt(task, number, {"C": number}, "b") for number, task in enumerate([*others, TASK])]
    assert journal.assign_all(attempts, 300.0) == [1, 1, 1, 2]
    record = record_of(journal)
    assert (record.state, record.attempts, record.host, record.sent, record.reason) == (
        "sent",
        2,
        "b",
        300.0,
        "",
    )
    assert (record.parameters, record.number) == ({"C": 3}, 3)
    assert [attempt.state for attempt in journal.attempts(TASK)] == ["failed", "sent"]
    assert [each.task for each in journal.under_way()] == [*others, TASK]


def test_tasks_are_assigned_all_or_none(journal: Journal) -> None:
    new = [NewAttempt(f"{number:016x}", number, {}, "a") for number in range(3)]
    sent(journal)
    for wrong in ([*new, NewAttempt(TASK, 7, {}, "a")], [*new, new[0]]):
        with pytest.raises(FrameworkError, match="cannot be sent: it is sent"):
            journal.assign_all(wrong, 1.0)
    assert [each.task for each in journal.under_way()] == [TASK]
    assert journal.assign_all([], 1.0) == []


@pytest.mark.parametrize("seed", range(20))
def test_many_results_at_once_are_written_as_one_after_the_other(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    tasks = [f"{number:016x}" for number in range(8)]
    with Journal(tmp_path / "one.sqlite") as one, Journal(tmp_path / "other.sqlite") as other:
        for _ in range(60):
            task, number = rng.choice(tasks), rng.randint(1, 3)
            result = dataclasses.replace(RESULT, task=task, attempt=number, host=rng.choice("ab"))
            results = [
                dataclasses.replace(result, task=each, attempt=rng.randint(1, 3), metrics={"m": rng.random()})
                for each in rng.choices(tasks, k=rng.randrange(4))
                if one.knows(each)
            ]
            action = rng.randrange(8)
            for journal in (one, other):
                state = record.state if (record := journal.get(task)) else "waiting"
                if action < 3 and state == "waiting":
                    journal.assign(task, 1, {"x": 1}, "a", 1.0)
                elif action == 3 and journal.knows(task):
                    journal.lost(task, number, "lost", final=False)
                elif action == 4 and journal.knows(task):
                    journal.reinstate(task, number, "b")
                elif action == 5:
                    journal.again([task])
                elif action == 6 and journal.knows(task):
                    journal.finish(dataclasses.replace(result, state="failed"), final=False)
                elif action == 7 and state in ("sent", "running"):
                    journal.prune(task, "worse")
            for each in results:
                one.finish(each, final=True)
            written = other.finish_done(results)
            assert len({each.task for each in written}) == len(written)
            for each in results:
                if not any(each is done for done in written):
                    other.finish(each, final=True)
            for table in ("tasks", "attempts"):
                rows = f"SELECT * FROM {table} ORDER BY 1, 2"
                assert list(map(tuple, one._rows(rows))) == list(map(tuple, other._rows(rows)))


def test_results_that_end_nothing_under_way_are_left(journal: Journal) -> None:
    sent(journal)
    journal.lost(TASK, 1, "lost", final=False)
    sent(journal)
    younger = dataclasses.replace(RESULT, attempt=2)
    unknown = dataclasses.replace(RESULT, task="f" * 16)
    assert journal.finish_done([RESULT, unknown]) == []
    assert state(journal) == "sent"
    assert journal.finish_done([younger, younger, unknown]) == [younger]
    assert state(journal) == "done"
    assert journal.finish_done([younger]) == []
