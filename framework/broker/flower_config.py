"""Configuration that Flower itself reads, so that no command line holds the password."""

from pathlib import Path

from flower.views.monitor import Healthcheck, Metrics
from tornado.web import authenticated

from framework.broker.named_tasks import find_by_name, named
from framework.broker.sweep_pages import add_pages

port = 5555
address = "0.0.0.0"  # inside the container; infrainit.sh decides on which address of the host it is published
basic_auth = ["flower:" + Path("/secrets/flower_password").read_text().strip()]
certfile = "/secrets/cert.pem"
keyfile = "/secrets/key.pem"
read_only = True
persistent = True
db = "/var/tmp/flower"  # on a volume; one that cannot be read is put aside
state_save_interval = 60_000  # milliseconds; also when Flower ends
max_tasks = 20_000
tasks_columns = "name,uuid,state,received,runtime,worker"
format_task = named
purge_offline_workers = 3600  # seconds

# Flower leaves these two open to everybody; they name workers and tasks.
for view in (Healthcheck, Metrics):
    view.get = authenticated(view.get)

find_by_name()
add_pages()
