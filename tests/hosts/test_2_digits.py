"""The whole way: digits on three hosts to a complete results.csv, and what others can see of it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import amqp
import pytest
from checkout import Checkout, Done, Place, ProcessWatch, at, options
from fixtures import cannot
from testbed import HOME, HOST1, HOST2, HOST3, execute, wait_for

PLACES: tuple[Place, ...] = (None, HOST1, HOST2)  # where workers are
WORKER = "worker@host1"  # its user of the broker
ON_HOST1 = {"broker", "flower", "master", "runner", "worker"}


@dataclass(frozen=True)
class Infrastructure:
    """The running infrastructure, and what was seen on its way up."""

    checkout: Checkout
    up: Done
    seen: set[str] = field(repr=False)  # command lines of all processes of all machines

    @property
    def address(self) -> str:
        """Where its broker and Flower are."""
        return self.checkout.bed.address(HOST1)


@pytest.fixture(scope="module")
def digits(checkout: Checkout) -> Infrastructure:
    """Digits, started with master on host1 and workers on all three."""
    choice = options(checkout.bed, ["-d", "digits", "-w", "local,1,2"])
    with ProcessWatch() as watch:
        up = checkout.run("infrainit.sh", *choice, seconds=600)
    return Infrastructure(checkout, up, watch.seen)


# Up


def test_it_says_what_runs_where_and_how_to_go_on(digits: Infrastructure) -> None:
    said = digits.up.output
    for word in (
        f"https://{digits.address}:5555",
        "flower_password",
        "check_celery_status.sh",
        "infra_clean.sh",
        "local",
        "host1",
    ):
        assert word in said


def test_each_host_runs_what_it_should_and_nothing_else(digits: Infrastructure) -> None:
    identity = digits.checkout.identity
    assert digits.checkout.inventory(HOST1)["containers"] == sorted(f"{identity}-{role}" for role in ON_HOST1)
    for place in (HOST2, None):
        containers = digits.checkout.inventory(place)["containers"]
        assert containers == [f"{identity}-runner", f"{identity}-worker"]
    assert digits.checkout.inventory(HOST3) == {"containers": [], "volumes": [], "networks": []}


def test_every_worker_answers(digits: Infrastructure) -> None:
    said = digits.checkout.run("check_celery_status.sh").output
    for node in ("worker@local", "worker@host1", f"worker@{digits.checkout.bed.address(HOST2)}"):
        assert re.search(rf"{re.escape(node)}\W.*OK", said), said


def test_programs_and_people_can_follow(digits: Infrastructure) -> None:
    checkout = digits.checkout
    document = json.loads(checkout.run("check_celery_status.sh", "--json").output)
    assert document["project"] == "digits"
    assert {"local", "host1"} <= document["hosts"].keys()
    assert all(host["use"]["cpus"] > 0 for host in document["hosts"].values())
    ours, theirs = pty.openpty()
    command = [str(checkout.path / "check_celery_status.sh"), "-f"]
    environment = {**checkout.bed.environment(), "TERM": "xterm"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    said, until, left = b"", time.monotonic() + 120, False
    try:
        while True:  # it is read to its end: a program cannot leave a terminal that takes nothing
            assert time.monotonic() < until, said
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                said += os.read(ours, 65536)
            except OSError:  # nobody has the other end any more
                break
            if not left and b"Ctrl-C leaves" in said and b"host1" in said and b"digits" in said:
                os.write(ours, b"\x03")
                left = True
        assert process.wait(60) == 0, said
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(ours)
    assert left, said
    assert said.endswith(b"\x1b[?25h\x1b[?1049l"), "the terminal is as it was"


def test_the_containers_are_hardened(digits: Infrastructure) -> None:
    for place, uid in (None, os.getuid()), (HOST1, 1234), (HOST2, 1234):
        for container in digits.checkout.inspect(place):
            config, host = container["Config"], container["HostConfig"]
            assert config["User"].split(":")[0] == str(uid), container["Name"]
            assert host["CapDrop"] == ["ALL"]
            assert not host["CapAdd"]
            assert not host["Privileged"]
            assert any("no-new-privileges" in option for option in host["SecurityOpt"])
            # The runner is process 1 itself: its tasks can send it no signal.
            assert bool(host.get("Init")) == (config["Labels"]["infrainit.role"] != "runner")
            assert host["Memory"] > 0
            assert host["PidsLimit"] > 0
            assert host["RestartPolicy"]["Name"] == "unless-stopped"
            assert host["LogConfig"]["Type"] == "local" or "max-size" in host["LogConfig"]["Config"]
            assert not any("docker.sock" in bind for bind in host["Binds"] or [])


def test_the_runner_has_nothing_of_the_infrastructure(digits: Infrastructure) -> None:
    for place in PLACES:
        runner = digits.checkout.container(place, "runner")
        networks = runner["NetworkSettings"]["Networks"]
        assert list(networks) == [f"{digits.checkout.identity}-tasks"]
        mounts = {mount["Destination"]: mount["RW"] for mount in runner["Mounts"]}
        ours = {
            "/infrainit/tasks": True,
            "/infrainit/setup": True,
            "/infrainit/runner": True,
            "/infrainit/link": False,
            "/infrainit/secrets": False,
        }
        assert mounts == {"/code": False, **ours}
        names = {variable.partition("=")[0] for variable in runner["Config"]["Env"]}
        assert not names & {"BROKER", "INFRASTRUCTURE", "SECRETS", "HOST"}


def test_only_broker_and_flower_are_published(digits: Infrastructure) -> None:
    published = {}
    for place in PLACES:
        for container in digits.checkout.inspect(place):
            ports = container["NetworkSettings"]["Ports"] or {}
            published[container["Config"]["Labels"]["infrainit.role"], place] = {
                binding["HostPort"] for bindings in ports.values() for binding in bindings or []
            }
    assert {where: ports for where, ports in published.items() if ports} == {
        ("broker", HOST1): {"5671"},
        ("flower", HOST1): {"5555"},
    }
    for port in (4369, 5672, 15671, 15672, 15692, 25672):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((digits.address, port), timeout=5)


# To the end

NOTHING = "all of it runs already, and nothing has changed"


@pytest.fixture(scope="module")
def again(digits: Infrastructure) -> tuple[dict[str, str], Done, dict[str, str]]:
    """The same once more, to the end of the set; the containers before and after."""
    before = running(digits.checkout)
    done = digits.checkout.run("infrainit.sh", "-f", "--wait", seconds=600)
    return before, done, running(digits.checkout)


def running(checkout: Checkout) -> dict[str, str]:
    """Containers and when they were started."""
    return {it["Id"]: it["State"]["StartedAt"] for place in PLACES for it in checkout.inspect(place)}


def test_again_replaces_nothing(
    digits: Infrastructure, again: tuple[dict[str, str], Done, dict[str, str]]
) -> None:
    before, _, after = again
    assert after == before
    assert repeat_in_vain(digits.checkout).seconds < 30  # 2 on an idle machine
    assert running(digits.checkout) == before


def repeat_in_vain(checkout: Checkout) -> Done:
    """A run that finds nothing changed; on a busy machine the master may not hear of a worker for a while."""
    for _ in range(3):
        done = checkout.run("infrainit.sh", "-f", "--failed")
        if NOTHING in done.stderr:
            return done
        assert "the master has not" in done.stderr, done.output
    raise AssertionError(done.output)


@pytest.mark.usefixtures("again")
def test_what_has_changed_on_a_host_is_put_right(digits: Infrastructure) -> None:
    checkout = digits.checkout
    at(checkout.bed, HOST2, "stop", f"{checkout.identity}-worker")
    said = checkout.run("infrainit.sh", "-f").stderr
    assert NOTHING not in said
    assert "starting worker again" in said
    repeat_in_vain(checkout)
    secrets = f"{HOME}/celery tasks/secrets/{checkout.identity}"
    checkout.bed.inside(HOST1, "sh", "-c", f'echo x >>"{secrets}/flower/ca.pem"')
    assert NOTHING not in checkout.run("infrainit.sh", "-f").stderr
    kept = checkout.bed.inside(HOST1, "cat", f"{secrets}/flower/ca.pem").stdout
    assert kept == (checkout.path / ".infra" / "secrets" / "flower" / "ca.pem").read_text()
    repeat_in_vain(checkout)


@pytest.mark.usefixtures("again")
def test_every_combination_has_its_row(digits: Infrastructure) -> None:
    rows = digits.checkout.results("digits")
    plan = json.loads(
        at(
            digits.checkout.bed,
            HOST1,
            "exec",
            f"{digits.checkout.identity}-master",
            "framework",
            "status",
            "--json",
        )
    )
    assert len(rows) == plan["total"] >= 24
    assert list(rows[0])[:9] == [
        "task",
        "state",
        "attempts",
        "host",
        "started",
        "seconds",
        "exit_code",
        "code",
        "reason",
    ]
    assert len({row["task"] for row in rows}) == len(rows)
    assert {(row["state"], row["attempts"], row["exit_code"]) for row in rows} == {("done", "1", "0")}
    assert {row["host"] for row in rows} == {"local", "host1", digits.checkout.bed.address(HOST2)}
    assert len({row["code"] for row in rows}) == 1
    accuracies = [float(row["accuracy"]) for row in rows]
    assert 0.9 < max(accuracies) <= 1
    assert min(accuracies) >= 0.05


def test_the_best_combinations_are_printed(
    digits: Infrastructure, again: tuple[dict[str, str], Done, dict[str, str]]
) -> None:
    best = max(digits.checkout.results("digits"), key=lambda row: float(row["accuracy"]))
    assert best["accuracy"] in again[1].stdout


@pytest.mark.usefixtures("again")
def test_logs_and_files_are_home(digits: Infrastructure) -> None:
    home = digits.checkout.path / "results" / "digits"
    for row in digits.checkout.results("digits"):
        (found,) = [path for path in home.rglob("stdout") if row["task"] in path.parts]
        assert row["accuracy"] in found.read_text()


@pytest.mark.usefixtures("again")
def test_get_results_again_brings_nothing_twice(digits: Infrastructure) -> None:
    tasks = digits.checkout.path / "results" / "digits" / "tasks"
    lost = next(tasks.glob("*/1"))

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tasks.rglob("*") if lost not in path.parents}

    before = files()
    shutil.rmtree(lost)
    digits.checkout.run("get_results.sh")
    assert (lost / "result.json").exists()
    assert {path for path, when in files().items() if path.is_file() and before.get(path) != when} == set()


@pytest.mark.usefixtures("again")
def test_get_results_brings_what_is_asked_for(digits: Infrastructure) -> None:
    elsewhere = digits.checkout.path / "elsewhere"
    tasks = elsewhere / "digits" / "tasks"

    def get(*options: str) -> set[str]:
        digits.checkout.run("get_results.sh", "-o", elsewhere, *options)
        return {path.parts[-3] for path in tasks.glob("*/*/result.json")}

    assert get("--no-files") == set()
    rows = digits.checkout.results("digits")
    ranked = sorted((float(row["accuracy"]) for row in rows), reverse=True)
    chosen = get("--only", "best:2", "--exclude", "std*")
    found = (float(row["accuracy"]) for row in rows if row["task"] in chosen)
    assert sorted(found, reverse=True) == ranked[:2]
    assert list(tasks.rglob("stdout")) == []
    assert get("--only", "best:2") == chosen
    assert {path.parts[-3] for path in tasks.rglob("stdout")} == chosen
    assert get("--follow") == {row["task"] for row in rows}, "it ends, as the sweep has ended"


# Secrets


def leaks(digits: Infrastructure, text: str) -> list[str]:
    """Which secrets are in a text."""
    return [name for name, secret in digits.checkout.secrets().items() if secret in text]


def test_there_are_secrets_and_only_their_user_can_read_them(digits: Infrastructure) -> None:
    checkout = digits.checkout
    assert (
        len(set(checkout.secrets().values())) >= 8
    )  # CA's key, four roles' keys, three passwords, Flower's, cookie
    for path in (checkout.path / ".infra", *(checkout.path / ".infra").rglob("*")):
        assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path
    for host in (HOST1, HOST2):
        listing = checkout.bed.inside(
            host, "find", "/home/test user/celery tasks/secrets", "-printf", "%y %m %u %p\n"
        ).stdout  # fmt: skip
        for line in listing.splitlines()[1:]:
            assert re.match(r"(d 700|f [46]00) tester ", line), line


def test_no_secret_in_a_command_line(digits: Infrastructure) -> None:
    assert any("docker run" in line for line in digits.seen)
    assert leaks(digits, "\n".join(digits.seen)) == []


def test_no_secret_in_what_was_said(digits: Infrastructure) -> None:
    assert leaks(digits, digits.up.output) == []


def test_no_secret_in_docker_inspect_or_the_logs(digits: Infrastructure) -> None:
    for place in PLACES:
        assert leaks(digits, json.dumps(digits.checkout.inspect(place))) == []
        for container in digits.checkout.inventory(place)["containers"]:
            if place is None:
                logs = execute(["docker", "logs", container])
            else:
                logs = digits.checkout.bed.inside(place, "docker", "logs", container)
            assert leaks(digits, logs.stdout + logs.stderr) == [], container


def test_no_secret_in_an_image(digits: Infrastructure, tmp_path: Path) -> None:
    # The images were made on this machine and are the same on all the others.
    images = {it["Config"]["Image"] for it in digits.checkout.inspect(HOST1)}
    secrets = {name: secret.encode() for name, secret in digits.checkout.secrets().items()}
    for image in images:
        assert leaks(digits, at(digits.checkout.bed, None, "history", "--no-trunc", image)) == []
        assert leaks(digits, at(digits.checkout.bed, None, "image", "inspect", image)) == []
        archive = tmp_path / "image.tar"
        at(digits.checkout.bed, None, "save", "--output", str(archive), image)
        assert find_in(archive, secrets) == []
        archive.unlink()


def find_in(archive: Path, secrets: dict[str, bytes]) -> list[str]:
    """Which secrets are in the files of an image's layers."""
    found = []
    with tarfile.open(archive) as image:
        for layer in image:
            if not layer.name.endswith("layer.tar") and not layer.name.startswith("blobs/"):
                continue
            content = image.extractfile(layer)
            assert content is not None
            tail = b""
            while piece := content.read(1 << 22):
                assert not piece.startswith(b"\x1f\x8b"), "a compressed layer cannot be searched"
                found += [name for name, secret in secrets.items() if secret in tail + piece]
                tail = piece[-200:]
    return found


