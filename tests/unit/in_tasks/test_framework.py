"""The name `framework` in tasks: the user's package if there is one, in commands and in functions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from attempt_bench import TASK_PATH, CallBench

USES = "from framework import VALUE; print(f'value={VALUE}')"


def python(program: str, directory: Path, *path: Path) -> subprocess.CompletedProcess[str]:
    # Without site-packages, where tests may have installed the framework.
    environment = {"PYTHONPATH": os.pathsep.join([TASK_PATH, *map(str, path)])}
    argv = [sys.executable, "-S", "-c", program]
    return subprocess.run(argv, cwd=directory, env=environment, capture_output=True, text=True, check=False)


def test_without_one_it_is_ours(tmp_path: Path) -> None:
    program = "import framework, framework.report; from framework import report; report(x=1)"
    assert python(program, tmp_path).stdout == "report: x=1\n"


@pytest.mark.parametrize("file", ["framework.py", "framework/__init__.py"])
def test_the_users_wins_wherever_it_is_on_the_path(tmp_path: Path, file: str) -> None:
    users = tmp_path / "later" / file
    users.parent.mkdir(parents=True)
    users.write_text("VALUE = 7")
    (tmp_path / "empty").mkdir()
    assert python(USES, tmp_path / "empty", tmp_path / "later").stdout == "value=7\n"
    assert python(USES, tmp_path / "later").stdout == "value=7\n"
    appended = f"import sys; sys.path.append({str(tmp_path / 'later')!r}); {USES}"
    assert python(appended, tmp_path / "empty").stdout == "value=7\n"


def test_a_package_without_init_is_one_if_it_has_modules(tmp_path: Path) -> None:
    (tmp_path / "framework" / "deep").mkdir(parents=True)
    assert python("from framework import report; report(x=1)", tmp_path).stdout == "report: x=1\n"
    (tmp_path / "framework" / "deep" / "models.py").write_text("VALUE = 7")
    assert python("from framework.deep.models import VALUE; print(VALUE)", tmp_path).stdout == "7\n"


def test_it_can_be_run_as_a_program(tmp_path: Path) -> None:
    def run(directory: Path, *path: Path) -> str:
        environment = {"PYTHONPATH": os.pathsep.join([TASK_PATH, *map(str, path)])}
        argv = [sys.executable, "-m", "framework", "--help"]
        found = subprocess.run(
            argv, cwd=directory, env=environment, capture_output=True, text=True, check=False
        )
        return found.stdout

    assert run(tmp_path).startswith("usage: framework")
    (tmp_path / "later" / "framework").mkdir(parents=True)
    (tmp_path / "later" / "framework" / "__init__.py").touch()
    (tmp_path / "later" / "framework" / "__main__.py").write_text("print('own')")
    assert run(tmp_path, tmp_path / "later") == "own\n"


def test_an_error_in_the_users_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "framework.py").write_text("import nothing_like_it")
    assert "No module named 'nothing_like_it'" in python(USES, Path("/"), tmp_path).stderr


def test_nothing_else_of_the_framework_is_on_the_path(tmp_path: Path) -> None:
    assert "No module named 'tests'" in python("import tests", tmp_path).stderr


@pytest.mark.parametrize("file", ["framework.py", "framework/__init__.py"])
def test_a_function_imports_the_users(calls: CallBench, file: str) -> None:
    (calls.project / file).parent.mkdir(exist_ok=True)
    (calls.project / file).write_text("VALUE = 7")
    calls.write("""
        from framework import VALUE
        from infrainit import report
        def run():
            report(reported=VALUE)
            return {"value": VALUE}
    """)
    found = calls.run()
    assert (found.reason, found.metrics) == ("", {"reported": 7, "value": 7})


def test_a_function_may_be_in_it(calls: CallBench) -> None:
    (calls.project / "framework").mkdir()
    (calls.project / "framework" / "__init__.py").touch()
    (calls.project / "framework" / "runner.py").write_text("def run(): return {'value': 7}")
    assert calls.run(function="framework.runner:run").metrics == {"value": 7}


def test_processes_that_a_call_spawns_know_the_users_too(calls: CallBench) -> None:
    (calls.project / "framework.py").write_text("def double(x): return 2 * x")
    calls.write("""
        import multiprocessing
        from framework import double
        def run():
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                return {"value": pool.map(double, [7])[0]}
    """)
    found = calls.run()
    assert (found.reason, found.metrics) == ("", {"value": 14})
