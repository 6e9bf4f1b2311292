"""Pages of the sweep beside those of Flower: the live page, its data, and output of tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flower import urls
from flower.views import BaseHandler
from tornado.ioloop import IOLoop
from tornado.web import HTTPError, StaticFileHandler, authenticated, url

from framework.broker.output_request import ask_for_output
from framework.errors import MessageError
from framework.files import STATUS_FILE, SWEEP_FILE
from framework.messages.checks import is_host
from framework.messages.task_ids import AttemptId
from framework.web.page import render_page

PUBLISHED = Path("/published")  # the master's directory of that name
_NOTHING_YET = {
    "version": 1, "project": "sweep", "metric": None, "goal": "maximize", "written": 0, "combinations": 0,
    "parameters": [], "metrics": [], "warning": "the master has published nothing yet", "tasks": [],
    "under_way": [], "attempts": [],
}  # fmt: skip
_NOT_LIVE = "is in the report, which get_results.sh --report writes"


class LivePage(BaseHandler):  # type: ignore[misc]
    """The page itself."""

    @authenticated
    async def get(self) -> None:
        """Send the page with the data of this moment."""
        page = await IOLoop.current().run_in_executor(None, _page)
        self.set_header("Cache-Control", "no-store")
        self.finish(page)


class PublishedFile(BaseHandler, StaticFileHandler):  # type: ignore[misc]
    """A file that the master publishes; a browser that has it already is not sent it again."""

    @authenticated
    def prepare(self) -> None:
        """Ask for the password first."""


class OutputTailOf(BaseHandler):  # type: ignore[misc]
    """The last lines of the output of an attempt, asked of its host's worker now."""

    @authenticated
    async def get(self) -> None:
        """Send stdout and stderr as JSON, or the `problem` why they are not known; 400 for a bad question."""
        host = self.get_query_argument("host")
        try:
            attempt = AttemptId.parse(self.get_query_argument("attempt"))
        except MessageError as error:
            raise HTTPError(400) from error
        if not is_host(host):
            raise HTTPError(400)
        answer = await IOLoop.current().run_in_executor(None, ask_for_output, self.capp, host, attempt)
        self.set_header("Cache-Control", "no-store")
        self.finish(answer)


def add_pages() -> None:
    """Add the pages to those of Flower; its last handler takes all that no other one does."""
    published = {"path": str(PUBLISHED)}
    urls.handlers[-1:-1] = [
        url(r"/sweep", LivePage, name="sweep"),
        url(r"/sweep/output", OutputTailOf),
        url(rf"/sweep/({SWEEP_FILE}|{STATUS_FILE})", PublishedFile, published),
    ]


def _page() -> str:
    try:
        sweep: dict[str, Any] = json.loads((PUBLISHED / SWEEP_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        sweep = dict(_NOTHING_YET)
    return render_page(sweep, ({}, _NOT_LIVE), {}, is_live=True)