# Flower


def ask_flower(digits: Infrastructure, method: str, path: str, password: str | None) -> int:
    """The status of Flower's answer."""
    return digits.checkout.flower(path, password, method)[0]


@pytest.mark.parametrize(
    "path",
    [
        "/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/metrics", "/sweep",
        "/sweep/output",
    ],
)  # fmt: skip
def test_flower_needs_the_password(digits: Infrastructure, path: str) -> None:
    assert ask_flower(digits, "GET", path, None) == 401
    assert ask_flower(digits, "GET", path, "wrong") == 401


@pytest.mark.usefixtures("again")
def test_the_live_page_has_the_output_of_tasks_on_each_host(digits: Infrastructure) -> None:
    attempts = {each["host"]: each for each in digits.checkout.published()["attempts"]}
    assert attempts
    for attempt in attempts.values():
        assert "accuracy" in digits.checkout.output_on_page(attempt)["stdout"]
    host, attempt = attempts.popitem()
    elsewhere = {**attempt, "host": "host1" if host != "host1" else "local"}
    assert "this host has no output of it" in digits.checkout.output_on_page(elsewhere)["problem"]


@pytest.mark.parametrize("path", ["/workers", "/tasks", "/api/workers", "/api/tasks"])
def test_flower_with_the_password(digits: Infrastructure, path: str) -> None:
    assert ask_flower(digits, "GET", path, digits.checkout.secret("flower", "flower_password")) == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/task/send-task/framework.run",
        "/api/task/async-apply/framework.run",
        "/api/worker/shutdown/worker@host1",
        "/api/worker/pool/restart/worker@host1",
    ],
)  # fmt: skip
def test_flower_is_read_only(digits: Infrastructure, path: str) -> None:
    assert ask_flower(digits, "POST", path, digits.checkout.secret("flower", "flower_password")) in (403, 405)
    assert digits.checkout.container(HOST1, "worker")


