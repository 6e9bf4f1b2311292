"""Other projects on the infrastructure that is there: odd values, failures, new code, more workers."""

from __future__ import annotations

import hashlib
import json
import re
import time
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from checkout import Checkout, ProcessWatch, at, options
from testbed import HOME, HOST1, HOST2, HOST3, NOBODY, USER, execute, wait_for
from webhook import Webhook

VALUES = [
    "two words", " spaces around ", "it's", 'say "hi"', "$HOME", "$(id)", "`id`", "*", "a;b|c&d>e<f",
    "back\\slash", "line one\nline two", "tab\there", "--flag", "", "größer 数", "100%s", "a=b,c=d", "{}",
    "~", "!bang", "#rest",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _infrastructure(checkout: Checkout) -> None:
    """There is an infrastructure, whichever tests were chosen."""
    if not (checkout.path / "config.sh").exists():
        checkout.run("infrainit.sh", *options(checkout.bed, ["-w", "local,1,2"]), seconds=600)


def run_set(checkout: Checkout, project: Path, *options: str, expect: int = 0) -> str:
    """Run a project's set on all hosts, or those of -w, to its end; return what was said."""
    workers = [] if "-w" in options else ["-w", "local,1,2"]  # config.sh keeps those of an earlier test
    command = ("infrainit.sh", "-f", "-d", str(project), "--wait", *workers, *options)
    return checkout.run(*command, expect=expect).output


def test_values_arrive_as_they_are(checkout: Checkout) -> None:
    name = """my 'own' "values" $HOME & more"""
    code = "import json, sys\nprint(json.dumps(sys.argv[1:]))\n"
    project = checkout.project(
        name, json.dumps({"value": VALUES, "on": True, "off": False}), {"run.py": code}
    )
    run_set(checkout, project)
    rows = checkout.results(name)
    assert [row["value"] for row in rows] == VALUES
    assert {row["state"] for row in rows} == {"done"}
    for row in rows:
        (stdout,) = (checkout.path / "results" / name).rglob(f"{row['task']}/1/stdout")
        assert json.loads(stdout.read_text()) == [f"--value={row['value']}", "--on"]


def test_failures_are_rows_too(checkout: Checkout) -> None:
    code = """
import sys, time
how = sys.argv[1].removeprefix("--how=")
print(f"Seen: reached={len(how)}", flush=True)
if how == "fail":
    sys.exit("no such luck")
if how == "hang":
    time.sleep(600)
"""
    settings = "retries: 1\ntimeout: 5s\n"
    project = checkout.project("failing", "how: [work, fail, hang]", {"run.py": code}, settings)
    said = run_set(checkout, project, expect=1)
    assert "2 of 3" in said
    rows = {row["how"]: row for row in checkout.results("failing")}
    assert (rows["work"]["state"], rows["work"]["attempts"], rows["work"]["exit_code"]) == ("done", "1", "0")
    assert (rows["fail"]["state"], rows["fail"]["attempts"], rows["fail"]["exit_code"]) == (
        "failed",
        "2",
        "1",
    )
    assert (rows["hang"]["state"], rows["hang"]["attempts"]) == ("failed", "2")
    assert float(rows["hang"]["seconds"]) < 30
    assert rows["fail"]["reason"] == "exit code 1: no such luck"
    assert "longer than its timeout" in rows["hang"]["reason"]
    assert {row["reached"] for row in rows.values()} == {"4"}
    for attempt in "12":
        (stderr,) = (checkout.path / "results" / "failing").rglob(f"{rows['fail']['task']}/{attempt}/stderr")
        assert stderr.read_text() == "no such luck\n"


def at_current(checkout: Checkout, command: str) -> str:
    """What a command says in the worker's container on a host."""
    return at(checkout.bed, HOST2, "exec", f"{checkout.identity}-worker", "sh", "-c", command).strip()


def test_update_files_during_a_running_set(checkout: Checkout) -> None:
    code = """
import os, socket, time
names = {"slot": "TASK_SLOT", "port": "MASTER_PORT", "threads": "OMP_NUM_THREADS"}
print("Share: " + ", ".join(f"{each}={os.environ[name]}" for each, name in names.items()))
with socket.create_server((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))):
    time.sleep(10)
import lesson  # only now: as it was when the task started
print(f"Lesson: lesson={lesson.NUMBER}")
"""
    project = checkout.project(
        "lessons", "n: {range: [0, 12, 1]}", {"run.py": code, "lesson.py": "NUMBER = 1\n"}
    )
    (project / "data").mkdir(exist_ok=True)
    for name in ("data/kept.bin", "data/ignored.bin", "data/large"):
        (project / name).write_text("x" * 1000)
    (project / ".gitignore").write_text("*.bin\n")
    (project / ".infrainitignore").write_text("!kept.bin\n")
    said = checkout.run("infrainit.sh", "-f", "-d", str(project)).output
    assert "left out, as .gitignore says: data/ (1 of its entries); " in said
    wait_for("tasks run", lambda: status(checkout)["running"] >= 4, seconds=30)
    first = at_current(checkout, "readlink /code/current")
    (project / "lesson.py").write_text("NUMBER = 2\n")
    (project / "parameters.yml").write_text("n: {range: [0, 13, 1]}")
    pushed = time.time()
    said = checkout.run("update_files.sh").output
    assert "1 new combination will run\n" in said
    for word in ("local", "host1", checkout.bed.address(HOST2), "lesson.py", "parameters.yml"):
        assert word in said
    assert "project/run.py" not in said
    assert re.search(
        rf"{re.escape(checkout.bed.address(HOST2))}: sending version c\w+ of .*: 2 of \d+ files, \d+ bytes\n",
        said,
    )
    numbers = f"stat -c %i {first}/project/data/* current/project/data/*"
    links = at_current(checkout, f"cd /code && ls current/project/data && {numbers}")
    assert links.split()[:2] == ["kept.bin", "large"]
    assert links.split()[2:4] == links.split()[4:], "what was not sent is a link"
    wait_for("the live page shows what tasks have printed", lambda: shows(checkout, "Share: slot="), every=3)
    run_set(checkout, project)

    rows = checkout.results("lessons")
    assert [row["n"] for row in rows] == [str(n) for n in range(13)]
    assert {row["state"] for row in rows} == {"done"}
    assert {row["attempts"] for row in rows} == {"1"}
    versions = {row["lesson"]: row["code"] for row in rows}
    assert versions.keys() == {"1", "2"}
    assert len(set(versions.values())) == 2
    for row in rows:
        assert row["code"] == versions[row["lesson"]]
        if started(row) < pushed - 1:
            assert row["lesson"] == "1"
    assert checkout.run("update_files.sh").seconds < 20
    check_shares(rows)


def shows(checkout: Checkout, printed: str) -> bool:
    """True if the live page has this in the output of one of its attempts."""
    attempts = [each for each in checkout.published()["attempts"] if each["state"] != "sent"]
    return any(printed in checkout.output_on_page(each).get("stdout", "") for each in attempts)


def check_shares(rows: list[dict[str, str]]) -> None:
    """Tasks that ran at the same time on a host had slots and ports of their own."""
    side_by_side = [
        (one, other)
        for one, other in combinations(rows, 2)
        if one["host"] == other["host"]
        and abs(started(one) - started(other)) < 7  # of the 10 s that each took
    ]
    assert side_by_side
    for one, other in side_by_side:
        assert one["slot"] != other["slot"]
        assert one["port"] != other["port"]
    assert {row["slot"] for row in rows} == {str(n) for n in range(len({row["slot"] for row in rows}))}
    assert {row["threads"] for row in rows} == {"1"}, "a task for each core"


def test_what_is_asked_for_runs_again(checkout: Checkout) -> None:
    code = "def run(n):\n    if n == 3:\n        exit('no such luck')\n    return {'square': n * n}\n"
    files = {"run.py": code, "project.yml": "function: run:run\n"}
    project = checkout.project("called", "n: [1, 2, 3]", files)

    def results() -> list[tuple[str, str]]:
        return [(row["state"], row["square"]) for row in checkout.results("called")]

    def attempts() -> list[int]:
        return [int(row["attempts"]) for row in checkout.results("called")]

    run_set(checkout, project, expect=1)
    assert results() == [("done", "1"), ("done", "4"), ("failed", "")]
    before = attempts()  # a host that has done nothing yet is excused a failure, which is one attempt more
    (project / "run.py").write_text(code.replace("n == 3", "n == 4"))
    said = run_set(checkout, project, expect=1)
    assert "2 of 2 results were made with other files of the project" in said
    assert attempts() == before
    run_set(checkout, project, "--failed")
    assert results() == [("done", "1"), ("done", "4"), ("done", "9")]
    assert attempts() == [before[0], before[1], before[2] + 1]
    run_set(checkout, project, "--outdated")
    assert attempts() == [before[0] + 1, before[1] + 1, before[2] + 1]


KEEPER = """
import hashlib, os, sys
env = os.environ
seen = "".join((env["WORD"], env["TOKEN"], env["PASSWORD"])).encode()
with open(env["KEY_FILE"], "rb") as file:
    seen += file.read()
assert sys.argv[2] == env["WORD"], sys.argv
print(f"Seen: home={env['HF_HOME']}, digest=d{hashlib.sha256(seen).hexdigest()}")
"""
TOKEN = "tok-5fe1e4c3 'quoted' \"twice\" $HOME\nline-8c1d77ab\n"
PASSWORD = "pass-77ac90f1 größe"
KEY = b"key-90ee12\0\xff\n"  # a file may hold anything
WORD = "two words"
HOOK_KEY = "hook-4bd81c02"


def test_variables_and_secrets_reach_tasks_and_nothing_else(checkout: Checkout) -> None:
    for name, content in (("pass word", f"{PASSWORD}\r\n".encode()), ("key", KEY)):
        file = checkout.bed.home / name
        file.write_bytes(content)
        file.chmod(0o600)
    project = checkout.project(
        "keeper",
        "n: {range: [0, 6, 1]}",
        {"run.py": KEEPER},
        "environment: {HF_HOME: /data/hf, WORD: }\n"
        "secrets: {TOKEN: , PASSWORD: {file: ~/pass word}, KEY_FILE: {file: ~/key, as: file}}\n"
        "notify: ${HOOK}\n",
    )
    webhook = Webhook(checkout.bed.gateway)
    (project / "project.yml").write_text(
        (project / "project.yml").read_text().replace("run.py", "run.py --x '${envvar:WORD}' ${args}", 1)
    )
    before = checkout.inventory(HOST1), checkout.container(HOST1, "runner")["Id"]
    said = checkout.run("infrainit.sh", "-f", "-d", str(project), expect=2, variables={"WORD": WORD}).output
    assert f"{project}/project.yml:3:11: secrets: TOKEN is not set here; export it, or name a file" in said
    assert "nothing was started" in said
    assert (checkout.inventory(HOST1), checkout.container(HOST1, "runner")["Id"]) == before

    given = {"WORD": WORD, "TOKEN": TOKEN, "HOOK": f"{webhook.url}?key={HOOK_KEY}"}
    with ProcessWatch() as watch:
        command = ["-f", "-d", str(project), "--wait"]
        said = checkout.run("infrainit.sh", *command, variables=given).output
    rows = checkout.results("keeper")
    first = hashlib.sha256(f"{WORD}{TOKEN}{PASSWORD}".encode() + KEY).hexdigest()
    assert {(row["home"], row["digest"]) for row in rows} == {("/data/hf", f"d{first}")}

    # A new value counts for what starts from then on, in the containers that run; the results stay.
    running = [checkout.container(place, "runner")["Id"] for place in (None, HOST1, HOST2)]
    (project / "parameters.yml").write_text("n: {range: [0, 9, 1]}")
    refused = checkout.run("update_files.sh", expect=2, variables={"WORD": WORD}).output
    assert "secrets: TOKEN is not set here" in refused
    newer = {**given, "TOKEN": "tok-0b7d"}
    pushed = checkout.run("update_files.sh", variables=newer).output
    assert "sending values for tasks: WORD, TOKEN, PASSWORD, KEY_FILE" in pushed
    wait_for("all tasks have ended", lambda: status(checkout)["done"] == 9)
    checkout.run("get_results.sh")
    assert [checkout.container(place, "runner")["Id"] for place in (None, HOST1, HOST2)] == running
    rows = checkout.results("keeper")
    second = hashlib.sha256(f"{WORD}tok-0b7d{PASSWORD}".encode() + KEY).hexdigest()
    assert [row["digest"] for row in rows] == [f"d{first}"] * 6 + [f"d{second}"] * 3
    assert {row["attempts"] for row in rows} == {"1"}

    for text in ("the sweep has ended: 6 of 6 done", "the sweep has ended: 9 of 9 done"):
        wait_for(f"it is told: {text}", lambda text=text: f"keeper: {text}" in webhook.texts)  # type: ignore[misc]
    webhook.close()
    texts = {"messages": said + pushed, "command lines": "\n".join(watch.seen)}
    for place in (None, HOST1, HOST2):
        texts[f"inspect, {place}"] = json.dumps(checkout.inspect(place))
        for container in checkout.inventory(place)["containers"]:
            texts[f"log, {container}, {place}"] = log_of(checkout, place, container)
    assert any("docker run" in line for line in watch.seen)
    assert [where for where, text in texts.items() if HOOK_KEY in text] == []
    for machine, found in files_with(checkout, HOOK_KEY).items():
        assert [file for file in found if not file.endswith("/master/notify")] == [], machine
    for needle in ("tok-5fe1e4c3", "line-8c1d77ab", "tok-0b7d", PASSWORD, "key-90ee12"):
        assert [where for where, text in texts.items() if needle in text] == [], needle
        for machine, found in files_with(checkout, needle).items():
            secrets = f"/celery tasks/secrets/{checkout.identity}/runner/{project.name}/"
            assert [file for file in found if secrets not in file] == [], machine


def log_of(checkout: Checkout, place: Any, container: str) -> str:
    command = ["docker", "logs", container]
    done = execute(command) if place is None else checkout.bed.inside(place, *command)
    return done.stdout + done.stderr


def files_with(checkout: Checkout, needle: str) -> dict[str, list[str]]:
    """The files of the infrastructure that have a text, by the machine; here, those of the user, too."""
    search = ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", "-e", needle]
    here = [checkout.bed.home / "celery tasks", checkout.path / ".infra", checkout.path / "results"]
    found = {"here": execute([*search, *here, checkout.projects], check=False).stdout}
    for host in (HOST1, HOST2):
        found[host.name] = checkout.bed.inside(
            host, *search, "/home/test user/celery tasks", check=False
        ).stdout
    return {place: files.splitlines() for place, files in found.items()}


SHOW_VERSIONS = """
import click, six, sys
assert "celery" not in sys.modules
try:
    import celery
except ImportError:
    print(f"Versions: click={click.__version__}, six={six.__version__}")
"""


def test_packages_may_contradict_those_of_the_framework(checkout: Checkout) -> None:
    files = {"run.py": SHOW_VERSIONS, "requirements.txt": "click==7.1.2\nsix==1.15.0\n"}
    project = checkout.project("contradicting", "n: [1, 2, 3]", files)
    worker = checkout.container(HOST1, "worker")["Image"]
    run_set(checkout, project)
    assert {(row["click"], row["six"]) for row in checkout.results("contradicting")} == {("7.1.2", "1.15.0")}
    assert checkout.container(HOST1, "worker")["Image"] == worker, "the same for all projects"


def test_an_image_is_used_as_it_is_or_with_one_layer_of_packages(checkout: Checkout) -> None:
    first = checkout.project("usual image", "n: [1]", {"run.py": ""})
    run_set(checkout, first)
    usual = checkout.container(HOST1, "runner")["Config"]["Image"]
    assert usual.startswith("infrainit-runner:")
    at(checkout.bed, None, "tag", usual, "of-the-user:1")  # Debian's Python, without pip and ensurepip
    code = "import os, sys\nprint(f'Found: packages={os.path.exists(\"/opt/requirements\")}')\n"
    project = checkout.project("own image", "n: [1]", {"run.py": code}, "image: of-the-user:1\n")
    run_set(checkout, project)
    assert [row["packages"] for row in checkout.results("own image")] == ["False"]
    used = checkout.container(HOST1, "runner")["Config"]["Image"]
    assert layers(checkout, used) == layers(checkout, usual)

    files = {
        "requirements.txt": "-r more.txt\n-e .\n",
        "more.txt": "six==1.15.0\n",
        "pyproject.toml": '[project]\nname = "mine"\ndependencies = ["click==7.1.2"]\n',
        "run.py": "import resource, click, six\n"
        "limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "print(f'Found: packages={six.__version__}+{click.__version__}, files={limit}')\n",
    }
    options = "docker_options: ['--ulimit=nofile=1234']\n"
    checkout.project("own image", "n: [1]", files, f"image: of-the-user:1\n{options}")
    run_set(checkout, project, "--fresh")
    found = [(row["packages"], row["files"]) for row in checkout.results("own image")]
    assert found == [("1.15.0+7.1.2", "1234")]
    used = checkout.container(HOST1, "runner")["Config"]["Image"]
    assert layers(checkout, used)[:-1] == layers(checkout, usual)

    files = {"Dockerfile": "FROM of-the-user:1\nCOPY run.py /opt/\n", "more.txt": "\nsix==0.0.0\n"}
    checkout.project("own image", "n: [1]", files, "build: Dockerfile\n")
    said = checkout.run("infrainit.sh", "-f", "-d", str(project), expect=1).output
    assert "more.txt:2: six: could not be installed: the index has no such version" in said
    built = at(
        checkout.bed, None, "images", "--format", "{{.Repository}}:{{.Tag}}", "infrainit-built-own-image"
    )
    assert layers(checkout, built.split()[0])[:-1] == layers(checkout, usual)


def layers(checkout: Checkout, image: str) -> list[str]:
    said = at(checkout.bed, None, "image", "inspect", "--format", "{{json .RootFS.Layers}}", image)
    return list(json.loads(said))


MOUNTED = """
import errno, os
from pathlib import Path
try:
    Path("/data/new").touch()
except OSError as error:
    print(f"Writing: data={errno.errorcode[error.errno]}")
Path("/mnt/out", os.environ["TASK_ID"]).write_text("mine")
print(f"Read: text={Path('/data/x.txt').read_text().strip()}")
"""


def test_mounts_are_looked_at_on_each_host_and_then_seen_by_tasks(checkout: Checkout) -> None:
    bed, name = checkout.bed, checkout.bed.address(HOST2)
    settings = "mounts:\n  ~/my data: /data\n  ~/out, of tasks: {target: /mnt/out, mode: rw}\n"
    project = checkout.project("mounted", "n: {range: [0, 8, 1]}", {"run.py": MOUNTED}, settings)
    workers = "-w", "1,2"
    for host in (HOST1, HOST2):  # of an earlier run
        bed.inside(host, "rm", "-rf", f"{HOME}/my data", f"{HOME}/out, of tasks")
    for host, directory in ((HOST1, "my data"), (HOST1, "out, of tasks"), (HOST2, "my data")):
        bed.login(host, f"mkdir '{directory}' && echo there >'{directory}/x.txt'")
    bed.inside(HOST2, "chmod", "0", f"{HOME}/my data")
    said = checkout.run("infrainit.sh", "-f", "-d", str(project), *workers, expect=1).output
    assert f"{name}: mounts: {HOME}/out, of tasks, for /mnt/out, is not there; make it, or" in said
    assert f"{name}: mounts: {HOME}/my data, for /data, cannot be read by {USER}" in said
    assert "host1: mounts" not in said
    assert "nothing was started" in said
    bed.inside(HOST2, "chmod", "700", f"{HOME}/my data")
    bed.login(HOST2, "mkdir 'out, of tasks'")
    run_set(checkout, project, *workers, "--fresh")
    rows = checkout.results("mounted")
    assert {(row["data"], row["text"]) for row in rows} == {("EROFS", "there")}
    for row in rows:
        place = HOST1 if row["host"] == "host1" else HOST2
        file = f"{HOME}/out, of tasks/{row['task']}"
        assert bed.inside(place, "stat", "-c", "%U", file).stdout.strip() == USER


def test_the_shipped_training_on_data_of_the_hosts(checkout: Checkout) -> None:
    """With a secret, packages, early termination, and the same program behind Hydra."""
    bed, project = checkout.bed, checkout.path / "tasks" / "tabular"
    image = at(bed, None, "images", "--format", "{{.Repository}}:{{.Tag}}", "infrainit-runner-digits")
    source = f"type=bind,source={project},target=/tabular,readonly"
    prepare = "python /tabular/prepare.py /tmp/data >&2 && cat /tmp/data/tumours.csv"
    table = at(
        bed, None, "run", "--rm", "--mount", source, "--entrypoint", "sh", image.split()[0], "-c", prepare
    )
    for host in (HOST1, HOST2):
        keep = "mkdir -p data/tumours && cat >data/tumours/tumours.csv"
        assert bed.login(host, keep, stdin=table.encode()).returncode == 0
    secret = {"SPLIT_KEY": "s3cret of the split"}
    command = ("infrainit.sh", "-f", "-w", "1,2", "--wait", "--fresh", "-y")
    said = checkout.run(*command, "-d", str(project), "--run-cap", "12", variables=secret).output
    assert "12/12 tasks" in said
    rows = checkout.results("tabular")
    assert {row["state"] for row in rows} <= {"done", "pruned"}
    best = min(float(row["loss"]) for row in rows if row["state"] == "done")
    assert 0.05 < best < 0.25, "a real training on real data"
    sweep = project / "hydra_sweep.yaml"
    checkout.run(*command, "-d", str(sweep), variables=secret)
    rows = checkout.results("hydra_sweep")
    assert [row["state"] for row in rows] == ["done"] * 6
    assert len({row["loss"] for row in rows}) == 6
    assert not any(secret["SPLIT_KEY"] in file.read_text() for file in bed.logs.glob("*.std*"))


SET_UP = """
import os, time
from pathlib import Path
time.sleep(3)  # long enough for each host to get one
print(f"Found: data={Path(os.environ['SETUP_DIR'], 'data').read_text().strip()}")
"""


def test_a_setup_that_fails_on_a_host_leaves_its_tasks_to_others(checkout: Checkout) -> None:
    """The first host fails; then, with other files, all do."""
    settings = "setup: [sh, -c, 'echo made >data; echo no such data >&2; [ $(hostname) != host1 ]']\n"
    project = checkout.project("set up", "n: {range: [0, 12, 1]}", {"run.py": SET_UP}, settings)
    run_set(checkout, project, "--fresh")
    rows = checkout.results("set up")
    assert {(row["state"], row["data"]) for row in rows} == {("done", "made")}
    assert "host1" not in {row["host"] for row in rows}
    said = checkout.run("check_celery_status.sh", expect=None).output
    assert "host1 failed its setup: exit code 1: no such data" in said
    log = said.partition("its log: ")[2].partition(";")[0].split()
    assert at(checkout.bed, HOST1, *log[1:]) == "no such data\n"

    (project / "project.yml").write_text("command: python run.py\nsetup: [sh, -c, 'exit 4']\n")
    said = run_set(checkout, project, "--fresh", expect=1)
    assert "set up can run on no worker host: " in said
    assert said.count("failed its setup: exit code 4") >= 3


def test_an_image_without_python_is_refused(checkout: Checkout) -> None:
    execute(["sh", "-c", "tar --create --files-from /dev/null | docker import - without-python:1"])
    project = checkout.project("no python", "n: [1]", {"run.py": ""}, "image: without-python:1\n")
    said = checkout.run("infrainit.sh", "-f", "-d", str(project), expect=1).output
    assert "image: without-python:1 has no python3 of 3.8 or newer in its PATH" in said


def test_tasks_that_run_are_not_ended_without_being_asked(checkout: Checkout) -> None:
    code = "import time\ntime.sleep(45)\n"  # longer than infrainit.sh takes to look at them
    project = checkout.project("asked", "n: {range: [0, 4, 1]}", {"run.py": code}, "copies: false\n")
    checkout.run("infrainit.sh", "-f", "-d", str(project))
    wait_for("tasks run", lambda: status(checkout)["running"] >= 2, seconds=30)
    (project / "requirements.txt").write_text("six==1.15.0\n")
    said = checkout.run("infrainit.sh", "-f", "-d", str(project), expect=1).output
    assert "a new image or new settings of the runner make them begin again" in said
    worker = checkout.container(HOST1, "worker")["Id"]
    checkout.run("infrainit.sh", "-f", "-d", str(project), "-y", "--fresh")  # some may have ended by now
    assert checkout.container(HOST1, "worker")["Id"] == worker, "the runner alone is replaced"

    wait_for("tasks run", lambda: status(checkout)["running"] >= 2, seconds=30)
    running, now = status(checkout)["running"], time.time()
    runner = checkout.container(HOST1, "runner")["Id"]
    (project / "requirements.txt").unlink()  # that image is here already
    said = run_set(checkout, project, "--drain")
    assert "nothing runs there any more" in said
    assert checkout.container(HOST1, "runner")["Id"] != runner
    assert not any(host["drained"] for host in status(checkout)["hosts"].values())
    rows = checkout.results("asked")
    assert {row["state"] for row in rows} == {"done"}
    assert sum(started(row) < now for row in rows) >= running, "none of them has begun again"


def test_a_restarted_master_goes_on_from_its_journal(checkout: Checkout) -> None:
    code = "import time\ntime.sleep(5)\n"
    project = checkout.project("long", "n: {range: [0, 12, 1]}", {"run.py": code})
    checkout.run("infrainit.sh", "-f", "-d", str(project))
    wait_for("tasks run", lambda: status(checkout)["running"] >= 4, seconds=30)
    at(checkout.bed, HOST1, "kill", f"{checkout.identity}-master")
    run_set(checkout, project)
    rows = checkout.results("long")
    assert [(row["n"], row["state"], row["attempts"]) for row in rows] == [
        (str(n), "done", "1") for n in range(12)
    ]


def started(row: dict[str, str]) -> float:
    """When the task of a row was started, in Unix time."""
    return datetime.fromisoformat(row["started"].replace("Z", "+00:00")).timestamp()


def status(checkout: Checkout) -> dict[str, Any]:
    """What the master says of the set."""
    master = f"{checkout.identity}-master"
    return dict(json.loads(at(checkout.bed, HOST1, "exec", master, "framework", "status", "--json")))


def test_a_worker_joins_a_running_broker(checkout: Checkout) -> None:
    before = checkout.container(HOST1, "broker")["Id"]
    bed = checkout.bed
    joining = ["-a", "host3", "-m", "", "-w", "1", "-b", bed.address(HOST1)]
    checkout.run("infrainit.sh", *options(bed, [*joining, "-d", str(project_of(checkout))]))
    assert checkout.container(HOST3, "worker")
    assert checkout.container(HOST1, "broker")["Id"] == before
    wait_for("the master knows host3", lambda: "host3" in status(checkout)["hosts"], seconds=30)
    assert users(checkout) == {"master", "flower", "local", "host1", bed.address(HOST2), "host3"}


def users(checkout: Checkout) -> set[str]:
    """The users of the broker, those of workers by their hosts."""
    ask = "rabbitmqctl", "--quiet", "list_users", "--no-table-headers"
    listing = at(checkout.bed, HOST1, "exec", f"{checkout.identity}-broker", *ask)
    return {line.split("\t")[0].removeprefix("worker@") for line in listing.splitlines()}


def test_a_host_that_is_taken_out_loses_its_access_and_its_secrets(checkout: Checkout) -> None:
    bed, before = checkout.bed, checkout.container(HOST1, "broker")["Id"]
    secrets = f"{HOME}/celery tasks/secrets/{checkout.identity}"
    bed.inside(HOST3, "test", "-s", f"{secrets}/worker/password")
    without = ["-w", "local,1,2", "-d", str(project_of(checkout))]
    said = checkout.run("infrainit.sh", *options(bed, without)).output
    assert "host1: worker@host3 may not use the broker any more" in said
    assert users(checkout) == {"master", "flower", "local", "host1", bed.address(HOST2)}
    assert checkout.container(HOST1, "broker")["Id"] == before
    assert bed.inside(HOST3, "sh", "-c", f"test -e '{secrets}' || echo gone").stdout == "gone\n"
    assert not (checkout.path / ".infra/secrets/worker@host3").exists()
    bed.inside(HOST2, "test", "-s", f"{secrets}/worker/password")


def project_of(checkout: Checkout) -> Path:
    """The project that runs at present."""
    return checkout.projects / str(status(checkout)["project"])


def test_a_missing_worker_is_named(checkout: Checkout) -> None:
    worker = f"{checkout.identity}-worker"
    at(checkout.bed, HOST2, "stop", "--time", "2", worker)
    try:
        said = checkout.run("check_celery_status.sh", expect=1).output
        assert checkout.bed.address(HOST2) in said
    finally:
        at(checkout.bed, HOST2, "start", worker)


def test_hosts_come_and_go(checkout: Checkout) -> None:
    """Labels choose hosts, one that is down is left out, one taken out hands its tasks back at once."""
    bed = checkout.bed
    second, ghost = bed.address(HOST2), bed.address(NOBODY)
    (bed.checkouts / "hosts.yml").write_text(
        f"""
- host: host[1-1]
  slots: 1
  labels: [fast]
- host: {second}
  user: {USER}
  slots: 2
  labels: [fast, big]
- name: ghost
  host: {ghost}
  user: {USER}
  labels: [fast]
- host: not-used-and-not-there
"""
    )
    settings = "hosts: {labels: [fast]}\ncopies: false\n"
    # The second host runs whatever it gets until it is taken out; the first one lets it get some.
    code = f"import socket, time\ntime.sleep(600 if socket.gethostname() == {second!r} else 3)\n"
    name = f"came and went {time.strftime('%H%M%S')}"  # the test bed may have seen this set before
    project = checkout.project(name, "n: {range: [0, 8, 1]}", {"run.py": code}, settings)
    chosen = ["-a", f"@{bed.checkouts / 'hosts.yml'}", "-w", "local,1-3", "--tolerate", "1"]
    said = checkout.run("infrainit.sh", "-f", "-d", str(project), *chosen, expect=3).output
    assert "neither -m nor -w names them, so they are not asked: not-used-and-not-there" in said
    assert "without the labels that the project asks for (fast), so no worker there: local" in said
    assert "ghost            left out: it does not answer" in said
    assert not checkout.inventory(None)["containers"]
    first = checkout.container(HOST1, "worker")["Id"]
    wait_for(f"tasks run on {second}", lambda: status(checkout)["hosts"][second]["running"] >= 1, seconds=60)

    said = checkout.run("infrainit.sh", "-f", "-w", "1", expect=1).output
    assert re.search(f"{re.escape(second)}: ([12]) tasks? runs?", said)
    assert "this host is to run no worker any more" in said
    assert "WORKERS='local,1-3'" in (checkout.path / "config.sh").read_text()
    said = checkout.run("infrainit.sh", "-f", "-w", "1", "-y", "--wait").output
    assert "config.sh: WORKERS=1 (was local,1-3)" in said
    assert checkout.container(HOST1, "worker")["Id"] == first
    assert not checkout.inventory(HOST2)["containers"]
    assert {(row["state"], row["host"]) for row in checkout.results(name)} == {("done", "host1")}
    assert set(attempts(checkout, second)) == {"stopped"}, "handed back, not lost"


def attempts(checkout: Checkout, host: str) -> list[str]:
    """How the attempts on a host have ended, as the journal has it."""
    script = (
        "import sqlite3, sys\n"
        "journal = sqlite3.connect('file:/data/journal.sqlite?mode=ro', uri=True)\n"
        "print(*(state for (state,) in journal.execute("
        "'SELECT state FROM attempts WHERE host = ?', sys.argv[1:])))\n"
    )
    master = f"{checkout.identity}-master"
    return at(checkout.bed, HOST1, "exec", master, "python", "-c", script, host).split()
