"""Messages between command line, master and workers: frozen, and checked on arrival."""