def browser() -> str:
    """A Chromium."""
    for name in ("chromium", "google-chrome", "chromium-browser"):
        path = shutil.which(name)
        if path and subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    cannot("there is no Chromium to look at Flower's pages with")
    return ""


@pytest.mark.usefixtures("again")
@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("workers", [r"worker@local", r"worker@host1", r"Online|True"]),
        ("tasks", [r"digits: C=[\d.]+ gamma=", r"SUCCESS", r"worker@(local|host1)"]),
        ("sweep", [r"24 of 24 tasks: 24 done", r"out of reach|s ago", r"0\.99", r"Parallel coordinates"]),
    ],
)  # fmt: skip
def test_flowers_pages_in_a_browser(
    digits: Infrastructure, tmp_path: Path, page: str, shown: list[str]
) -> None:
    password = quote(digits.checkout.secret("flower", "flower_password"), safe="")
    picture = digits.checkout.bed.logs / f"flower-{page}.png"
    command = [
        browser(), "--headless", "--disable-gpu", "--window-size=1600,1000", f"--user-data-dir={tmp_path}",
        "--ignore-certificate-errors", "--virtual-time-budget=8000",
    ]  # fmt: skip
    if os.getuid() == 0:
        command.append("--no-sandbox")
    url = f"https://flower:{password}@{digits.address}:5555/{page}"
    execute([*command, f"--screenshot={picture}", url])
    text = re.sub(
        r"<script.*?</script>|<[^>]*>", " ", execute([*command, "--dump-dom", url]).stdout, flags=re.DOTALL
    )
    for pattern in shown:
        assert re.search(pattern, text), text[:3000]
    assert picture.stat().st_size > 20_000


