"""Decisions: the task that runs next, the host that runs it, the end of a failed task."""
