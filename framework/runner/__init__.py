"""Execution of attempts: processes, their output, their metrics."""
