"""Modules that tasks can import: this directory is their PYTHONPATH."""
