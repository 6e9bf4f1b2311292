"""`notify:` in project.yml."""

from __future__ import annotations

from pathlib import Path

import pytest
from project_directory import ProjectDirectory

from framework.cli import main as cli
from framework.project.notify import Notify
from framework.project.variables import Wanted


@pytest.fixture
def project(tmp_path: Path) -> ProjectDirectory:
    return ProjectDirectory(tmp_path)


def read(project: ProjectDirectory, more: str) -> Notify | None:
    return project.load(settings=f"command: train\n{more}").notify


@pytest.mark.parametrize(
    ("text", "notify"),
    [
        ("https://ntfy.sh/a-topic", Notify("https://ntfy.sh/a-topic")),
        ("{url: 'http://[::1]:8080/x?y=1'}", Notify("http://[::1]:8080/x?y=1")),
        ("${HOOK}", Notify("${HOOK}", wanted=(Wanted("HOOK", "2:9", True),))),
        (
            "https://x.example/${A}/${B}",
            Notify(
                "https://x.example/${A}/${B}", wanted=(Wanted("A", "2:9", True), Wanted("B", "2:9", True))
            ),
        ),
        ("./tell.sh 'of it'", Notify(command=("./tell.sh", "of it"))),
        ("[python, tell.py]", Notify(command=("python", "tell.py"))),
        (
            "{command: ./tell.sh, secrets: [KEY]}",
            Notify(command=("./tell.sh",), wanted=(Wanted("KEY", "2:40", True),)),
        ),
    ],
)
def test_a_webhook_or_a_command(project: ProjectDirectory, text: str, notify: Notify) -> None:
    assert read(project, f"notify: {text}\n") == notify


def test_values_of_the_project_itself_are_used(project: ProjectDirectory) -> None:
    notify = read(
        project,
        "environment: {HOST: x.example}\nsecrets: {TOKEN: {file: ~/.token}, HOOK: }\n"
        "notify: https://${HOST}/${TOKEN}/${HOOK}\n",
    )
    assert notify is not None
    assert notify.wanted == (Wanted("TOKEN", "4:9", True, "~/.token"), Wanted("HOOK", "4:9", True))
    assert notify.address({"TOKEN": "t", "HOOK": "${HOST}"}) == "https://x.example/t/${HOST}"


def test_the_scripts_learn_what_they_have_to_send(
    project: ProjectDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    read(project, "secrets: {TOKEN: {file: ~/.token}}\nnotify: https://x.example/${TOKEN}/${HOOK}\n")
    assert cli.main(["needs", str(project.path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == ["notify_value=TOKEN 3:9 ~/.token", "notify=HOOK 3:9"]


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("https:///x", "2:9", "notify: is no URL; write a webhook, as in https://ntfy.sh/my-topic or"),
        ("'https://a b'", "2:9", "notify: is no URL"),
        ("{url: ftp://x}", "2:9", "notify: is no URL"),
        ("''", "2:9", "notify: write a webhook"),
        ("{}", "2:9", "notify: has to have a url or a command, one of them"),
        ("{url: 'https://x', command: y}", "2:9", "one of them"),
        ("{url: 'https://x', secret: y}", "2:28", "unknown key 'secret'; did you mean 'secrets'"),
        ("./tell.sh ${KEY}", "2:9", "all who list processes would see the value; name it in secrets:"),
        ("{command: x, secrets: KEY}", "2:31", "secrets: has to be a list, as in [SMTP_PASSWORD]"),
        ("{command: x, secrets: [a b]}", "2:32", "write names of variables"),
        ("${FILE}", "2:9", "notify: FILE is a file in secrets:, and is needed here as a variable"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    project: ProjectDirectory, text: str, where: str, said: str
) -> None:
    secrets = "secrets: {FILE: {file: ~/x, as: file}}"
    line = project.problem(settings=f"command: train\nnotify: {text}\n{secrets}\n")
    assert line.startswith(f"project.yml:{where}: ")
    assert said in line
