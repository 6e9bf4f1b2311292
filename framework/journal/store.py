"""Journal store: reads and writes of tasks, attempts and sweeps."""

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from framework.errors import FrameworkError, UnknownTaskError
from framework.journal.database import Database
from framework.journal.records import (
    ENDED,
    AttemptEnd,
    AttemptRecord,
    Member,
    NewAttempt,
    TaskOutcome,
    TaskRecord,
    TaskState,
    TimedTask,
)
from framework.messages.assignment import AttemptResult
from framework.messages.metrics import Metric
from framework.space.values import Value

# With the +, SQLite uses the other conditions of a query, and not the index of all tasks that have ended.
_HAS_ENDED = f"+state IN {tuple(sorted(ENDED))}"
_IS_NUMBER = "(type IN ('integer', 'real') OR value IN ('nan', 'inf', '-inf'))"  # a metric in json_each
_GOES_ON = "state IN ('sent', 'running', 'copied')"  # of an attempt
_SWEEP = "(SELECT ifnull(max(sweep), 0) FROM sweeps)"  # the current sweep
_PAGE = 1000  # tasks read at once


class Journal(Database):
    """The record of all tasks and attempts; one master writes it, and the command line reads it meanwhile."""

    # Transitions of tasks.

    def assign(self, task: str, number: int, parameters: Mapping[str, Value], host: str, when: float) -> int:
        """Write that `task` is about to be sent to `host`; returns the number of the attempt, from 1.

        Raises FrameworkError if the task has ended or is under way.
        """
        return self.assign_all([NewAttempt(task, number, parameters, host)], when)[0]

    def assign_all(self, attempts: Sequence[NewAttempt], when: float) -> list[int]:
        """Write that tasks are about to be sent; returns the numbers of their attempts, in this order.

        Raises FrameworkError if one of the tasks has ended or is under way, or is named twice.
        """
        with self.batch():
            known = self._rows(
                "SELECT task, state, attempts FROM tasks WHERE task IN (SELECT value FROM json_each(?))",
                json.dumps([each.task for each in attempts]),
            )
            before = {task: (str(state), int(number)) for task, state, number in known}
            sweep = self._value(f"SELECT {_SWEEP}")
            numbers, tasks, sent = [], [], []
            for each in attempts:
                state, last = before.get(each.task, ("waiting", 0))
                if state != "waiting":
                    raise FrameworkError(f"task {each.task} cannot be sent: it is {state}")
                before[each.task] = ("sent", last + 1)
                numbers.append(last + 1)
                parameters = json.dumps(dict(each.parameters))
                tasks.append((each.task, each.number, parameters, last + 1, each.host, when, sweep))
                sent.append((each.task, last + 1, each.host, when))
            self._execute_many(
                """INSERT INTO tasks (task, number, parameters, state, attempts, host, sent, sweep)
                VALUES (?, ?, ?, 'sent', ?, ?, ?, ?)
                ON CONFLICT (task) DO UPDATE SET number = excluded.number, sweep = excluded.sweep,
                state = excluded.state, parameters = excluded.parameters,
                attempts = excluded.attempts, host = excluded.host, sent = excluded.sent, started = NULL,
                seconds = NULL, exit_code = NULL, reason = '', code = '', image = '', metrics = '{}'""",
                tasks,
            )
            self._execute_many(
                "INSERT INTO attempts (task, attempt, host, state, sent) VALUES (?, ?, ?, 'sent', ?)", sent
            )
            return numbers

    def copy(self, task: str, host: str, when: float) -> int:
        """Write that a copy of the attempt under way is about to be sent to another host; returns its number.

        The copy is the attempt under way now. If it ends without ending the task, the copied one is it again.
        Raises FrameworkError if the task is not under way, or has a copy.
        """
        with self.batch():
            record = self.get(task)
            if record is None or record.state not in ("sent", "running") or self._copied(task):
                raise FrameworkError(f"task {task} cannot be copied: it is not under way, or has a copy")
            self._execute(f"UPDATE attempts SET state = 'copied' WHERE task = ? AND {_GOES_ON}", task)
            self._execute("UPDATE tasks SET state = 'waiting' WHERE task = ?", task)
            return self.assign(task, record.number, record.parameters, host, when)

    def start(self, task: str, attempt: int, host: str, when: float) -> bool:
        """Write that an attempt runs; False if it runs already, has ended, or was never sent."""
        with self.batch():
            news = self._change(
                """UPDATE attempts SET state = 'running', host = ?, started = ?
                WHERE task = ? AND attempt = ? AND state = 'sent'""",
                host, when, task, attempt,
            )  # fmt: skip
            if news:
                self._change(
                    """UPDATE tasks SET state = 'running', host = ?, started = ?
                    WHERE task = ? AND state = 'sent'""",
                    host, when, task,
                )  # fmt: skip
            return news

    def metrics(self, task: str, attempt: int, metrics: Mapping[str, Metric]) -> None:
        """Write the metrics so far of the attempt of a task that is under way; ignored for others.

        Raises ValueError for what JSON does not have (not-a-number, infinity).
        """
        self._change(
            """UPDATE tasks SET metrics = ? WHERE task = ? AND state IN ('sent', 'running') AND EXISTS
            (SELECT 1 FROM attempts
            WHERE task = tasks.task AND attempt = ? AND state IN ('sent', 'running'))""",
            json.dumps(dict(metrics), allow_nan=False), task, attempt,
        )  # fmt: skip

    def report(self, task: str, attempt: int, step: int, value: float) -> None:
        """Write the value of report number `step` of the project's metric; the first one stays."""
        self._execute(
            "INSERT INTO reports VALUES (?, ?, ?, ?) ON CONFLICT (task, attempt, step) DO NOTHING",
            task, attempt, step, value,  # SQLite keeps not-a-number as NULL
        )  # fmt: skip

    def finish(self, result: AttemptResult, final: bool) -> bool:
        """Write the end of an attempt; True if this is the task's terminal record. The first one stays.

        With `final`, or if it is done, the task ends with it, and its other attempts are stopped. Otherwise
        the task waits to be run again, unless another attempt is under way, or was copied. A result that was
        written before changes nothing; but an attempt that was stopped here, and was done on its host before
        it learned of that, is done. The last attempt of a pruned task adds its duration and metrics to the
        record. An attempt from before the task was requested again is written, and does nothing to the task.
        Raises UnknownTaskError if the task was never assigned.
        """
        with self.batch():
            state, first = self._standing(result.task)
            if state == "pruned":
                self._execute(
                    """UPDATE tasks SET seconds = ?, code = ?, image = ?, metrics = ?
                    WHERE task = ? AND attempts = ? AND seconds IS NULL""",
                    result.seconds, result.code, result.image, json.dumps(dict(result.metrics)),
                    result.task, result.attempt,
                )  # fmt: skip
            if not self.is_new(result):
                return False
            self._execute(
                """INSERT INTO attempts (task, attempt, host, state, started, seconds, exit_code, reason)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                ON CONFLICT (task, attempt) DO UPDATE SET host = excluded.host, state = excluded.state,
                started = excluded.started, seconds = excluded.seconds, exit_code = excluded.exit_code,
                reason = excluded.reason""",
                result.task, result.attempt, result.host, result.state,
                result.started, result.seconds, result.exit_code, result.reason,
            )  # fmt: skip
            if state in ENDED or result.attempt < first:
                return False
            # The next attempt comes after one that was never sent, and is known from a worker's disk.
            self._execute(
                "UPDATE tasks SET attempts = max(attempts, ?) WHERE task = ?", result.attempt, result.task
            )
            ends = final or result.state == "done"
            if ends:
                self._execute(
                    f"""UPDATE attempts SET state = 'stopped', seconds = max(0, ? - started), reason = ?
                    WHERE task = ? AND {_GOES_ON}""",
                    result.started + result.seconds,
                    f"attempt {result.attempt} on {result.host} has ended the task", result.task,
                )  # fmt: skip
            if ends or not self._carry_on(result.task):
                self._execute(
                    """UPDATE tasks SET state = ?, host = ?, started = ?, seconds = ?, exit_code = ?,
                    reason = ?, code = ?, image = ?, metrics = ? WHERE task = ?""",
                    ("done" if result.state == "done" else "failed") if ends else "waiting",
                    result.host, result.started, result.seconds, result.exit_code, result.reason,
                    result.code, result.image, json.dumps(dict(result.metrics)), result.task,
                )  # fmt: skip
            return ends

    def finish_done(self, results: Iterable[AttemptResult]) -> list[AttemptResult]:
        """Write what finish() would write for those of `results` that end the attempt under way of a task.

        All of `results` are done, and none is of a task with a copy. Returns those that it has written, one
        for each task; the others are left to finish().
        """
        with self.batch():
            by_task: dict[str, AttemptResult] = {}
            for result in results:
                by_task.setdefault(result.task, result)
            under_way = self._rows(
                """SELECT task, attempt FROM tasks JOIN attempts USING (task)
                WHERE task IN (SELECT value FROM json_each(?)) AND attempt >= first
                AND tasks.state IN ('sent', 'running') AND attempts.state IN ('sent', 'running')""",
                json.dumps(list(by_task)),
            )
            ended = [by_task[task] for task, attempt in under_way if by_task[task].attempt == attempt]
            ends, others = [], []
            for each in ended:
                end = (each.host, each.started, each.seconds, each.exit_code, each.reason)
                ends.append((*end, each.task, each.attempt))
                metrics = json.dumps(dict(each.metrics))
                others.append((*end, each.code, each.image, metrics, each.attempt, each.task))
            self._execute_many(
                """UPDATE attempts SET state = 'done', host = ?, started = ?, seconds = ?, exit_code = ?,
                reason = ? WHERE task = ? AND attempt = ?""",
                ends,
            )
            self._execute_many(
                """UPDATE tasks SET state = 'done', host = ?, started = ?, seconds = ?, exit_code = ?,
                reason = ?, code = ?, image = ?, metrics = ?, attempts = max(attempts, ?) WHERE task = ?""",
                others,
            )
            return ended

    def lost(self, task: str, attempt: int, reason: str, final: bool) -> bool:
        """Write that no worker holds an attempt. True if the task has failed with it for good (`final`).

        The task waits to be run again if not `final`. An attempt that has ended is left as it is, and a task
        of which another attempt is under way, or was copied, goes on with that one.
        Raises UnknownTaskError if the task was never assigned.
        """
        with self.batch():
            state, _ = self._standing(task)
            open_still = self._change(
                f"""UPDATE attempts SET state = 'lost', reason = ?
                WHERE task = ? AND attempt = ? AND {_GOES_ON}""",
                reason, task, attempt,
            )  # fmt: skip
            if not open_still or state in ENDED or self._carry_on(task):
                return False
            state = "failed" if final else "waiting"
            self._execute("UPDATE tasks SET state = ?, reason = ? WHERE task = ?", state, reason, task)
            return final

    def was_sent(self, task: str, attempt: int, host: str) -> bool:
        """True if the attempt was sent to the host, or is known from its disk."""
        row = self._row(
            "SELECT 1 FROM attempts WHERE task = ? AND attempt = ? AND host = ?", task, attempt, host
        )
        return row is not None

    def reinstate(self, task: str, attempt: int, host: str) -> bool:
        """Write that a lost attempt runs after all; False if it was not lost, or is not wanted any more.

        It is not wanted if the task has ended, or was requested again since. Otherwise it is the attempt
        under way again; a younger one that was sent in its place is stopped.
        Raises UnknownTaskError if the task was never assigned.
        """
        with self.batch():
            state, first = self._standing(task)
            if state in ENDED or attempt < first or self._attempt_state(task, attempt) != "lost":
                return False
            self._execute(
                f"UPDATE attempts SET state = 'stopped', reason = ? WHERE task = ? AND {_GOES_ON}",
                f"attempt {attempt} on {host}, which was thought lost, came back", task,
            )  # fmt: skip
            self._run_on(task, attempt, host)
            return True

    def cancel(self, task: str, number: int, parameters: Mapping[str, Value], when: float) -> bool:
        """Write that `task` is cancelled, whether it has begun or not; False if it has ended already."""
        with self.batch():
            self.adopt(task, number, parameters, when)
            return self._stop(task, "cancelled", "cancelled")

    def prune(self, task: str, reason: str) -> bool:
        """Write that `task` is ended early; False if it has ended already.

        Raises UnknownTaskError if the task was never assigned.
        """
        with self.batch():
            return self._stop(task, "pruned", reason)

    def _stop(self, task: str, state: TaskState, reason: str) -> bool:
        if self._standing(task)[0] in ENDED:
            return False
        self._execute(
            f"UPDATE attempts SET state = 'stopped', reason = ? WHERE task = ? AND {_GOES_ON}", reason, task
        )
        self._execute("UPDATE tasks SET state = ?, reason = ? WHERE task = ?", state, reason, task)
        return True

    def again(self, tasks: Collection[str]) -> int:
        """Write that those of `tasks` that have ended will run again; returns their number.

        They wait as if never tried: attempts until now count no more, but stay known. Others are left alone.
        """
        chosen = json.dumps(list(tasks))
        with self.batch():
            # A task may have ended while a younger attempt of it, or one that was cancelled, still runs.
            self._execute(
                f"""UPDATE attempts SET state = 'stopped', reason = 'the task was requested again'
                WHERE {_GOES_ON} AND task IN
                (SELECT task FROM tasks WHERE task IN (SELECT value FROM json_each(?)) AND {_HAS_ENDED})""",
                chosen,
            )  # fmt: skip
            self._execute(
                f"""DELETE FROM reports WHERE task IN
                (SELECT task FROM tasks WHERE task IN (SELECT value FROM json_each(?)) AND {_HAS_ENDED})""",
                chosen,
            )
            # Attempts that were never sent may have become known from a worker's disk since the task ended.
            self._execute(
                f"""UPDATE tasks SET attempts =
                max(attempts, ifnull((SELECT max(attempt) FROM attempts WHERE task = tasks.task), 0))
                WHERE task IN (SELECT value FROM json_each(?)) AND {_HAS_ENDED}""",
                chosen,
            )
            return self._execute(
                f"""UPDATE tasks SET state = 'waiting', first = attempts + 1, started = NULL, seconds = NULL,
                exit_code = NULL, reason = '', code = '', image = '', metrics = '{{}}'
                WHERE task IN (SELECT value FROM json_each(?)) AND {_HAS_ENDED}""",
                chosen,
            ).rowcount  # fmt: skip

    def adopt(self, task: str, number: int, parameters: Mapping[str, Value], when: float) -> None:
        """Make a task of the current sweep known; only its number changes if it is known."""
        self._execute(
            f"""INSERT INTO tasks (task, number, parameters, state, attempts, host, sent, sweep)
            VALUES (?, ?, ?, 'waiting', 0, '', ?, {_SWEEP})
            ON CONFLICT (task) DO UPDATE SET number = excluded.number, sweep = excluded.sweep""",
            task, number, json.dumps(dict(parameters)), when,
        )  # fmt: skip

    # Sweeps.

    def open_sweep(self, definition: str) -> bool:
        """Make the sweep with this definition the current one; True if its tasks are marked already.

        A sweep that is not the current one begins without tasks: mark them, then call complete_sweep().
        """
        with self.batch():
            row = self._row("SELECT definition, complete FROM sweeps ORDER BY sweep DESC LIMIT 1")
            if row is None or row["definition"] != definition:
                self._execute("INSERT INTO sweeps (definition) VALUES (?)", definition)
                return False
            return bool(row["complete"])

    def mark(self, members: Iterable[tuple[int, str]]) -> None:
        """Write that tasks belong to the current sweep, each given with the number of its combination."""
        for number, task in members:
            self._execute(
                f"""UPDATE tasks SET sweep = {_SWEEP}, number = ?
                WHERE task = ? AND (sweep != {_SWEEP} OR number != ?)""",
                number, task, number,
            )  # fmt: skip

    def complete_sweep(self) -> None:
        """Write that every task of the current sweep is marked."""
        self._execute(f"UPDATE sweeps SET complete = 1 WHERE sweep = {_SWEEP} AND NOT complete")

    def is_sweep_complete(self) -> bool:
        """True if all tasks of the current sweep are marked."""
        row = self._row(f"SELECT complete FROM sweeps WHERE sweep = {_SWEEP}")
        return row is not None and bool(row["complete"])

    def has_sweep(self, definition: str) -> bool:
        """True if the sweep with this definition is the current one, and all its tasks are marked."""
        row = self._row(f"SELECT definition FROM sweeps WHERE sweep = {_SWEEP}")
        return row is not None and row["definition"] == definition and self.is_sweep_complete()

    def members(self, numbers: Sequence[int]) -> dict[int, Member]:
        """The tasks of the current sweep with these numbers, by number."""
        rows = self._rows(
            f"""SELECT number, task, state, host FROM tasks
            WHERE sweep = {_SWEEP} AND number IN (SELECT value FROM json_each(?))""",
            json.dumps(list(numbers)),
        )
        return {row["number"]: Member(*row) for row in rows}

    def is_member(self, task: str) -> bool:
        """True if the task belongs to the current sweep."""
        return self._row(f"SELECT 1 FROM tasks WHERE task = ? AND sweep = {_SWEEP}", task) is not None

    def last_number(self) -> int:
        """The greatest number of a task of the current sweep; -1 if it has none."""
        row = self._row(f"SELECT max(number) AS last FROM tasks WHERE sweep = {_SWEEP}")
        return -1 if row is None or row["last"] is None else int(row["last"])

    def ended_members(self) -> Iterator[TaskRecord]:
        """The tasks of the current sweep that have ended, in the order of their numbers."""
        last = -1
        while rows := self._rows(
            f"""SELECT * FROM tasks WHERE sweep = {_SWEEP} AND number > ? AND {_HAS_ENDED}
            ORDER BY number LIMIT {_PAGE}""",
            last,
        ):
            yield from map(_task_record, rows)
            last = rows[-1]["number"]

    def ended_others(self) -> Iterator[TaskRecord]:
        """The tasks that have ended and do not belong to the current sweep."""
        last = 0
        while rows := self._rows(
            f"""SELECT rowid, * FROM tasks WHERE rowid > ? AND sweep != {_SWEEP} AND {_HAS_ENDED}
            ORDER BY rowid LIMIT {_PAGE}""",
            last,
        ):
            yield from (_task_record(row) for _, *row in rows)
            last = rows[-1][0]

    def ended_counts(self) -> list[tuple[TaskOutcome, int]]:
        """The tasks of the current sweep that have ended: how many of each outcome."""
        rows = self._rows(
            f"""SELECT state, code, image, count(*) FROM tasks WHERE sweep = {_SWEEP} AND {_HAS_ENDED}
            GROUP BY state, code, image"""
        )
        return [(TaskOutcome(*outcome), number) for *outcome, number in rows]

    # Tasks and attempts.

    def is_new(self, result: AttemptResult) -> bool:
        """True if finish() would take this result as one that it has not seen yet."""
        before = self._attempt_state(result.task, result.attempt)
        return before not in ("done", "failed", "timeout") and (before != "stopped" or result.state == "done")

    def knows(self, task: str) -> bool:
        """True if there is a record of the task."""
        return self._row("SELECT 1 FROM tasks WHERE task = ?", task) is not None

    def get(self, task: str) -> TaskRecord | None:
        row = self._row("SELECT * FROM tasks WHERE task = ?", task)
        return None if row is None else _task_record(row)

    def records(self, tasks: Sequence[str]) -> dict[str, TaskRecord]:
        """The records of those of `tasks` that have one."""
        rows = self._rows(
            "SELECT * FROM tasks WHERE task IN (SELECT value FROM json_each(?))", json.dumps(list(tasks))
        )
        return {record.task: record for record in map(_task_record, rows)}

    def outcomes(self, tasks: Collection[str]) -> dict[str, TaskOutcome]:
        """The outcomes of those of `tasks` that are known; costs a fraction of records()."""
        rows = self._rows(
            "SELECT task, state, code, image FROM tasks WHERE task IN (SELECT value FROM json_each(?))",
            json.dumps(list(tasks)),
        )
        return {task: TaskOutcome(*others) for task, *others in rows}

    def in_order(self) -> Iterator[TaskRecord]:
        """The records of all tasks in the order of their numbers, tasks of older sweeps included."""
        last = (-1, "")
        while rows := self._rows(
            f"SELECT * FROM tasks WHERE (number, task) > (?, ?) ORDER BY number, task LIMIT {_PAGE}", *last
        ):
            yield from map(_task_record, rows)
            last = (rows[-1]["number"], rows[-1]["task"])

    def reports(self) -> dict[str, dict[int, float]]:
        """The reports of each task, by their number; of several attempts the first to make it counts.

        Attempts from before the task was requested again do not count.
        """
        reports: dict[str, dict[int, float]] = {}
        rows = self._rows(
            """SELECT task, step, value FROM reports JOIN tasks USING (task)
            WHERE attempt >= first ORDER BY step, attempt"""
        )
        for task, step, value in rows:
            reports.setdefault(task, {}).setdefault(step, math.nan if value is None else value)
        return reports

    def attempts(self, task: str) -> list[AttemptRecord]:
        """All attempts of a task, the first one first."""
        rows = self._rows("SELECT * FROM attempts WHERE task = ? ORDER BY attempt", task)
        return [AttemptRecord(*row) for row in rows]

    def member_attempts(self) -> Iterator[AttemptRecord]:
        """All attempts of the tasks of the current sweep."""
        last = ("", 0)
        while rows := self._rows(
            f"""SELECT attempts.* FROM attempts JOIN tasks USING (task)
            WHERE tasks.sweep = {_SWEEP} AND (attempts.task, attempt) > (?, ?)
            ORDER BY attempts.task, attempt LIMIT {_PAGE}""",
            *last,
        ):
            yield from (AttemptRecord(*row) for row in rows)
            last = (rows[-1]["task"], rows[-1]["attempt"])

    def under_way(self) -> list[AttemptRecord]:
        """The attempts that were sent or run, at most one for each task, in the order of the sweep."""
        rows = self._rows(
            """SELECT attempts.* FROM tasks JOIN attempts USING (task)
            WHERE tasks.state IN ('sent', 'running') AND attempts.state IN ('sent', 'running')
            ORDER BY tasks.number"""
        )
        return [AttemptRecord(*row) for row in rows]

    def copied(self) -> list[AttemptRecord]:
        """The attempts of tasks under way of which a copy is under way, at most one for each task."""
        rows = self._rows(
            """SELECT attempts.* FROM tasks JOIN attempts USING (task)
            WHERE tasks.state IN ('sent', 'running') AND attempts.state = 'copied'"""
        )
        return [AttemptRecord(*row) for row in rows]

    def attempts_ended(self, task: str, states: Iterable[AttemptEnd]) -> int:
        """The number of attempts that ended in one of `states` since the task was requested."""
        chosen = set(states)
        return sum(attempt.state in chosen for attempt in self._attempts_that_count(task))

    def failed_on(self, task: str) -> set[str]:
        """The hosts on which an attempt failed or ran too long since the task was requested."""
        return {each.host for each in self._attempts_that_count(task) if each.state in ("failed", "timeout")}

    def counts(self) -> dict[TaskState, int]:
        """The number of tasks in each state, tasks of older sweeps included."""
        counts: dict[TaskState, int] = {"waiting": 0, "sent": 0, "running": 0, "done": 0, "failed": 0}
        counts.update(
            (row[0], row[1]) for row in self._rows("SELECT state, count(*) FROM tasks GROUP BY state")
        )
        return counts

    def has_any(self, states: Collection[str]) -> bool:
        """True if any task of the current sweep is in one of `states`."""
        row = self._row(
            f"""SELECT 1 FROM tasks WHERE sweep = {_SWEEP} AND state IN (SELECT value FROM json_each(?))
            LIMIT 1""",
            json.dumps(list(states)),
        )
        return row is not None

    def latest_timed(self, most: int) -> list[TimedTask]:
        """The attempts that were done last, and tasks that were pruned, at most so many, the oldest first.

        Those of other sweeps count, and those from before a task was requested again.
        """
        rows = self._rows(
            """SELECT attempts.task, attempts.host, parameters, attempts.seconds, attempts.started
            FROM attempts JOIN tasks USING (task)
            WHERE attempts.state = 'done' AND attempts.seconds IS NOT NULL
            UNION ALL SELECT task, host, parameters, seconds, started FROM tasks
            WHERE state = 'pruned' AND seconds IS NOT NULL
            ORDER BY 5 DESC, 1 LIMIT ?""",
            most,
        )
        return [
            TimedTask(task, host, json.loads(parameters), seconds)
            for task, host, parameters, seconds, _ in reversed(rows)
        ]

    def latest_failed(self, most: int) -> list[TaskRecord]:
        """The tasks of the current sweep that failed last, at most so many, the last one first."""
        rows = self._rows(
            f"""SELECT * FROM tasks WHERE sweep = {_SWEEP} AND state = 'failed'
            ORDER BY ifnull(started, sent) + ifnull(seconds, 0) DESC, number LIMIT ?""",
            most,
        )
        return list(map(_task_record, rows))

    def note_program(self, code: str, program: str) -> None:
        """Write that the version `code` of framework and project holds this version of the program."""
        self._execute(
            "INSERT INTO programs (code, program) VALUES (?, ?) ON CONFLICT (code) DO NOTHING", code, program
        )

    def programs(self) -> dict[str, str]:
        """The programs that note_program() was given, by version of the code."""
        return dict(map(tuple, self._rows("SELECT code, program FROM programs")))

    def metric_names(self) -> set[str]:
        """The names of all metrics that any ended task has."""
        return self._names("metrics")

    def sweep_metric_names(self) -> set[str]:
        """The names of all metrics that any task of the current sweep has."""
        rows = self._rows(
            f"SELECT DISTINCT key FROM tasks, json_each(tasks.metrics) WHERE tasks.sweep = {_SWEEP}"
        )
        return {name for (name,) in rows}

    def metric_counts(self, metric: str) -> tuple[int, int, int]:
        """The done tasks of the current sweep: all, those with this metric, those where it is finite.

        A metric that is text other than nan, inf and -inf does not count.
        """
        row = self._row(
            f"""SELECT count(*), count(type), ifnull(sum(type != 'text'), 0) FROM
            (SELECT (SELECT type FROM json_each(tasks.metrics) WHERE key = ? AND {_IS_NUMBER}) AS type
            FROM tasks WHERE sweep = {_SWEEP} AND +state = 'done')""",
            metric,
        )
        return (0, 0, 0) if row is None else (row[0], row[1], row[2])

    def best(self, metric: str, goal: Literal["maximize", "minimize"]) -> TaskRecord | None:
        """The done task of the current sweep with the best finite value of this metric; None without any."""
        order = "DESC" if goal == "maximize" else "ASC"
        row = self._row(
            f"""SELECT tasks.* FROM tasks, json_each(tasks.metrics) WHERE tasks.sweep = {_SWEEP}
            AND +state = 'done' AND key = ? AND type IN ('integer', 'real')
            ORDER BY value {order}, number LIMIT 1""",
            metric,
        )
        return None if row is None else _task_record(row)

    def has_metric(self, metric: str) -> bool:
        """True if any task of the current sweep, also one that runs, has this metric as a number."""
        row = self._row(
            f"""SELECT 1 FROM tasks, json_each(tasks.metrics)
            WHERE tasks.sweep = {_SWEEP} AND key = ? AND {_IS_NUMBER} LIMIT 1""",
            metric,
        )
        return row is not None

    def parameter_names(self) -> set[str]:
        """The names of all metaparameters that any ended task has."""
        return self._names("parameters")

    def check_room(self) -> None:
        """Raises JournalError if nothing can be written now."""
        with self.batch():
            # It needs pages of its own: it does not fit into the rest of a page.
            self._execute("CREATE TABLE IF NOT EXISTS room (filling BLOB)")
            self._execute("INSERT INTO room VALUES (zeroblob(100000))")
            self._execute("DROP TABLE room")

    def _names(self, column: Literal["metrics", "parameters"]) -> set[str]:
        rows = self._rows(f"SELECT DISTINCT key FROM tasks, json_each(tasks.{column}) WHERE {_HAS_ENDED}")
        return {name for (name,) in rows}

    def _standing(self, task: str) -> tuple[str, int]:
        """The state of a task, and the first of its attempts that count."""
        row = self._row("SELECT state, first FROM tasks WHERE task = ?", task)
        if row is None:
            raise UnknownTaskError(f"task {task} is not in the journal")
        return str(row["state"]), int(row["first"])

    def _attempts_that_count(self, task: str) -> list[AttemptRecord]:
        rows = self._rows(
            "SELECT attempts.* FROM attempts JOIN tasks USING (task) WHERE task = ? AND attempt >= first",
            task,
        )
        return [AttemptRecord(*row) for row in rows]

    def _attempt_state(self, task: str, attempt: int) -> str | None:
        row = self._row("SELECT state FROM attempts WHERE task = ? AND attempt = ?", task, attempt)
        return None if row is None else str(row["state"])

    def _open_attempt(self, task: str) -> int | None:
        """The attempt of a task that is under way; there is never more than one."""
        row = self._row("SELECT attempt FROM attempts WHERE task = ? AND state IN ('sent', 'running')", task)
        return None if row is None else int(row["attempt"])

    def _copied(self, task: str) -> tuple[int, str] | None:
        """The number and the host of the attempt of a task that was copied; there is never more than one."""
        row = self._row("SELECT attempt, host FROM attempts WHERE task = ? AND state = 'copied'", task)
        return None if row is None else (int(row["attempt"]), str(row["host"]))

    def _carry_on(self, task: str) -> bool:
        """Have the copied attempt be the one under way if its copy has ended; False if none is under way."""
        if self._open_attempt(task) is None:
            copied = self._copied(task)
            if copied is None:
                return False
            self._run_on(task, *copied)
        return True

    def _run_on(self, task: str, attempt: int, host: str) -> None:
        """Write that this attempt, which has not ended, is the one under way."""
        self._execute(
            """UPDATE attempts SET state = 'running', host = ?, reason = ''
            WHERE task = ? AND attempt = ?""",
            host, task, attempt,
        )  # fmt: skip
        self._execute(
            """UPDATE tasks SET state = 'running', host = ?, reason = '', started =
            (SELECT started FROM attempts WHERE attempts.task = tasks.task AND attempt = ?)
            WHERE task = ?""",
            host, attempt, task,
        )  # fmt: skip


def _task_record(row: Iterable[Any]) -> TaskRecord:
    task, number, parameters, *others, metrics, first, _ = row  # the last column is the sweep
    columns: list[Any] = [task, number, json.loads(parameters), *others, json.loads(metrics), first]
    return TaskRecord(*columns)
