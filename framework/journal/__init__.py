"""The SQLite journal: the record of every task, and all that is read from it."""
