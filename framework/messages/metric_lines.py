"""Metrics in lines of output: pairs with a title, logfmt, Keras' progress, JSON.

What may be prose is not read: a line is read as a whole, or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from framework.messages.metrics import Metric, flat_metrics, metric_problem, read_number

_NAME = re.compile(r"[A-Za-z_][\w./@%+-]*")
_TEXT = re.compile(r"[^\s,=]+")

# Colours, other control sequences, and backspaces of progress bars.
_ESCAPE = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x08")
# A number as libraries show it: tensor(0.93, device='cuda:0'), np.float64(0.9), tf.Tensor(1, shape=(), …)
_WRAPPED = re.compile(
    r"\b(?:(?:torch\.|tf\.|jnp\.)?[tT]ensor|(?:np\.|numpy\.|jnp\.)?(?:b?float|u?int|[aA]rray)\d*|Decimal)"
    r"\(\s*['\[]?([-+]?(?:[0-9.]+(?:[eE][-+]?[0-9]+)?|nan|inf))['\]]?(?:,(?:[^()]|\([0-9, ]*\))*)?\)"
)
_TIME = r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?"
# What loggers put before a message: INFO:root:, 2026-01-31 10:00:00,000 - root - INFO - …
_LOG_PREFIX = re.compile(
    r"[^={}]{0,100}?\b(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL)\b"
    r"(?::[\w.]{0,60}:|[\])]?[\s:|-]{1,12}(?:[\w.<>]{1,60}(?::[\w.<>]{1,60}){1,2} - )?)"
    r"|[IWEF]\d{4} [\d:.]+ +\d+ [\w.]{1,60}:\d+\] "
    rf"|{_TIME}[\s:|-]+"
)
_LEAD = re.compile(
    r"(?:\[?(?:epoch|step|iter|iteration|batch|round|fold)[ :#]{0,3}\[?\d+(?: ?/ ?\d+)?\]?[\s:|,-]+)+",
    re.IGNORECASE,
)
_PAIR = re.compile(rf"({_NAME.pattern})=(\"[^\"]*\"|'[^']*'|[^\s,;|=\"']+)(?:\s*[,;|]\s*|\s+-\s+|\s+|$)")
_KERAS_PAIR = re.compile(rf"\s*({_NAME.pattern}): (\S+)\s*")
_KERAS_COUNTER = re.compile(r"\s*\d+/(?:\d+|Unknown)\b")
_WORDS = re.compile(rf"{_NAME.pattern}(?: [\w./@%+-]+){{0,3}}")
_ITEM = re.compile(r"'([^']+)': (.+)")
_SEPARATOR = re.compile(r"[,;|]\s+| - |\t")
_COUNTER = re.compile(r"[A-Za-z]* ?[\[(]?\d")


def parse_metrics(line: str, ranked: str | None = None) -> dict[str, Metric]:
    """The metrics of one line of output; empty if the line is anything else. Never raises.

    `ranked` is the metric that the project ranks by: it is found where other names would be prose, as in
    `name: number`. Not-a-number and infinities are the texts nan, inf and -inf.
    """
    if "\x1b" in line or "\x08" in line:
        line = _ESCAPE.sub("", line)
    if "(" in line:
        line = _WRAPPED.sub(r"\1", line)
    if found := _titled_pairs(line):
        return found
    message = line.strip()
    prefix = _LOG_PREFIX.match(message)
    if prefix:
        message = message[prefix.end() :].strip()
    if message.startswith("{"):
        return _json(message)
    if "=" in message:
        found = (_titled_pairs(message) if prefix else {}) or _logfmt(message)
    elif " - " in message:
        found = _keras(message)
    return found or _parts(message, ranked)


def is_plain(text: str) -> bool:
    """True if a line can carry `text` as a value: it is not empty, and has no spaces, commas or '='."""
    return _TEXT.fullmatch(text) is not None


def is_plain_name(name: str) -> bool:
    """True if a line can carry `name` as the name of any metric, and not only of the ranked one."""
    return _NAME.fullmatch(name) is not None


def _titled_pairs(line: str) -> dict[str, Metric]:
    """The metrics of `Title: name=value, name=value`, where the title may be missing."""
    head, separator, _ = line.partition("=")
    if not separator:
        return {}
    title, colon, _ = head.rpartition(": ")
    metrics: dict[str, Metric] = {}
    for pair in line[len(title) + len(colon) :].split(","):
        name, separator, text = (part.strip() for part in pair.partition("="))
        number = read_number(text)
        value = text if number is None else number
        if not separator or not is_plain(text) or not is_plain_name(name) or metric_problem(name, value):
            return {}
        metrics[name] = value
    return metrics


def _json(message: str) -> dict[str, Metric]:
    """The numbers of a JSON object, or of a Python dictionary of numbers and texts."""
    try:
        content = json.loads(message)
    except (ValueError, RecursionError):
        return _dictionary(message)
    metrics, _ = flat_metrics(content) if isinstance(content, dict) else ({}, [])
    # A text in a log is a level, a time, a message.
    return {name: value for name, value in metrics.items() if not isinstance(value, str) or _is_number(value)}


def _is_number(text: str) -> bool:
    return read_number(text) == text  # nan, inf or -inf


def _dictionary(message: str) -> dict[str, Metric]:
    if not message.endswith("}"):
        return {}
    items = [_ITEM.fullmatch(item) for item in message[1:-1].split(", ")]
    return _numbers([(item[1], item[2]) for item in items if item]) if all(items) else {}


def _logfmt(message: str) -> dict[str, Metric]:
    """The numbers of `epoch=1 loss=0.1 level=info`; one pair is enough after a title, or after `Epoch 3`."""
    title, colon, _ = message.partition("=")[0].rpartition(": ")
    start = len(title) + len(colon)
    if not start and (lead := _LEAD.match(message)):
        start = lead.end()
    pairs, position = [], start
    while position < len(message):
        pair = _PAIR.match(message, position)
        if pair is None:
            return {}
        pairs.append((pair[1], pair[2]))
        position = pair.end()
    return _numbers(pairs) if start or len(pairs) > 1 else {}


def _keras(message: str) -> dict[str, Metric]:
    """The numbers of `10/10 - 1s - loss: 0.1 - accuracy: 0.9`; at least two, if nothing is counted before."""
    segments = message.split(" - ")
    pairs: list[tuple[str, str]] = []
    while segments and (pair := _KERAS_PAIR.fullmatch(segments[-1])) and read_number(pair[2]) is not None:
        pairs.append((pair[1], pair[2]))
        segments.pop()
    is_progress = bool(_KERAS_COUNTER.match(segments[0])) if segments else len(pairs) > 1
    return _numbers(reversed(pairs)) if is_progress else {}


def _parts(message: str, ranked: str | None) -> dict[str, Metric]:
    """The numbers of `Epoch 3/10, train loss: 0.1, accuracy: 0.9`; without `Epoch 3`, of `ranked` alone."""
    lead = _LEAD.match(message)
    if not lead and (not ranked or ranked not in message):
        return {}
    found: dict[str, Metric] = {}
    open_brackets = 0
    for position, part in enumerate(_SEPARATOR.split(message[lead.end() :] if lead else message)):
        at = max(part.rfind("="), part.rfind(":"))
        name, number = part[:at].strip(), read_number(part[at + 1 :].strip())
        if position == 0 and name.endswith(f": {ranked}"):  # behind a title
            name = ranked or ""
        is_spaced = part[at : at + 2] == ": " or part[at : at + 1] == "="  # unlike python:3.13
        if (
            at > 0
            and number is not None
            and (name == ranked or (lead and is_spaced and _WORDS.fullmatch(name)))
        ):
            if open_brackets:
                return {}  # the arguments of something, or a progress bar
            found[name] = number
        elif (position or lead) and at < 1 and not _COUNTER.match(part):
            return {}  # prose
        open_brackets += sum(map(part.count, "([{")) - sum(map(part.count, ")]}"))
    if len(found) == 1 and ranked not in found and "=" not in message:
        return {}  # Step 3: loading: 50%
    return {name: number for name, number in found.items() if metric_problem(name, number) is None}


def _numbers(pairs: Iterable[tuple[str, str]]) -> dict[str, Metric]:
    metrics = {}
    for name, text in pairs:
        number = read_number(text)
        if number is not None and metric_problem(name, number) is None:
            metrics[name] = number
    return metrics