def tasks_in_flower(digits: Infrastructure) -> dict[str, tuple[str, str]] | None:
    """Name and state of the tasks that Flower knows, by attempt; None while it does not answer."""
    password = digits.checkout.secret("flower", "flower_password")
    try:
        status, text = digits.checkout.flower("/api/tasks", password)
    except OSError:
        return None
    tasks = json.loads(text) if status == 200 else None
    return tasks and {attempt: (task["args"], task["state"]) for attempt, task in tasks.items()}


@pytest.mark.usefixtures("again")
def test_flower_keeps_its_history_over_a_restart_and_goes_on_without_a_damaged_one(
    digits: Infrastructure,
) -> None:
    bed, flower = digits.checkout.bed, f"{digits.checkout.identity}-flower"
    before = tasks_in_flower(digits)
    assert before
    assert all(name.startswith("digits: C=") for name, _ in before.values())
    at(bed, HOST1, "restart", flower)
    wait_for("Flower knows them again", lambda: tasks_in_flower(digits) == before)
    at(bed, HOST1, "exec", flower, "sh", "-c", "echo garbage >/var/tmp/flower")
    at(bed, HOST1, "kill", flower)
    at(bed, HOST1, "start", flower)
    wait_for("Flower answers, and knows nothing", lambda: tasks_in_flower(digits) == {})


