"""Benches of workers: with a runner that only records, and with the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from worker_bench import FakeRunner, RunnerBench, WorkerBench, running


@pytest.fixture
def bench(tmp_path: Path) -> WorkerBench:
    """With a runner that only records."""
    return WorkerBench(tmp_path)


@pytest.fixture
def runner(bench: WorkerBench) -> FakeRunner:
    """That of the bench, connected."""
    return bench.connect_fake()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunnerBench]:
    """With a runner that executes."""
    with running(RunnerBench(tmp_path)) as bench:
        yield bench
