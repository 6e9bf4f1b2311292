"""README.md and docs/: examples are right, options and keys are described, links lead somewhere.

python tests/unit/test_docs.py     copies the help texts of the scripts into docs/options.md again
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import pytest

from framework.cli.plan import notices_of
from framework.configuration.load import load_project
from framework.configuration.settings import KEYS as PROJECT_KEYS
from framework.errors import ProjectError
from framework.project.project import Project
from framework.project.resources import Resources
from framework.space.product import listed
from framework.space.values import Value

ROOT = Path(__file__).parents[2]
PROJECTS = ROOT / "docs" / "projects.md"
OPTIONS = ROOT / "docs" / "options.md"
WIDTH = 120  # columns of a line of Markdown
PAGES = [
    file
    for file in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("docker/**/*.md")])
    if not file.is_symlink()
]
SCRIPTS = {  # by the name of the command
    "infrainit.sh": "infrainit.sh",
    "check_celery_status.sh": "check_celery_status.sh",
    "update_files.sh": "update_files.sh",
    "get_results.sh": "get_results.sh",
    "infra_clean.sh": "infra_clean.sh.tmpl",
    "install_docker_ubuntu.sh": "install_docker_ubuntu.sh",
}


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


def section(file: Path, title: str) -> str:
    """The text below a heading, up to the next one of whatever level."""
    found: dict[str, str] = {}
    heading, in_code = "", False
    for line in file.read_text().splitlines(keepends=True):
        in_code ^= line.startswith("```")
        if line.startswith("#") and not in_code:
            heading, line = line.strip("# \n"), ""
        found[heading] = found.get(heading, "") + line
    assert title in found, f"{name_of(file)}: no section {title}"
    return found[title]


def blocks(title: str, file: Path = PROJECTS) -> list[str]:
    """The blocks of code in a section."""
    return re.findall(r"^```\w*\n(.*?)^```$", section(file, title), re.DOTALL | re.MULTILINE)


def load(path: Path, parameters: str, settings: str = "command: python train.py\n") -> Project:
    path.mkdir(exist_ok=True)
    (path / "project.yml").write_text(settings)
    (path / "parameters.yml").write_text(parameters)
    return load_project(path)


def shown(value: Value) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def lines(block: str) -> list[str]:
    return block.splitlines()


# The examples are right


@pytest.mark.parametrize("line", lines(blocks("Values")[0]))
def test_each_form_stands_for_what_is_said(tmp_path: Path, line: str) -> None:
    _, _, said = line.partition("#")
    ((_, values),) = load(tmp_path, line).search_space.dimensions.items()
    assert ", ".join(map(shown, listed(values))) == said.strip()


def test_what_else_can_be_said(tmp_path: Path) -> None:
    project = load(tmp_path, blocks("Rules")[0])
    said = re.search(r"(\d+) combinations with (\d+) seeds", section(PROJECTS, "Rules"))
    assert said is not None
    assert project.space.count == int(said[1]) * int(said[2])
    assert list(project.space)[-1] == {
        "optimizer.name": "sgd", "momentum": 0.99, "width": 32, "depth": 2, "hidden": 64, "seed": 1,
    }  # fmt: skip


@pytest.mark.parametrize("line", lines(blocks("Random")[0]))
def test_each_distribution_is_drawn_from(tmp_path: Path, line: str) -> None:
    settings = "command: python train.py\nmethod: random\nrun_cap: 20\nseed: 1\n"
    project = load(tmp_path, line, settings)
    drawn = [tuple(combination.values()) for combination in project.space]
    assert 2 <= len(drawn) == len(set(drawn)) <= 20


def test_early_termination(tmp_path: Path) -> None:
    settings = "command: python train.py\n" + blocks("Early termination")[0]
    early = load(tmp_path, "x: 1", settings).early_termination
    assert early is not None
    assert [step for step in range(1, 30) if early.is_rung(step)] == [3, 9, 27]


def test_all_settings(tmp_path: Path) -> None:
    (settings,) = (block for block in blocks("project.yml") if block.startswith("command:"))
    project = load(tmp_path, "x: 1", settings)
    assert (project.metric, project.timeout, project.max_failures) == ("accuracy", 1800, 10)
    needs = blocks("GPUs, CPUs, memory")[0]
    resources = load(tmp_path, "x: 1", "command: python train.py\n" + needs).resources
    assert resources == Resources(gpus=Fraction(1), cpus=Fraction(2), memory=4 * 2**30)
    variables = load(tmp_path, "x: 1", blocks("Environment and secrets")[0]).variables
    assert (variables.values, variables.passed) == ({"HF_HOME": "/data/hf"}, ("LANG",))
    assert variables.secrets == ("WANDB_API_KEY", "HF_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS")
    function = blocks("Functions")[0].splitlines()[0]
    assert load(tmp_path, "x: 1", function).function == "train:run"


def test_arguments(tmp_path: Path) -> None:
    (settings,) = blocks("Arguments")
    project = load(tmp_path, "C: [1]\ngamma: 0.1\nkernel: rbf", settings)
    assert project.argv(project.space.combination(0), {"TASK_DIR": "/t"}) == [
        "./simulate", "1", "0.1", "--kernel=rbf", "--out", "/t/result.txt",
    ]  # fmt: skip
    for words in re.findall(r"`(\[\./[^`]*|awk [^`]*)`", section(PROJECTS, "Arguments")):
        load(tmp_path, "C: [1]", f"command: {words}")
    with pytest.raises(ProjectError) as caught:
        load(tmp_path, "C: [1]\ngamma: 0.1", "command: ./simulate {C} {gamna}")
    said = re.search(r"`project.yml:(.*?)`", section(PROJECTS, "Arguments"), re.DOTALL)
    assert said is not None
    assert str(caught.value) == f"{tmp_path}/project.yml:{' '.join(said[1].split())}"


def test_the_training_with_pytorch(tmp_path: Path) -> None:
    settings, parameters = blocks("Project files", ROOT / "docs" / "pytorch.md")
    project = load(tmp_path, parameters, settings)
    assert project.resources == Resources(Fraction(2), Fraction(8), 32 * 2**30, 20 * 2**30)
    assert [str(mount) for mount in project.mounts] == ["ro /data ~/data/imagenet"]
    assert notices_of(project, on_hosts=True) == []
    (program,) = blocks("The program", ROOT / "docs" / "pytorch.md")
    compile(program, "train.py", "exec")
    told = set(re.findall(r'add_argument\("--(\w+)"', program))
    assert told == {*project.space.names, "data"}


@pytest.mark.parametrize("path", ["digits", "echo", "tabular", "tabular/hydra_sweep.yaml"])
def test_each_shipped_project_is_right(path: str) -> None:
    project = load_project(ROOT / "tasks" / path)
    assert notices_of(project, on_hosts=True) == []


def test_what_is_wrong_is_said_like_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = "command: python train.py\nmetric: accuracy\nretires: 1\ngoal: maximize\n"
    with pytest.raises(ProjectError) as caught:
        load(Path("my project"), "x: 1\ny: {range: [1, 0, 1]}\n", settings)
    (said,) = (block for block in blocks("Check it") if block.startswith("my project/"))
    assert str(caught.value).splitlines() == joined(said).splitlines()


def joined(block: str) -> str:
    """A block of output without the line breaks that the width of a page has brought into it."""
    return re.sub(r"\n {4,}", " ", block)


def test_what_can_be_said_arrives_at_the_program(tmp_path: Path) -> None:
    project = load(tmp_path / "p", blocks("Rules")[0], f"command: [{sys.executable}, train.py]\n")
    (tmp_path / "p" / "train.py").write_text("import json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    command = [sys.executable, "-m", "framework", "run", "p", "--data", "data", "--slots", "2"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    for combination in (dict(each) for each in project.space):
        stdout = tmp_path / "data/tasks" / project.task_id(combination) / "1/stdout"
        assert json.loads(stdout.read_text()) == [f"--{name}={value}" for name, value in combination.items()]


@pytest.mark.parametrize("file", ["project.yml", "parameters.yml"])
def test_readme_shows_the_files_of_digits(file: str) -> None:
    text = (ROOT / "tasks/digits" / file).read_text()
    without_comments = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    shown = [re.sub(r" +#.*", "", block) for block in blocks("Write a project", ROOT / "README.md")]
    assert without_comments in shown


def test_the_first_command_in_containers_is_the_one_that_is_tested_on_a_bare_machine() -> None:
    command = "./infrainit.sh -y -d digits -m local -w local --wait"
    assert command in (ROOT / "tests/hosts/test_6_install.py").read_text()
    for page in ("README.md", "docs/local.md"):
        assert command in (ROOT / page).read_text()


# Everything is described


@pytest.mark.parametrize("command", SCRIPTS)
def test_the_help_of_each_script_is_in_options(command: str) -> None:
    (said,) = blocks(command, OPTIONS)[:1]
    assert said == help_text(command), "copy it again: python tests/unit/test_docs.py"


def test_help_is_the_first_comment_of_the_script() -> None:
    done = subprocess.run([ROOT / "infrainit.sh", "--help"], capture_output=True, text=True, check=True)
    assert wrapped(done.stdout) == help_text("infrainit.sh")


def test_each_command_of_the_framework_is_described() -> None:
    command = [sys.executable, "-m", "framework", "--help"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^    ([\w-]+)(?:  |$)", text, re.MULTILINE)
    assert len(commands) > 10
    described = re.findall(r"^\| `([\w-]+)", section(OPTIONS, "framework"), re.MULTILINE)
    assert [each for each in commands if each not in described] == []


@pytest.mark.parametrize("key", PROJECT_KEYS)
def test_each_key_of_project_yml_is_described(key: str) -> None:
    assert re.search(rf"^\| `{key}` \|", section(PROJECTS, "project.yml"), re.MULTILINE)


def test_each_setting_of_config_sh_is_described() -> None:
    example = (ROOT / "config.sh.example").read_text()
    settings = re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)
    described = re.findall(r"^\| `([A-Z_]+)` \|", section(OPTIONS, "config.sh"), re.MULTILINE)
    assert described == settings


def help_text(command: str) -> str:
    """What `command --help` prints: the first comment of the script; wrapped for a page."""
    _, *rest = (ROOT / SCRIPTS[command]).read_text().splitlines()
    end = next(number for number, line in enumerate(rest) if not line.startswith("#"))
    return wrapped("\n".join(line[1:].removeprefix(" ") for line in rest[:end]) + "\n")


def wrapped(text: str) -> str:
    """A help text in lines that are short enough: its paragraphs, and what stands beside its options."""
    done: list[str] = []
    column: int | None = None  # where a line begins that goes on with the last one
    for line in text.splitlines():
        indentation = len(line) - len(line.lstrip())
        if done and done[-1] and line and indentation == column and not line.lower().startswith("usage:"):
            done[-1] += f" {line.strip()}"
            continue
        beside = re.match(r" +-.*?\S {2,}(?=\S)", line)
        column = len(beside[0]) if beside else None if indentation else 0
        done.append(line)
    return "".join(f"{line}\n" for each in done for line in filled(each))


def filled(line: str) -> list[str]:
    beside = re.match(r" +-.*?\S {2,}(?=\S)|", line)
    head = beside[0] if beside else ""
    text, indentation = line[len(head) :], " " * len(head)
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=indentation, break_on_hyphens=False
    ) or [""]


def write_help() -> None:
    text = OPTIONS.read_text()
    for command in SCRIPTS:
        start = text.index("```text\n", text.index(f"## {command}\n")) + len("```text\n")
        text = text[:start] + help_text(command) + text[text.index("```\n", start) :]
    OPTIONS.write_text(text)


# Pages can be read, and links lead somewhere


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_line_is_too_long(page: Path) -> None:
    numbered = enumerate(page.read_text().splitlines(), 1)
    assert [f"{name_of(page)}:{number}" for number, line in numbered if len(line) > WIDTH] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)|src(?:set)?=\"([^\"]+)\"", prose(page)):
        target, _, anchor = "".join(link).partition("#")
        if target.startswith(("http://", "https://")):
            continue
        file = page.parent / target if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append("".join(link))
    assert wrong == []


def test_readme_leads_to_each_page() -> None:
    linked = set(re.findall(r"\]\((docs/[\w/]+\.md)", prose(ROOT / "README.md")))
    assert linked == {name_of(page) for page in (ROOT / "docs").rglob("*.md")}


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


if __name__ == "__main__":
    write_help()
