"""Plotly's program for browsers."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.errors import UsageError
from framework.web import plotly_bundle
from framework.web.plotly_bundle import read_plotly


def test_plotly_is_the_package_or_the_file_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "plotly" in read_plotly()[:200]
    (tmp_path / "own.js").write_text("own")
    monkeypatch.setenv("PLOTLY", str(tmp_path / "own.js"))
    assert read_plotly() == "own"
    monkeypatch.delenv("PLOTLY")
    monkeypatch.setattr(plotly_bundle, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install '\.\[report\]'"):
        read_plotly()
