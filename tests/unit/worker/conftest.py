"""Fixtures of all tests of the worker."""

from worker_bench import bench, live, nvidia_smi, runner

__all__ = ["bench", "live", "nvidia_smi", "runner"]
