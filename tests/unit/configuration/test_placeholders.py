"""Braces in the command of project.yml: what they stand for, and where one stands for nothing."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from project_directory import ProjectDirectory

from framework.messages.task_ids import task_id

PARAMETERS = "C: [1, 2]\ngamma: [0.1]\n"


def test_names_in_a_line_and_in_a_list(directory: ProjectDirectory) -> None:
    line = directory.load(PARAMETERS, "command: ./simulate {C} '{gamma} x' --out {task_dir}/o.txt {{}}")
    words = directory.load(
        PARAMETERS, "command:\n- ./simulate\n- '{C}'\n- '{gamma} x'\n- --out\n- '{task_dir}/o.txt'\n- '{{}}'"
    )
    assert line.command == words.command
    assert line.argv(line.space.combination(1), {"TASK_DIR": "/t"}) == [
        "./simulate", "2", "0.1 x", "--out", "/t/o.txt", "{}",
    ]  # fmt: skip
    assert line.shown(line.space.combination(0)) == "./simulate 1 '0.1 x' --out '{task_dir}/o.txt' '{}'"


@pytest.mark.parametrize(
    ("parameters", "command", "words"),
    [
        (PARAMETERS, "run {C} ${args_no_hyphens}", ["run", "1", "C=1", "gamma=0.1"]),
        (PARAMETERS, "run {C} ${no_args}", ["run", "1"]),
        (PARAMETERS, "run {task_id}", ["run", "{task_id}", "--C=1", "--gamma=0.1"]),
        ("C: [1]\nD: {expression: 2 * C}\nseeds: 2", "run {D} {seed} {C}", ["run", "2", "0", "1"]),
        ("opt: {parameters: {rate: {values: [1]}}}", "run {opt.rate}", ["run", "1"]),
        ("x: {values: ['{y}']}\ny: 2", "run {x} {y}", ["run", "{y}", "2"]),
    ],
)
def test_what_a_command_gets(
    directory: ProjectDirectory, parameters: str, command: str, words: list[str]
) -> None:
    project = directory.load(parameters, f"command: {command}")
    assert project.argv(project.space.combination(0)) == words


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("run {gama} {C}", "1:14: command: no metaparameter 'gama'; did you mean 'gamma'?"),
        ("run {C}\n  {task}", "2:3: command: no metaparameter 'task'; did you mean 'task_id'?"),
        ("'run {C} \"{zzzz}\"'", "1:20: command: no metaparameter 'zzzz'; known: C, gamma, task_id"),
        ('"run {C} \\u007bgama}"', "1:10: command: no metaparameter 'gama'"),
        ("[run, '{C}', '{gamma} {gama}']", "1:32: command: no metaparameter 'gama'"),
        ("run {C}", "1:10: command: never uses gamma; write {gamma}, ${args} for all"),
        ("awk '{print $1}'", "1:15: command: {print $1} is no metaparameter; write {{ and }} for braces"),
        ("find -exec rm {} ;", "1:24: command: {} is no metaparameter; write {{ and }}"),
        ('>-\n  run \'{"a": {"b": 1}}\'', "2:8: command: a { without its other brace; write {{ and }}"),
        ("run {C} {gamma} }", "1:26: command: a } without its other brace"),
        ("run ${C} {C}", "1:14: command: ${C} is no macro; write {C}"),
        ("run ${task_dir}", "1:14: command: ${task_dir} is no macro; write {task_dir}"),
        ("run ${HOME}", "1:14: command: ${HOME} is no macro; write ${envvar:HOME} for the variable"),
        ("run ${agrs}", "1:14: command: unknown macro ${agrs}; did you mean 'args'?"),
        ("run dir=${now:%H}", "1:18: command: ${now:%H} is no macro; write {{ and }} for braces"),
        ("run x${args}", "1:15: command: ${args} stands for whole words; write it as a word of its own"),
        ("python ${program}", "1:17: command: ${program} goes with W&B sweep files; write the program"),
        ("[run, {C}]", "1:10: command: text that begins with a brace has to be in quotes; write '{C}'"),
        ("{C}", "1:10: command: text that begins with a brace has to be in quotes; write '{C}'"),
    ],
)
def test_what_stands_for_nothing_and_where(directory: ProjectDirectory, command: str, problem: str) -> None:
    (found,) = directory.problems(PARAMETERS, f"command: {command}")
    assert found.startswith(f"project.yml:{problem}")
    assert re.search(r"; |\?", found), "it does not say what to do"


def test_each_of_several_is_a_problem(directory: ProjectDirectory) -> None:
    problems = directory.problems(PARAMETERS, "command: run {a} {a} {b}")
    assert [each.partition(": ")[0] for each in problems] == [
        f"project.yml:1:{column}" for column in (14, 18, 22)
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        "C: [1, 2]\ngamma: {values: [1], when: {C: 1}}",
        "C: [1, 2]\nx: {values: [1], when: {C: 1}}\ngamma: {expression: 2 * x}",
    ],
)
def test_a_metaparameter_that_some_combinations_lack_has_no_place(
    directory: ProjectDirectory, parameters: str
) -> None:
    assert directory.problem(parameters, "command: run {C} {gamma} ${args}").startswith(
        "project.yml:1:18: command: gamma does not exist in each combination, by its when; leave {gamma} out"
    )
    project = directory.load(parameters, "command: run {C} ${args_no_hyphens}")
    assert "gamma" not in " ".join(project.argv(project.space.combination(project.space.count - 1)))


def test_a_metaparameter_has_another_name_than_what_is_of_the_task(directory: ProjectDirectory) -> None:
    assert directory.problem("task_id: 1", "command: run {task_id}").startswith(
        "project.yml:1:14: command: {task_id} is task_id of the task, and a metaparameter; rename that"
    )
    assert directory.load("task_id: 1", "command: run").argv({"task_id": 1}) == ["run", "--task_id=1"]


def test_the_identity_of_tasks_stays(directory: ProjectDirectory) -> None:
    words = ["awk", "{print}", "${args}"]
    content = json.dumps({"command": words, "parameters": {"x": 1}}, sort_keys=True, separators=(",", ":"))
    before = hashlib.sha256(content.encode()).hexdigest()[:16]
    assert task_id(words, {"x": 1}) == before
    project = directory.load("x: 1", "command: awk {{print}} ${args}")
    assert project.task_id({"x": 1}) == project.recorded_id({"x": 1}) == before
    plain, named = (directory.load("x: 1", f"command: run {word}") for word in ("{{x}}", "{x}"))
    assert plain.task_id({"x": 1}) != named.task_id({"x": 1})
