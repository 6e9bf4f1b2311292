"""Messages of workers, runners, tasks and the broker: taken, or refused with nothing changed; never fatal"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

UNIT = Path(__file__).resolve().parents[1] / "unit"
sys.path[:0] = [str(UNIT), str(UNIT.parent)]

from amqp.serialization import decode_properties_basic, dumps  # noqa: E402
from export_bench import write_results  # noqa: E402
from master_bench import Bench, Message, stand_still  # noqa: E402
from worker_bench import DONE, HELLO, FakeRunner, WorkerBench, assignment, name_of  # noqa: E402

from framework.broker.strict_frames import _harmless_header  # noqa: E402
from framework.cli.selected_tasks import select  # noqa: E402
from framework.errors import FrameworkError, MessageError, UsageError  # noqa: E402
from framework.export.sweep_results import SweepResults  # noqa: E402
from framework.files import SWEEP_FILE  # noqa: E402
from framework.messages import queues  # noqa: E402
from framework.messages.assignment import Assignment, AttemptResult  # noqa: E402
from framework.messages.metric_lines import parse_metrics  # noqa: E402
from framework.messages.metrics import flat_metrics, metric_problem  # noqa: E402
from framework.messages.requests import pending  # noqa: E402
from framework.messages.status import read_status, summary  # noqa: E402
from framework.messages.task_ids import task_id  # noqa: E402
from framework.messages.worker_events import parse_event  # noqa: E402
from framework.runner.job import Job  # noqa: E402
from framework.runner.log import RunnerLog  # noqa: E402
from framework.runner.protocol import Lines  # noqa: E402
from framework.runner.runner import Options, Runner, _Link  # noqa: E402
from framework.worker.runner_events import is_hello  # noqa: E402

stand_still(pytest.MonkeyPatch())
MOST_SECONDS = 3.0  # of CPU, for one message
TASKS = [task_id(("train",), {"x": x}) for x in (1, 2, 3, 4)]
HEADER = {"infrastructure": "infra-1", "project": "p", "host": "a"}
RESULT = {
    "task": TASKS[0], "attempt": 1, "host": "a", "state": "done", "started": 5.0, "seconds": 1.0,
    "exit_code": 0, "reason": "", "metrics": {"loss": 0.5}, "code": "v1", "image": "i",
    "infrastructure": "infra-1", "project": "p",
}  # fmt: skip
USE = {"load": 0.5, "cpus": 4, "gpus": [[None, 1, 2]]}
EVENTS: list[Mapping[str, Any]] = [
    HEADER | {
        "kind": "beat", "incarnation": "i", "slots": 2, "running": [f"{TASKS[0]}.1"], "reserved": [],
        "notice": "", "unfit": False, "use": USE,
    },
    HEADER | {"kind": "started", "task": TASKS[0], "attempt": 1, "started": 5.0},
    HEADER | {
        "kind": "metrics", "task": TASKS[0], "attempt": 1, "metrics": {"loss": 1.5}, "reports": [[1, 0.5]],
    },
    HEADER | {"kind": "refused", "reason": "r", "message": "m"},
]  # fmt: skip
REQUESTS: list[Mapping[str, Any]] = [
    {"action": action, "tasks": [[1, TASKS[0]]], "which": which, "hosts": ["a"], "seconds": 1.0}
    for action, which in [
        ("again", None),
        ("again", "failed"),
        ("cancel", None),
        ("drain", None),
        ("pause", None),
    ]
]
STATUS = {
    "updated": time.time() + 10**6, "project": "p", "version": "v", "total": 4, "done": 1, "failed": 0,
    "running": 1, "finished": False, "seconds_left": 3.0,
    "hosts": {"a": {"slots": 1, "running": 1, "reserved": 0, "seconds_since_beat": 1.0, "alive": True}},
    "events": [{"number": 1, "time": 1.0, "kind": "best", "text": "t"}],
    "estimate": {"seconds": 1, "least": 1, "most": 2, "known": 3},
}  # fmt: skip
FINE = name_of("fine")
OF_RUNNER: list[Mapping[str, Any]] = [
    HELLO,
    {"event": "synced"},
    {"event": "taken", "attempt": FINE},
    {"event": "started", "attempt": FINE, "when": 5.0},
    {"event": "metrics", "attempt": FINE, "metrics": {"loss": 1.0}, "reports": [[1, 0.5]]},
    {"event": "exited", "attempt": FINE},
    {"event": "ended", "attempt": FINE, "context": None, "started": 5.0, "execution": DONE},
    {"event": "refused", "attempt": FINE, "reason": "short"},
    {"event": "held", "attempt": FINE, "context": None, "started": 5.0, "ended": "running"},
    {"event": "held", "attempt": FINE, "context": None, "started": None, "ended": DONE},
    {"event": "held", "attempt": "setup-v1.1", "context": None, "started": None, "ended": DONE},
    {"event": "ended", "attempt": "setup-v1.1", "context": None, "started": None, "execution": DONE},
]
JOB = {
    "attempt": FINE,
    "directory": "/t",
    "project_path": "/p",
    "environment": {},
    "command": ["a"],
    "context": None,
}
TO_RUNNER: list[Mapping[str, Any]] = [
    {"do": "welcome", "key": "k"},
    {"do": "run", "jobs": [JOB]},
    {"do": "stop", "attempts": [FINE]},
    {"do": "forget", "attempts": [FINE]},
    {"do": "leave"},
]
RAW = [  # texts of JSON that a template cannot hold
    "NaN", "Infinity", "-Infinity", "1e999", "9" * 400, "9" * 5000, "-0.0", '"\\ud800"', '"\\u0000"',
    '"\\u202e\\u001b[31m"', "[" * 300 + "]" * 300, "[" * 100_000, '{"a":' * 60 + "1" + "}" * 60,
    '"' + "x" * 5000 + '"', "{}", "[]", "[[]]", "null", "true", "0", "-1", "1.5", '""', f'"{TASKS[1]}.1"',
    f'"{TASKS[0]}.2147483648"', '"beat"', '"lost"', '"running"', '["a", "a"]', '{"": ""}', "4102444801",
    '"a"', '"master"', "1" + "0" * 308, "2e308", "[[1, 2, 3, 4]]",
]  # fmt: skip
PIECES = [
    "loss", "=", ": ", " ", ",", "0.5", "{", "}", '"', "'", "[", "]", "\x1b[", "\x1b]", "\x08", "m", "(",
    "tensor(", "np.float64(", ")", " - ", "|", "Epoch 3", "INFO", ":", "2026-01-31 10:00:00,000", "/",
    "1/2", "\\", "nan", "9" * 30, "e", "%", "a.b", "\t", "#", "é", "\ud800", "\0", "Epoch", "[3/10]", "-",
]  # fmt: skip


@dataclass(frozen=True)
class Example:
    """Texts for one reader."""

    reader: str
    texts: tuple[bytes, ...]


def strategy(_: Path | None) -> st.SearchStrategy[Example]:
    raw = st.sampled_from(RAW)
    change = st.tuples(
        st.sampled_from(["value", "value", "value", "drop", "add", "cut", "insert"]), st.integers(0, 500), raw
    )

    def mutated(templates: list[Mapping[str, Any]]) -> st.SearchStrategy[bytes]:
        return st.builds(_mutated, st.sampled_from(templates), st.lists(change, max_size=2)) | st.builds(
            _mutated, st.just({}), st.lists(change, max_size=1)
        )

    def several(reader: str, templates: list[Mapping[str, Any]], most: int) -> st.SearchStrategy[Example]:
        return st.lists(mutated(templates), min_size=1, max_size=most).map(
            lambda texts: Example(reader, tuple(texts))
        )

    line = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from([1, 1, 2, 30, 3000])), max_size=6).map(
        lambda pieces: "".join(piece * times for piece, times in pieces)[: 2**16].encode(
            errors="surrogatepass"
        )
    )
    return st.one_of(
        several("master", [*EVENTS, RESULT], 4),
        several("master", [*EVENTS, RESULT], 4),
        several("worker", OF_RUNNER, 5),
        several("worker", OF_RUNNER, 5),
        several("runner", TO_RUNNER, 5),
        several("requests", REQUESTS, 2),
        several("status", [STATUS], 1),
        several("sweep", [_a_sweep()], 1),
        st.binary(max_size=200).map(lambda data: Example("frames", (data,))),
        line.map(lambda text: Example("metrics", (text,))),
    )


def _a_sweep() -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        return write_results(Path(temporary)).sweep


def _mutated(template: Mapping[str, Any], changes: list[tuple[str, int, str]]) -> bytes:
    """The template as JSON after some changes; those of values first."""
    raws: list[str] = []
    content = json.loads(json.dumps(template))
    for kind, at, raw in changes:
        places = list(_places(content))
        if kind == "add" or not places:
            content[f"k{at}"] = _raw(raws, raw)
        elif kind in ("value", "drop"):
            holder, key = places[at % len(places)]
            if kind == "drop":
                del holder[key]
            else:
                holder[key] = _raw(raws, raw)
    text = json.dumps(content)
    for number, raw in enumerate(raws):
        text = text.replace(f'"<{number}>"', raw)
    for kind, at, raw in changes:
        at = at * 7 % (len(text) + 1)
        if kind == "cut":
            text = text[:at]
        elif kind == "insert":
            text = text[:at] + raw + text[at:]
    return text.encode()


def _raw(raws: list[str], raw: str) -> str:
    raws.append(raw)
    return f"<{len(raws) - 1}>"


def _places(content: Any) -> Any:
    """Each (holder, key) in a tree of JSON."""
    items = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    for key, value in list(items):
        yield content, key
        yield from _places(value)


class Errors(logging.Handler):
    """What is logged with a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.seen.append(record)


