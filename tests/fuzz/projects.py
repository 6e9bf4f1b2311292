"""Files of projects: what is no project is refused with places, and all that follows from a project works."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from framework.cli.needs import run_needs
from framework.cli.plan import make_plan, notices_of
from framework.configuration.import_file import import_file
from framework.configuration.load import load_project
from framework.errors import FrameworkError, ProjectError
from framework.master.advice import ON_HOSTS

ROOT = Path(__file__).resolve().parents[2]
_ONE_OFF = (ROOT / "framework/shell/one_off.sh").read_text()
_NAMED = dict(re.findall(r"^readonly (\w+)='(.*?)'(?: +#.*)?$", _ONE_OFF, re.MULTILINE))
_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
# What the scripts take of each key that `framework needs` prints.
NEED_PATTERNS = {
    key: re.sub(r"\$(\w+)", lambda name: _NAMED[name[1]], text).replace("[:cntrl:]", _CONTROLS)
    for key, text in re.findall(r"""^  \[(\w+)\]=["'](.*?)["'](?: +#.*)?$""", _ONE_OFF, re.MULTILINE)
}
# Words that readers know: they stand in their sources.
WORDS = sorted(
    {
        word
        for file in (ROOT / "framework").glob("[cps]*/*.py")
        if file.parent.name in ("configuration", "project", "space")
        for word in re.findall(r'"([\w${}.!/*<-][\w${}.!/ -]{0,25})"', file.read_text())
    }
)
NAMES = ["x", "y", "a.b", "lr", "seed", "<<", "?"]
SCALARS = [
    "0", "1", "-1", "3", "0.5", "1e-3", "1e400", "-0.0", ".inf", ".nan", "1_000", "0x1F", "0o17", "017",
    "1e3", "9" * 400, "9" * 5000, "1e-400", "9007199254740993", "123456789012345678901", "true", "no",
    "null", "~", "''", '""', "a", "[1, 2]", "{}", "[]", "30m", "4G", "1e309m", "2026-01-31", "12:30:45",
    "=", "|", ">", "'a b'", '"\\ud83d\\ude00"', '"\\ud800"', '"\\0"', '"\\x1b[31m"', "é", "\u202e",
    "${args}", "${envvar:HOME}", "{x}", "{{x}}", "{task_id}", "${args_json_file}",
    "!!python/tuple [0, 1, 0.1]", "!!int 1", "!!float x", "!!binary aGk=", "!!set {a}", "&a [*a]", "&a 1",
    "*a", "*b", "{range: [0, 1000000000000, 1]}", "{range: [0, 1, 1e-300]}", "{min: 0, max: 1}",
    "{min: 0.0, max: 1e308}", "{min: -1e308, max: 1e308}",
    "{distribution: log_uniform_values, min: 1e-300, max: 1e300}", "{values: [1, 2]}", "{value: 1}",
    "{expr: x ** 9 ** 9 ** 9}", "{expr: 'x'}", "{expr: x + 1, when: {x: 1}}", "x * 10 ** 400",
    "[1, 1, 1.0, true]", "{values: [1, 2], probabilities: [0.5, 0.5]}", "{min: 1, max: 3, log: true}",
    "{min: 0, max: 10, step: 3}", "../..", "/etc/passwd", "src/", "./a b", "[a, [b, [c]]]",
    "{a: {b: {c: 1}}}", "[[1, 2], [3, 4]]", "- 1", "'*.ckpt'", "'['", "'!a'", "'\\'", "~/x",
    "/data:/data:ro",
]  # fmt: skip


@dataclass(frozen=True)
class Files:
    """Texts of a project by their paths; `start` is what is loaded: a file, or "" for the directory."""

    start: str
    texts: Mapping[str, str]


def strategy(cases: Path | None) -> st.SearchStrategy[Files]:
    seeds = [*_of_docs(), *_of_cases(ROOT / "tasks"), *(_of_cases(cases) if cases else [])]
    lines = sorted(
        {line for seed in seeds for text in seed.texts.values() for line in text.splitlines() if ":" in line}
    )
    scalar = (
        st.sampled_from(SCALARS)
        | st.sampled_from(WORDS)
        | st.sampled_from(NAMES)
        | st.integers().map(str)
        | st.floats().map(str)
    )
    key = st.sampled_from(WORDS) | st.sampled_from(NAMES)
    flow = st.recursive(
        scalar,
        lambda inner: (
            st.lists(inner, max_size=4).map(lambda items: f"[{', '.join(items)}]")
            | st.dictionaries(key, inner, max_size=4).map(
                lambda d: "{" + ", ".join(f"{k}: {v}" for k, v in d.items()) + "}"
            )
        ),
        max_leaves=8,
    )
    line = st.sampled_from(lines) | st.builds("{}: {}".format, key, flow)
    mapping = st.lists(line, max_size=6).map("\n".join)
    made = st.builds(
        lambda start, command, settings, parameters: Files(
            start, {start or "project.yml": command + settings, "parameters.yml": parameters}
        ),
        st.sampled_from(["", "", "sweep.yaml"]),
        st.sampled_from(["command: python train.py\n", "program: train.py\n", "function: train:run\n", ""]),
        mapping,
        st.builds("{}\n{}: {}".format, mapping, st.sampled_from(NAMES), flow) | mapping,
    )
    change = st.tuples(
        st.sampled_from(["value", "value", "line", "drop", "twice", "swap", "indent", "insert", "cut"]),
        st.integers(0, 200), st.integers(0, 200), flow, line,
    )  # fmt: skip
    return (
        st.builds(
            lambda seed, changes: Files(seed.start, _changed(seed.texts, changes)),
            st.sampled_from(seeds),
            st.lists(change, max_size=4),
        )
        | made
    )


