"""Sweeps of metaparameters on many hosts. User programs need only `from framework import report`."""

from framework.report import report

__all__ = ["report"]