# The broker


def connect(digits: Infrastructure, user: str, password: str, certificates: str) -> amqp.Connection:
    """Log in at the broker with the certificate in a directory."""
    secrets = digits.checkout.path / ".infra" / "secrets" / certificates
    connection = amqp.Connection(
        f"{digits.address}:5671", userid=user, password=password, virtual_host="tasks", connect_timeout=10,
        ssl={
            "ca_certs": str(digits.checkout.path / ".infra" / "secrets" / "master" / "ca.pem"),
            "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": digits.address,
            "certfile": str(secrets / "cert.pem"), "keyfile": str(secrets / "key.pem"),
        },
    )  # fmt: skip
    connection.connect()
    return connection


def test_the_broker_lets_a_worker_in(digits: Infrastructure) -> None:
    with connect(digits, WORKER, digits.checkout.secret(WORKER, "password"), WORKER) as connection:
        assert connection.connected


@pytest.mark.parametrize(
    ("user", "password"), [("guest", "guest"), (WORKER, "guest"), ("worker", ""), ("anonymous", "")]
)
def test_the_broker_refuses_a_wrong_user(digits: Infrastructure, user: str, password: str) -> None:
    with pytest.raises(amqp.AccessRefused):
        connect(digits, user, password, WORKER)


def test_the_broker_refuses_plain_text(digits: Infrastructure) -> None:
    with socket.create_connection((digits.address, 5671), timeout=10) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        try:
            answer = connection.recv(100)
        except ConnectionResetError:
            answer = b""
    assert b"AMQP" not in answer
    assert b"RabbitMQ" not in answer


