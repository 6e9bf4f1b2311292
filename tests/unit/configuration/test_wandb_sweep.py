"""W&B sweep files: each key that is read, and everything that is wrong with one, with its place."""

import json
from pathlib import Path

import pytest
from project_directory import numeric

from framework.configuration.load import load_project
from framework.errors import ProjectError
from framework.messages.task_ids import task_id
from framework.project.project import Project
from framework.space.distributions import LogUniform
from framework.space.values import Value

SWEEP = """\
program: train.py
name: sweepdemo
project: digits
method: grid
metric: {name: val/loss}
parameters:
  lr: {values: [0.1, 1e-05]}
  batch: {value: 16}
  optimizer:
    parameters:
      nesterov: {values: [true, false]}
"""
COMMAND = 'command: ["${env}", "${interpreter}", "${program}", '


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "my set"
    path.mkdir()
    (path / "train.py").touch()
    return path


def load(directory: Path, text: str, name: str = "sweep.yaml") -> Project:
    (directory / name).write_text(text)
    return load_project(directory)


def problems_of(directory: Path, text: str) -> list[str]:
    with pytest.raises(ProjectError) as caught:
        load(directory, text)
    return [problem.removeprefix(f"{directory}/sweep.yaml:") for problem in caught.value.problems]


@pytest.mark.parametrize("name", ["sweep.yaml", "sweep.yml"])
def test_a_directory_with_a_sweep_file(directory: Path, name: str) -> None:
    project = load(directory, SWEEP, name)
    assert project.name == "my set"
    assert (project.metric, project.goal) == ("val/loss", "minimize")
    assert [project.argv(each) for each in project.space][1:3] == [
        ["/usr/bin/env", "python", "train.py", "--batch=16", "--lr=0.1", "--optimizer.nesterov=False"],
        ["/usr/bin/env", "python", "train.py", "--batch=16", "--lr=1e-05", "--optimizer.nesterov=True"],
    ]


def test_a_sweep_file_of_any_name(directory: Path) -> None:
    (directory / "wide.yaml").write_text(SWEEP)
    project = load_project(directory / "wide.yaml")
    assert (project.name, project.path, project.space.count) == ("wide", directory, 4)
    assert project.sweep_file == directory / "wide.yaml"
    assert load_project(directory / "wide.yaml", "other").name == "other"


def test_a_project_file_comes_first(directory: Path) -> None:
    (directory / "project.yml").write_text("command: run\n")
    (directory / "parameters.yml").write_text("x: 1\n")
    assert load(directory, SWEEP).command == ("run",)


def test_a_whole_sweep_file(directory: Path) -> None:
    project = load(
        directory,
        "method: random\nrun_cap: 7\ntimeout: 5m\nmetric: {name: accuracy, goal: maximize}\n"
        "program: train.py\nparameters: {lr: {min: 0.0, max: 1.0}, n: {min: 1, max: 3}}\n",
    )
    assert (project.goal, project.timeout, project.space.count) == ("maximize", 300, 7)
    assert all(0 <= numeric(each["lr"]) <= 1 and each["n"] in (1, 2, 3) for each in project.space)


@pytest.mark.parametrize(
    ("macro", "words"),
    [
        ("${args}", ["--lr=0.1", "--on=True", "--off=False", "--text=a b"]),
        ("${args_no_boolean_flags}", ["--lr=0.1", "--on", "--text=a b"]),
        ("${args_no_hyphens}", ["lr=0.1", "on=True", "off=False", "text=a b"]),
        ("${args_json}", ['{"lr": 0.1, "on": true, "off": false, "text": "a b"}']),
    ],
)
def test_macros(directory: Path, macro: str, words: list[str]) -> None:
    parameters: dict[str, Value] = {"lr": 0.1, "on": True, "off": False, "text": "a b"}
    project = load(directory, SWEEP + COMMAND + f'-u, "{macro}", --last]\n')
    assert project.argv(parameters) == ["/usr/bin/env", "python", "train.py", "-u", *words, "--last"]


def test_variables_are_those_of_the_task(directory: Path) -> None:
    project = load(directory, SWEEP + COMMAND + '"--home=${envvar:HOME}/x", "${args_json}"]\n')
    assert project.argv({})[3:] == ["--home=${envvar:HOME}/x", "{}"]
    assert project.argv({}, {"HOME": "/me"})[3:] == ["--home=/me/x", "{}"]


