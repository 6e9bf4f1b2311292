"""Names of the queues between master and workers, and the longest message in them."""

RESULTS = "results"
EVENTS = "reports"  # events of workers; brokers that are in use have the name of earlier versions
DEAD = "dead"  # what could not be delivered, and what a worker's Celery has rejected
CONTROL = "control"  # of Celery's remote control: part of the names of its exchanges and queues

# Header in place of all others where properties or body cannot be decoded: the reason.
MALFORMED = "malformed"

LONGEST_MESSAGE = 4 * 2**20  # bytes; no valid message is as long, and the broker refuses longer ones


def tasks_of(host: str) -> str:
    """The queue of what one worker host is to run."""
    return f"tasks.{host}"