def test_the_broker_refuses_no_certificate(digits: Infrastructure) -> None:
    assert "alert" in greet(
        digits, ssl.create_default_context(cafile=digits.checkout.path / ".infra/secrets/master/ca.pem")
    )


def test_the_broker_refuses_a_certificate_of_another_ca(digits: Infrastructure, tmp_path: Path) -> None:
    execute([
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "1", "-subj", "/CN=worker", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem",
    ])  # fmt: skip
    context = ssl.create_default_context(cafile=digits.checkout.path / ".infra/secrets/master/ca.pem")
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    assert "alert" in greet(digits, context)
    # and a client that trusts another CA refuses the broker
    with pytest.raises(ssl.SSLCertVerificationError):
        greet(digits, ssl.create_default_context(cafile=tmp_path / "cert.pem"))


def greet(digits: Infrastructure, context: ssl.SSLContext) -> str:
    """Say hello in AMQP over TLS; return the TLS error that it ends in (1.3 tells only at the first read)."""
    with socket.create_connection((digits.address, 5671), timeout=10) as connection:
        try:
            with context.wrap_socket(connection, server_hostname=digits.address) as secured:
                secured.sendall(b"AMQP\x00\x00\x09\x01")
                return f"answered {secured.recv(100)!r}"
        except ssl.SSLCertVerificationError:
            raise
        except ssl.SSLError as error:
            return str(error)


@pytest.mark.parametrize(
    ("role", "exchange", "key"),
    [
        (WORKER, "tasks", "host1"),
        (WORKER, "", "tasks.host1"),
        ("flower", "tasks", "host1"),
        ("flower", "reports", "results"),
        ("flower", "", "results"),
        ("master", "reports", "results"),
    ],
)  # fmt: skip
def test_a_role_may_not_publish_what_is_not_its_to_say(
    digits: Infrastructure, role: str, exchange: str, key: str
) -> None:
    with connect(digits, role, digits.checkout.secret(role, "password"), role) as connection:
        channel = connection.channel()
        channel.confirm_select()
        with pytest.raises(amqp.AccessRefused):
            channel.basic_publish_confirm(
                amqp.Message("{}"), exchange=exchange, routing_key=key, confirm_timeout=10
            )


def test_the_broker_uses_nothing_deprecated(digits: Infrastructure) -> None:
    bed = digits.checkout.bed
    at(bed, HOST1, "exec", f"{digits.checkout.identity}-broker",
       "rabbitmq-diagnostics", "--quiet", "check_if_any_deprecated_features_are_used")  # fmt: skip