def test_a_command_as_a_line(directory: Path) -> None:
    project = load(
        directory, SWEEP + "command: '${env} ${interpreter} -u ${program} \"a b\" ${args_no_hyphens}'\n"
    )
    assert project.argv({"x": 1}) == ["/usr/bin/env", "python", "-u", "train.py", "a b", "x=1"]
    (found,) = problems_of(directory, SWEEP + "command: '${program} \"'\n")
    assert found.startswith("12:10: command: No closing quotation; write a line as for a shell, or a list")


def test_words_of_a_command_are_written_as_python_writes_their_values(directory: Path) -> None:
    project = load(directory, SWEEP + COMMAND + 'true, 010, null, 1.50, "010", "${args}"]\n')
    assert project.argv({})[3:] == ["True", "8", "None", "1.5", "010"]
    assert [notice.partition(": ")[2] for notice in project.notices][:1] == [
        "command: true is the word True, as in W&B"
    ]


def test_macros_of_the_program_stay(directory: Path) -> None:
    project = load(directory, SWEEP + COMMAND + '"hydra.run.dir=a/${now:%H}", "${args_no_hyphens}"]\n')
    assert project.argv({"x": 1}, {})[3:] == ["hydra.run.dir=a/${now:%H}", "x=1"]


def test_braces_are_those_of_the_program(directory: Path) -> None:
    words = ["{lr}", "{{task_dir}}", '{"a": {"b": 1}}', "}"]
    project = load(directory, SWEEP + COMMAND + f'{json.dumps(words)[1:-1]}, "${{args}}"]\n')
    assert project.argv({"lr": 1}, {"TASK_DIR": "/t"})[3:] == [*words, "--lr=1"]
    known = task_id(["/usr/bin/env", "python", "train.py", *words, "${args}"], {"lr": 1})
    assert project.task_id({"lr": 1}) == known, "as in earlier versions"


def test_a_command_without_arguments_leaves_them_to_wandb_config(directory: Path) -> None:
    project = load(directory, SWEEP + COMMAND + "1]\n")
    assert project.argv({"x": 1}) == ["/usr/bin/env", "python", "train.py", "1"]
    assert "12:10: no ${args}: the program gets its metaparameters from wandb.config" in project.notices[0]


def test_a_function(directory: Path) -> None:
    text = "function: train:run\nmethod: grid\nparameters: {rate: {values: [[1], null, {a: x}]}}\n"
    project = load(directory, text)
    assert (project.function, project.command) == ("train:run", ())
    assert [each["rate"] for each in project.space] == [[1], None, {"a": "x"}]


def test_the_order_is_that_of_the_names_unless_the_file_has_rules(directory: Path) -> None:
    text = "program: train.py\nmethod: grid\nparameters:\n  o: {parameters: {z: {value: 1}, y: {value: 2}}}\n"
    text += "  b: {values: [1, 2]}\n  a: {values: [3, 4]}\n"
    assert list(load(directory, text).space) == [
        {"a": a, "b": b, "o.y": 2, "o.z": 1} for a in (3, 4) for b in (1, 2)
    ]
    assert load(directory, text + "seeds: 2\n").space.names == ("o.z", "o.y", "b", "a", "seed")
    assert load(directory, text + "  z: {value: 0, when: {b: 1}}\n").space.names[-1] == "z"


def test_rules(directory: Path) -> None:
    text = "program: train.py\nmethod: grid\nparameters: {a: {values: [1, 2]}, b: {values: [3, 4]}}\n"
    assert list(load(directory, text + "zip: [a, b]\nexclude: [{a: 2}]\n").space) == [{"a": 1, "b": 3}]


def test_computed_metaparameters_and_where(directory: Path) -> None:
    project = load(
        directory,
        "program: train.py\nmethod: grid\nwhere: width <= 64 and clip != 1\nparameters:\n"
        "  width: {values: [32, 64, 128]}\n  clip: {values: [null, 1]}\n"
        "  layers: {values: [[64, 32], [8]], when: {width: 64}}\n"
        "  hidden: {expression: 2 * width}\n  copy: ${layers}\n",
    )
    assert list(project.space) == [
        {"width": 32, "clip": None, "hidden": 64},
        {"width": 64, "clip": None, "layers": [64, 32], "hidden": 128, "copy": [64, 32]},
        {"width": 64, "clip": None, "layers": [8], "hidden": 128, "copy": [8]},
    ]
    assert [project.search_space.index_of(each) for each in project.space] == [0, 1, 2]


