"""Names of tasks in Flower: the project and metaparameters that the master calls them by

To Celery, all tasks have one name. Celery and Flower keep some data for each name as long as they run, so
that names of their own would fill the memory. A task gets its name where Flower shows it or searches for it,
and nowhere else.
"""

from __future__ import annotations

import copy
from typing import Any

from flower.utils.search import SearchDocument


def named(task: Any) -> Any:
    """`task` with a name of its own; Flower gives a copy of what it keeps."""
    if isinstance(task.args, str) and task.args:
        task.name = task.args
    return task


def find_by_name() -> None:
    """Have Flower's search find tasks by these names, to which its pages link."""
    from_task = SearchDocument.from_task
    SearchDocument.from_task = lambda task: from_task(named(copy.copy(task)))