ERRORS = Errors()
logging.getLogger().handlers = [ERRORS]


def check(example: Example) -> str:
    ERRORS.seen.clear()
    began = time.process_time()
    with tempfile.TemporaryDirectory() as temporary:
        outcome = READERS[example.reader](Path(temporary), example.texts)
    seconds = time.process_time() - began
    assert seconds < MOST_SECONDS * (len(example.texts) + 1), f"{seconds:.1f} s of CPU"
    return f"{example.reader}: {outcome}"


def _check_nothing_logged() -> None:
    for record in ERRORS.seen:
        assert record.exc_info
        raise record.exc_info[1] or AssertionError(record)


def _master(path: Path, texts: tuple[bytes, ...]) -> str:
    bench = Bench(path)
    bench.messenger.beat("a", slots=2)
    bench.turn()
    quarantined = 0
    for text in texts:
        before = [bench.attempts(task) for task in TASKS]
        count = bench.status().quarantined
        message = Message(queues.RESULTS if b'"state"' in text else queues.EVENTS, text)
        message.properties = {"user_id": "worker@a"}
        bench.messenger.incoming = [message]
        bench.turn()
        assert message.acknowledged
        _check_nothing_logged()
        if bench.status().quarantined > count:
            quarantined += b'"refused"' not in text
            assert [bench.attempts(task) for task in TASKS] == before, (
                "a quarantined message has changed something"
            )
        else:
            _check_accepted(json.loads(text))
    bench.files.quarantine.exists() and bench.files.quarantine.read_text().encode("ascii")
    return "quarantined" if quarantined else "taken"


