"""A project as it runs: command or function, needs of a task, files that belong to it."""
