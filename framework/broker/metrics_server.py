"""Server of the sweep's metrics for Prometheus, on a port of its own beside Flower."""

from __future__ import annotations

import hmac
from base64 import b64encode
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from framework.errors import FrameworkError
from framework.files import STATUS_FILE
from framework.messages.status import read_status
from framework.web.prometheus import render_metrics

PORT = 5556  # inside the container; infrainit.sh decides on which port of the host it is published
_STALE_SECONDS = 60.0
_SECRETS = Path("/secrets")
_PUBLISHED = Path("/published")  # the master's directory of that name


class MetricsPage(RequestHandler):
    """The metrics, for who has the password of Flower."""

    def initialize(self, password: str) -> None:
        self._expected = b"Basic " + b64encode(f"flower:{password}".encode())

    def get(self) -> None:
        """Send the metrics; 503 with the reason if the master has published no status lately."""
        if not hmac.compare_digest(self.request.headers.get("Authorization", "").encode(), self._expected):
            self.set_status(401)
            self.set_header("WWW-Authenticate", 'Basic realm="metrics"')
            return
        try:
            metrics = render_metrics(read_status(_PUBLISHED / STATUS_FILE, _STALE_SECONDS))
        except FrameworkError as error:
            self.set_status(503)
            self.finish(str(error))
            return
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(metrics)


def make_metrics_server() -> HTTPServer:
    """A server of /metrics over TLS, which listens to no port yet. Raises OSError."""
    password = (_SECRETS / "flower_password").read_text().strip()
    application = Application([("/metrics", MetricsPage, {"password": password})])
    files = {"certfile": str(_SECRETS / "cert.pem"), "keyfile": str(_SECRETS / "key.pem")}
    return HTTPServer(application, ssl_options=files)