def _check_accepted(content: Any) -> None:
    """What the master takes is the same after another journey."""
    kinds: list[Callable[[object], Any]] = (
        [AttemptResult.from_message] if "state" in content else [parse_event]
    )
    for kind in kinds:
        message = kind(content)
        assert kind(json.loads(json.dumps(message.to_message()))) == message
    with suppress(MessageError):
        Assignment.from_message(content)


def _worker(path: Path, texts: tuple[bytes, ...]) -> str:
    """A worker whose runner says anything: it goes on, and what it sends is valid, as Recorder checks."""
    bench = WorkerBench(path)
    runner = FakeRunner(bench.worker)
    runner.connect()
    held = bench.begin("fine")
    context = json.dumps(runner.job()["context"]).encode() if runner.sent else b"null"
    outcome = "taken"
    for text in texts:
        try:
            events = Lines().take(text.replace(b'"context": null', b'"context": ' + context) + b"\n")
        except ValueError:
            return "no messages"
        for event in events:
            if event.get("event") == "hello":
                if is_hello(event):
                    bench.worker.on_connected(runner, event)
            else:
                bench.worker.on_event(event)
        bench.beat()
        bench.worker.tick()
    _check_nothing_logged()
    runner.connect()  # a runner that knows nothing of it
    bench.worker.begin(assignment("other"))
    assert held.outcome is not None or not held.awaits_outcome, "an attempt that never ends"
    assert bench.beat()["slots"] >= 0
    return outcome