def _changed(texts: Mapping[str, str], changes: list[tuple[str, int, int, str, str]]) -> dict[str, str]:
    changed = dict(texts)
    for kind, at, other, flow, line in changes:
        name = sorted(changed)[other % len(changed)]
        lines = changed[name].split("\n")
        at %= len(lines)
        old = lines[at]
        match kind:
            case "value":
                lines[at] = f"{old.partition(':')[0]}: {flow}"
            case "line":
                lines[at:at] = [" " * (len(old) - len(old.lstrip())) + line]
            case "drop":
                del lines[at]
            case "twice":
                lines[at:at] = [old]
            case "swap":
                lines[at], lines[other % len(lines)] = lines[other % len(lines)], old
            case "indent":
                lines[at] = " " * (other % 5) + old
            case "insert":
                column = other % (len(old) + 1)
                lines[at] = old[:column] + flow + old[column:]
            case "cut":
                lines[at] = old[: other % (len(old) + 1)]
        changed[name] = "\n".join(lines)
    return changed


def _of_docs() -> list[Files]:
    """The examples in docs/, each as settings, as metaparameters, and as a sweep file."""
    found = []
    for block in re.findall(
        r"^```yaml\n(.*?)^```$", (ROOT / "docs/projects.md").read_text(), re.DOTALL | re.MULTILINE
    ):
        if "program:" in block or "parameters:" in block:
            found.append(Files("sweep.yaml", {"sweep.yaml": block}))
        elif re.search(
            "^(command|function|metric|method|notify|mounts|resources|image|setup)", block, re.MULTILINE
        ):
            command = (
                "" if re.search("^(command|function):", block, re.MULTILINE) else "command: python train.py\n"
            )
            found.append(
                Files("", {"project.yml": command + block, "parameters.yml": "C: [1, 2]\ngamma: 0.1\n"})
            )
        else:
            found.append(Files("", {"project.yml": "command: python train.py", "parameters.yml": block}))
    return found


def _of_cases(directory: Path) -> list[Files]:
    found = []
    for project in sorted(each for each in directory.iterdir() if each.is_dir()):
        texts = {}
        for file in sorted(project.iterdir()):
            if file.suffix in (".yml", ".yaml", ".json") or file.name in (
                ".infrainitignore",
                "requirements.txt",
                "Dockerfile",
            ):
                texts[file.name] = file.read_bytes().decode(errors="replace")
        if texts:
            found.append(Files("" if "project.yml" in texts or "sweep.yaml" in texts else min(texts), texts))
    return found


def check(files: Files) -> str:
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / "p"
        directory.mkdir()
        for name in ("train.py", "fit.py", "run.sh", "Dockerfile"):
            (directory / name).write_text("FROM debian\nCOPY . /\n" if name == "Dockerfile" else "")
        for name, text in files.texts.items():
            (directory / name).write_bytes(text.encode(errors="surrogatepass"))
        outcome = _refused_or(lambda: _check_project(directory / files.start), directory)
        for name in files.texts:
            if name.endswith((".yml", ".yaml", ".json")):
                _refused_or(lambda name=name: _check_import(directory, directory / name), directory)
    return outcome


def _check_import(directory: Path, file: Path) -> None:
    """What a file of another tool is translated to can be read, and is refused only for its meaning."""
    text = import_file(file)
    (directory / "project.yml").write_text("command: a\nmethod: random\nrun_cap: 3\n")
    (directory / "parameters.yml").write_text(text)
    for found in directory.glob("sweep.*"):
        found.unlink()
    said = ""
    try:
        load_project(directory)
    except ProjectError as error:
        said = str(error)
    assert "not valid YAML" not in said, (text, said)


def _refused_or(work: Callable[[], object], directory: Path) -> str:
    try:
        work()
        return "accepted"
    except FrameworkError as error:
        lines = str(error).split("\n")
        is_project = isinstance(error, ProjectError)
    for line in lines:
        assert line.isprintable(), line
        assert not is_project or re.match(re.escape(str(directory)) + r"(/\S+)?:(\d+:\d+:)? ", line), line
        assert len(line) < 2000, line
    return "refused"


def _check_project(path: Path) -> None:
    project = load_project(path)
    assert all(each.isprintable() for each in notices_of(project, on_hosts=True)), project.notices
    plan = make_plan(project, None, {"here": 2}, ON_HOSTS)
    plan.to_json().encode()
    assert all(line.isprintable() for line in str(plan).split("\n")), str(plan)
    again = load_project(path)
    space = project.space
    count = space.count
    chosen = sorted(
        {
            *range(min(count, 40)),
            *(count * i // 7 for i in range(7) if count),
            *([count - 1] if count else []),
        }
    )
    ids = set()
    for number in chosen:
        parameters = space.combination(number)
        identity = project.task_id(parameters)
        assert identity == again.task_id(again.space.combination(number)), number
        assert identity not in ids, f"combination {number} comes twice: {parameters}"
        ids.add(identity)
        for word in (
            project.argv(parameters, {"TASK_DIR": "/t", "TASK_ID": identity}) if project.command else []
        ):
            assert "\0" not in word, word
            word.encode()
    printed = io.StringIO()
    options = argparse.Namespace(project=path, name=None, root=None, run_cap=None)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        run_needs(options)
    for text in printed.getvalue().removesuffix("\n").split("\n"):
        key, _, value = text.partition("=")
        assert re.fullmatch(NEED_PATTERNS[key], value, re.ASCII), text
