"""`framework run`: master and worker in one process, without a broker."""
