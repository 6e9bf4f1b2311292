"""Page of a sweep: one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from framework.web.plotly_bundle import read_plotly


def render_page(
    sweep: Mapping[str, Any],
    importance: tuple[Mapping[str, float], str],
    curves: Mapping[str, Sequence[float]],
    *,
    is_live: bool = False,
) -> str:
    """The page of a sweep. `sweep`: the content of sweep.json; `importance`: see importance_of().

    `curves`: values of the metric by task, the best one first. `is_live`: it asks for newer data, at
    /sweep/status.json and /sweep/sweep.json. Raises UsageError if Plotly is missing.
    """
    finite = {
        task: [value if math.isfinite(value) else None for value in values] for task, values in curves.items()
    }
    content = {**sweep, "importance": importance[0], "importance_reason": importance[1], "curves": finite}
    parts = {
        "connect": "'self'" if is_live else "'none'",
        "live": "yes" if is_live else "no",
        "style": _own("page.css"),
        "data": _in_script(json.dumps(content, ensure_ascii=False, allow_nan=False)),
        "plotly": read_plotly(),
        "program": _own("page.js"),
    }
    return re.sub(
        r"\{(connect|live|style|data|plotly|program)\}", lambda mark: parts[mark[1]], _own("page.html")
    )


def _own(name: str) -> str:
    return files("framework.web").joinpath(name).read_text(encoding="utf-8")


def _in_script(text: str) -> str:
    """JSON as the content of a <script> element, which '</script' or '<!--' in it would end."""
    return text.replace("<", "\\u003c")
