"""Names of the queues between master and workers."""

RESULTS = "results"
EVENTS = "reports"  # of workers; the name is that of earlier versions, which brokers have in use
DEAD = "dead"  # what could not be delivered, and what a worker's Celery has rejected


def tasks_of(host: str) -> str:
    """The queue of what one worker host is to run."""
    return f"tasks.{host}"