class Transport:
    """A connection that keeps nothing."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        assert Lines().take(data)

    def abort(self) -> None:
        pass


def _runner(path: Path, texts: tuple[bytes, ...]) -> str:
    """A runner whose worker says anything: it goes on, and its log can be read by the next one."""

    async def say() -> None:
        runner = Runner(Options(path / "log", path / "tasks", link=path / "link"))
        runner._execute = nothing  # type: ignore[method-assign]
        runner._children = runner._functions = None  # type: ignore[assignment]
        for text in (b'{"do": "welcome", "key": "k"}', *texts):
            link = _Link(runner)
            link.connection_made(Transport())
            link.data_received(b'{"do": "welcome", "key": "k"}\n')
            link.data_received(text + b"\n")
            assert all(isinstance(name, str) for name in [*runner._running, *runner._records.entries])
        runner._records.sync()
        entries = runner._records.entries
        runner._records.close()
        assert RunnerLog(path / "log", b"k").entries == entries

    async def nothing(job: Job, attempt: object) -> None:
        job.files.directory  # noqa: B018

    asyncio.run(say())
    return "taken"


def _requests(path: Path, texts: tuple[bytes, ...]) -> str:
    """Requests of the command line: the master executes or removes each."""
    bench = Bench(path)
    bench.files.requests.mkdir()
    for number, text in enumerate(texts):
        (bench.files.requests / f"{number}.json").write_bytes(text)
    taken = len(pending(bench.files.requests))
    bench.messenger.beat("a")
    bench.turn()
    bench.turn()
    _check_nothing_logged()
    assert not list(bench.files.requests.iterdir())
    summary(bench.status())
    return "taken" if taken else "removed"


def _status(path: Path, texts: tuple[bytes, ...]) -> str:
    file = path / "status.json"
    file.write_bytes(texts[0])
    with suppress(FrameworkError):
        read_status(file)
        return "taken"
    return "refused"


def _sweep(path: Path, texts: tuple[bytes, ...]) -> str:
    """Results that a host has sent in place of a sweep.json: refused, or fit for reports and exports."""
    write_results(path)
    (path / SWEEP_FILE).write_bytes(texts[0])
    try:
        results = SweepResults.read(path)
    except UsageError:
        return "refused"
    assert all(note.isprintable() for note in results.notes())
    for run in results.runs():
        assert run.facts
    results.best_first()
    with suppress(UsageError):
        select(results, ["best:3", "failed", "1", "2"])
    return "taken"


def _frames(_: Path, texts: tuple[bytes, ...]) -> str:
    header = b"\0" * 12 + texts[0]
    harmless = _harmless_header(header)
    properties = decode_properties_basic(harmless, 12)[0]
    return (
        "taken"
        if harmless == header
        else f"marked {bool(dumps('F', [properties.get('application_headers', {})]))}"
    )


def _metrics(_: Path, texts: tuple[bytes, ...]) -> str:
    text = texts[0].decode(errors="replace").replace("\n", " ")
    for ranked in (None, "loss"):
        found = parse_metrics(text, ranked)
        assert all(metric_problem(name, value) is None for name, value in found.items()), found
    with suppress(ValueError, RecursionError):
        content = json.loads(text)
        if isinstance(content, dict):
            flat_metrics(content)
    return "found" if found else "none"


READERS: dict[str, Callable[[Path, tuple[bytes, ...]], str]] = {
    "master": _master, "worker": _worker, "runner": _runner, "requests": _requests, "status": _status,
    "sweep": _sweep,
    "frames": _frames, "metrics": _metrics,
}  # fmt: skip
