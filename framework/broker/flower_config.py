"""Configuration that Flower itself reads, so that no command line holds the password."""

from pathlib import Path

from flower.views.monitor import Healthcheck, Metrics
from tornado.web import authenticated

from framework.broker.sweep_pages import add_pages

port = 5555
address = "0.0.0.0"  # inside the container; infrainit.sh decides on which address of the host it is published
basic_auth = ["flower:" + Path("/secrets/flower_password").read_text().strip()]
certfile = "/secrets/cert.pem"
keyfile = "/secrets/key.pem"
read_only = True
persistent = False
max_tasks = 20_000
tasks_columns = "name,uuid,args,state,received,runtime,worker"  # args: the metaparameters
purge_offline_workers = 3600  # seconds

# Flower leaves these two open to everybody; they name workers and tasks.
for view in (Healthcheck, Metrics):
    view.get = authenticated(view.get)

add_pages()
