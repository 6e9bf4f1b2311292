"""Output of attempts: metrics while it is written, in bounded memory, and the metrics file."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from attempt_bench import CommandBench
from runner_bench import wait_until

from framework.messages.metrics import Metric
from framework.project.early_termination import EarlyTermination
from framework.runner import output


def test_metrics_come_while_it_runs(commands: CommandBench) -> None:
    end = commands.project / "end"

    def let_it_end() -> None:
        wait_until(lambda: len(commands.seen) >= 3)
        end.touch()

    thread = threading.Thread(target=let_it_end)
    thread.start()
    found = commands.python(
        "import itertools, os, time\n"
        "for i in itertools.count():\n"
        "    print(f'Step: i={i}', flush=True)\n"
        f"    if os.path.exists({str(end)!r}): break\n"
        "    time.sleep(0.1)"
    )
    thread.join()
    steps = [int(seen["i"]) for seen in commands.seen]
    assert steps == sorted(set(steps))
    assert int(found.metrics["i"]) >= steps[-1]
    assert (len(steps) - 1) * output.METRICS_SECONDS < found.seconds


def test_an_error_in_on_metrics_is_not_the_tasks(
    commands: CommandBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(metrics: dict[str, Metric], reports: list[tuple[int, Metric]]) -> None:
        raise RuntimeError("the broker is gone")

    monkeypatch.setattr(commands, "on_metrics", fail)
    found = commands.shell("echo a=1; sleep 0.7")
    assert (found.state, found.metrics) == ("done", {"a": 1})


def test_output_of_all_kinds(commands: CommandBench) -> None:
    found = commands.python(
        "import os, time\n"
        "def write(data): os.write(1, data)\n"
        "write(b'a=1'); time.sleep(0.7); write(b'2\\n')\n"  # a line in two parts
        "write(b'\\xff\\xfe b=1\\n' + b'Epoch \\xc3\\x28: c=3\\n')\n"
        "write(b'10%\\rProgress: d=4\\r100%\\n')\n"
        "write(b'x' * 200_000); time.sleep(0.7); write(b', e=1\\nT: f=6\\n')\n"  # a line that is too long
        "write(b'\\n\\0g=7\\n')\n"
        "write(b'h=8')"  # the last line is not finished
    )
    assert found.metrics == {"a": 12, "c": 3, "d": 4, "f": 6, "h": 8}


# Prints the size of the output, and how much the peak of memory grows, in KiB, measured in a process of its
# own, as other tests raise the peak too. VmHWM begins with exec; getrusage() includes what was before.
MEMORY = """
import sys
import os
import subprocess
import sys
from pathlib import Path
from attempt_bench import CommandBench

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

bench = CommandBench(Path(sys.argv[1]))
bench.run("echo", "x=1", files=bench.attempt("0" * 16))
before = peak()
found = bench.shell(sys.argv[2])
assert (found.state, found.metrics) == ("done", {"a": 1}), found
print(bench.files.stdout.stat().st_size + bench.files.stderr.stat().st_size, peak() - before)
"""


@pytest.mark.parametrize(
    "script",
    [
        "head -c 60000000 /dev/zero; echo; echo a=1",
        "head -c 60000000 /dev/zero | tr '\\0' '\\n'; echo a=1",
        "exec >&2; head -c 60000000 /dev/zero; echo; yes 'a b: c' | head -c 100000; echo a=1",
    ],
    ids=["one line", "many lines", "a log"],
)
def test_much_output_costs_no_memory(tmp_path: Path, script: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    measured = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path, script], env=environment, stdout=subprocess.PIPE, check=True
    )
    written, grown = map(int, measured.stdout.split())
    assert written > 60_000_000
    assert grown < 15_000  # KiB


def test_more_metrics_than_a_result_can_hold(commands: CommandBench) -> None:
    found = commands.python("for i in range(600): print(f'm{i}={i}')\nprint('accuracy=0.5\\nloss=1')")
    assert found.state == "done"
    assert found.metrics["accuracy"] == 0.5, "results are ranked by it"
    assert len(found.metrics) == output.MOST_METRICS + 1
    assert "the others are ignored" in found.reason


def test_a_text_does_not_replace_a_number(commands: CommandBench) -> None:
    found = commands.shell("printf 'a=low\\na=1\\na=high\\nb=1\\nb=nan\\nc=x\\nc=y\\n'")
    assert found.metrics == {"a": 1, "b": "nan", "c": "y"}


def test_metrics_are_read_from_stderr_but_no_texts_and_no_code(commands: CommandBench) -> None:
    found = commands.python(
        "import logging\n"
        "logging.basicConfig(level='INFO')\n"
        "logging.info('accuracy: 0.5'); logging.info('Epoch 1: a=1, b=hot')\n"
        "import sys; print('  c = 4\\nd=text\\ne=1', file=sys.stderr)\n"
        "print('e=2')"
    )
    assert (found.state, found.metrics) == ("done", {"accuracy": 0.5, "a": 1, "e": 2})
    assert "accuracy: 0.5" in commands.files.stderr.read_text()


def test_a_log_that_repeats_what_is_printed_makes_no_more_reports(commands: CommandBench) -> None:
    commands.early_termination = EarlyTermination("asha", 2, None, 2)
    commands.python(
        "import sys\n"
        "for i in range(5):\n"
        "    print(f'accuracy={i}', flush=True)\n"
        "    print(f'INFO:root:accuracy={i}', file=sys.stderr)"
    )
    assert commands.reports == [(2, 1), (4, 3)]


@pytest.mark.parametrize(
    ("text", "metrics", "remark"),
    [
        ('{"b": 2, "a": 3.5, "on": true, "bad": NaN}', {"a": 3.5, "b": 2, "on": 1, "bad": "nan"}, ""),
        (
            '{"b": [1], "c": {"d": 1}, "e": null}',
            {"a": 1, "c.d": 1},
            "metrics.json: metric b: a value is a number or text, not list; 1 more values are ignored",
        ),
        (f'{{"b": 1{"0" * 400}}}', {"a": 1, "b": "inf"}, ""),
        ('{"b\\n": 1, "b c": 2}', {"a": 1, "b c": 2}, "metrics.json: 'b\\n' cannot name a metric"),
        ("[1]", {"a": 1}, "metrics.json is ignored: it is not a JSON object"),
        ("{", {"a": 1}, "metrics.json is ignored: it is not JSON ("),
        ("", {"a": 1}, "metrics.json is ignored: it is not JSON ("),
        ("[" * 100_000, {"a": 1}, "metrics.json is ignored: it is not JSON ("),
        (" " * 2_000_000, {"a": 1}, "metrics.json is ignored: it is larger than"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_metrics_file(commands: CommandBench, text: str, metrics: dict[str, Metric], remark: str) -> None:
    (commands.project / "text").write_text(text)
    found = commands.shell('echo a=1; cp text "$TASK_DIR/metrics.json"')
    assert (found.state, found.metrics) == ("done", metrics)
    assert found.reason.startswith(remark)
    assert bool(found.reason) == bool(remark)


def test_a_metrics_file_that_is_none(commands: CommandBench) -> None:
    found = commands.shell("mkfifo metrics.json")
    assert (found.state, found.metrics, found.reason) == ("done", {}, "")
