"""Order of a sweep: the task that runs next, and every transition of a task."""