@pytest.mark.parametrize("computed", ["{expression: 2 * z}", "${z}"])
def test_computed_metaparameters_keep_the_order_of_the_file(directory: Path, computed: str) -> None:
    text = f"program: train.py\nmethod: grid\nparameters:\n  z: {{values: [1]}}\n  a: {computed}\n"
    assert load(directory, text).space.names == ("z", "a")
    nested = text.replace("  a:", "  o:\n    parameters:\n      b: {value: 3}\n      a:")
    assert load(directory, nested).space.names == ("z", "o.b", "o.a")


def test_log_spaced_lists_and_bounded_normals_take_numbers_of_yaml_1_2(directory: Path) -> None:
    project = load(
        directory,
        "program: train.py\nmethod: random\nrun_cap: 5\nparameters:\n"
        "  lr: {logspace: [1e-3, 1e-1, 3]}\n  x: {distribution: normal, max: 1e-3}\n",
    )
    assert {each["lr"] for each in project.space} <= {1e-3, 1e-2, 1e-1}
    assert all(numeric(each["x"]) <= 1e-3 for each in project.space)


def test_keys_of_other_tools_are_unknown(directory: Path) -> None:
    (found,) = problems_of(directory, SWEEP.replace("{value: 16}", "{grid_search: [1, 2]}"))
    assert found.startswith("8:11: unknown key 'grid_search'")


def test_words_are_those_of_yaml_1_1(directory: Path) -> None:
    text = "program: train.py\nmethod: grid\nparameters:\n  a: {values: [no, 010, 1e-3, 1_0, '1e-3']}\n"
    project = load(directory, text)
    assert [each["a"] for each in project.space] == [False, 8, "1e-3", 10]
    word, repeat = sorted(project.notices, key=lambda notice: "twice" in notice)
    assert word.removeprefix(f"{directory}/sweep.yaml:") == (
        "4:16: read as YAML 1.1, as W&B does: no is False (in YAML 1.2: 'no'), 010 is 8 (in YAML 1.2: 10), "
        "1e-3 is '1e-3' (in YAML 1.2: 0.001), 1_0 is 10 (in YAML 1.2: '1_0'); quotes make text of it, and a "
        "number has a point and a sign, as in 1.0e-3"
    )
    assert repeat.endswith("4:36: '1e-3' is in the list twice; it runs once")


def test_where_a_number_is_needed_it_is_one_in_yaml_1_1_too(directory: Path) -> None:
    limits = "min: 1e-3, max: !!float 1, distribution: log_uniform_values"
    project = load(directory, f"program: train.py\nmethod: random\nparameters: {{a: {{{limits}}}}}\n")
    assert project.search_space.dimensions["a"] == LogUniform(0.001, 1.0)
    project = load(directory, "program: train.py\nmethod: grid\nparameters: {a: {min: 06, max: 010}}\n")
    assert [each["a"] for each in project.space] == [6, 7, 8]


@pytest.mark.parametrize("values", ["[0.1, 0.01, 1.0e-1]", "[1, 1.0, 2]", "[a, b, a, a]"])
def test_a_value_that_is_there_twice_runs_once(directory: Path, values: str) -> None:
    text = f"program: train.py\nmethod: grid\nparameters: {{a: {{values: {values}}}}}\n"
    project = load(directory, text)
    assert project.space.count == 2
    assert all("is in the list twice; it runs once" in notice for notice in project.notices)
    assert project.notices


def test_merged_and_repeated_keys(directory: Path) -> None:
    text = "program: train.py\nmethod: grid\nmethod: random\nrun_cap: 1\nparameters:\n"
    text += "  a: &base {distribution: categorical, values: [1, 2]}\n  b: {<<: *base, values: [3]}\n"
    project = load(directory, text)
    assert project.method.name == "random"
    assert project.search_space.dimensions == {"a": [1, 2], "b": [3]}
    assert project.notices[0].endswith("3:1: 'method' is defined twice; this one counts")


def test_hyperband_is_that_of_wandb(directory: Path) -> None:
    found = load(directory, SWEEP + "early_terminate: {type: hyperband, max_iter: 27, s: 2}\n")
    assert found.early_termination is not None
    assert (found.early_termination.type, found.early_termination.rungs) == ("bands", (3, 9))


def test_keys_of_a_metric_that_change_nothing_are_said(directory: Path) -> None:
    project = load(directory, SWEEP.replace("name: val/loss", "name: val loss, target: 0.1, impute: worst"))
    assert (project.metric, project.goal) == ("val loss", "minimize")
    assert [notice.removeprefix(f"{directory}/sweep.yaml:") for notice in project.notices[:2]] == [
        "5:26: target: the sweep does not stop there, it runs to its end",
        "5:39: impute: changes nothing; failed tasks tell the method nothing",
    ]


