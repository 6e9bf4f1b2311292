"""Names of the queues between master and workers."""

RESULTS = "results"
EVENTS = "reports"  # events of workers; brokers that are in use have the name of earlier versions
DEAD = "dead"  # what could not be delivered, and what a worker's Celery has rejected


def tasks_of(host: str) -> str:
    """The queue of what one worker host is to run."""
    return f"tasks.{host}"