@pytest.mark.parametrize("name", ["Eval|hits@10", "mAP@[0.5:0.95]", "R^2", "val loss (top-1)", "größe"])
def test_a_name_of_a_metric(directory: Path, name: str) -> None:
    assert load(directory, SWEEP.replace("{name: val/loss}", f'{{name: "{name}"}}')).metric == name
    for wrong in ("a ", "a\\nb"):
        (found,) = problems_of(directory, SWEEP.replace("{name: val/loss}", f'{{name: "{wrong}"}}'))
        assert found.startswith("5:16: metric: ")


def test_a_log_uniform_that_may_be_meant_otherwise(directory: Path) -> None:
    limits = "distribution: log_uniform, min: 0.0001, max: 0.1"
    project = load(
        directory, f"program: train.py\nmethod: random\nrun_cap: 1\nparameters: {{a: {{{limits}}}}}\n"
    )
    (notice,) = project.notices
    assert "its values go from e**0.0001, which is 1.0001, to 1.10517; for values from" in notice


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_sweep_that_wandb_would_never_end(directory: Path, method: str) -> None:
    text = f"program: train.py\nmethod: {method}\nmetric: {{name: loss}}\n"
    text += "parameters: {a: {min: 1, max: 1000}}\n"
    project = load(directory, text)
    assert project.method.run_cap == 100
    assert project.notices == (
        f"{directory}/sweep.yaml:1:1: no run_cap, and W&B would never end: 100 tasks; write run_cap: N, or "
        "--run-cap N",
    )
    given = load_project(directory, run_cap=7)
    assert (given.method.run_cap, given.notices) == (7, ())
    assert load_project(directory, run_cap=7).definition == given.definition != project.definition


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("method: grid", "", "1:1: no method; write method: grid"),
        ("method: grid", "method: gird", "4:9: method: unknown method 'gird'; did you mean 'grid'?"),
        ("method: grid", "method: grid\nrun_cap: 0", "5:10: run_cap: has to be a whole number, 1 or more"),
        ("method: grid", "method: grid\nseed: 1", "5:1: seed: a grid has nothing random"),
        ("program: train.py", "", "1:1: no program; write the script"),
        ("program: train.py", "program: other.py", "1:10: program: there is no other.py"),
        ("name: sweepdemo", 'command: ["${program}", "${args}"]\nprogram: other.py',
         "3:10: program: there is no other.py"),
        ("name: sweepdemo", 'command: ["${program}", "${args}"]\nprogram: ""', "3:10: program: no script"),
        ("name: sweepdemo", 'command: ["${args}", [a]]', "2:22: command: a word has to be text"),
        ("batch: {value: 16}", "batch:\n    value:\n  c: {value: 1}",
         "9:11: no value; write one, null, '' for empty text"),
        ("batch: {value: 16}", "batch: {distribution: beta, a: 1, b: 2}", "8:25: beta is not available"),
        ("program: train.py", "program: train.py\njob: a", "2:1: job: launch jobs are W&B's own"),
        ("program: train.py", "program: train.py\nnam: a", "2:1: unknown key 'nam'"),
        ("name: val/loss", "goal: minimize", "5:9: a metric without a name"),
        ("name: val/loss", "name: loss, gaol: minimize", "5:22: unknown key 'gaol'; did you mean 'goal'?"),
        ("name: val/loss", "name: loss, goal: up", "5:28: goal: unknown goal 'up'"),
        ("lr: {values: [0.1, 1e-05]}", "lr: {min: 0.0, max: 1}", "7:7: uniform has too many values"),
        ("name: sweepdemo", COMMAND + '"${args}", "${argz}"]',
         "2:64: unknown macro ${argz}; did you mean 'args'?"),
        ("name: sweepdemo", COMMAND + '"${args}", "x ${args}"]', "2:64: ${args} stands for whole words"),
    ],
)  # fmt: skip
def test_what_is_wrong(directory: Path, old: str, new: str, expected: str) -> None:
    (found,) = problems_of(directory, SWEEP.replace(old, new))
    assert found.startswith(expected)


def test_no_parameters(directory: Path) -> None:
    assert problems_of(directory, "program: train.py\nmethod: grid\n")[0].startswith(
        "1:1: no parameters; write"
    )
    (found,) = problems_of(directory, "program: train.py\nmethod: grid\nparameters: {}\n")
    assert found.startswith("3:13: no metaparameters; write")
    (found,) = problems_of(directory, "program: [\n")
    assert "not valid YAML" in found
