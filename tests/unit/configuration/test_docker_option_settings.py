"""`docker_options:`: options that are taken, and why others are not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from framework.configuration.docker_option_settings import _ALLOWED
from framework.configuration.load import load_project
from framework.errors import ProjectError

ROOT = Path(__file__).parents[3]
TAKEN = [
    "--shm-size=8g", "--ulimit=memlock=-1", "--ulimit=nofile=1024:4096", "--device=/dev/fuse", "--cpus=2.5",
    "--device=/dev/dri/renderD128:rw", "--add-host=a.b:10.0.0.1", "--add-host=a:host-gateway",
    "--dns=10.0.0.1", "--dns=2001:db8::1", "--dns-search=a.b", "--dns-option=ndots:1", "--group-add=video",
    "--sysctl=net.core.somaxconn=1024", "--sysctl=net.ipv4.ip_local_port_range=1024 65000",
    "--group-add=107", "--cpuset-cpus=0-3,8", "--cpu-shares=512",
]  # fmt: skip


def load(path: Path, options: object) -> tuple[str, ...]:
    (path / "parameters.yml").write_text("n: 1\n")
    (path / "project.yml").write_text(f"command: x\ndocker_options: {json.dumps(options)}\n")
    return load_project(path).docker_options


def test_what_is_taken_passes_the_scripts_as_well(tmp_path: Path) -> None:
    assert load(tmp_path, TAKEN) == tuple(TAKEN)
    text = (ROOT / "framework/shell/one_off.sh").read_text()
    found = re.search(r"\[docker_option\]='(.*)'$", text, re.MULTILINE)
    assert found is not None
    assert [option for option in TAKEN if not re.fullmatch(found[1], option)] == []
    assert {option[2:].partition("=")[0] for option in TAKEN} == set(_ALLOWED)
    assert [name for name in _ALLOWED if name not in found[1]] == []


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--privileged", "--privileged is refused: it would take away what keeps tasks apart"),
        ("--cap-add=SYS_ADMIN", "--cap-add is refused: it would"),
        ("--network=host", "--network is refused: it is an option of the framework's own"),
        ("-v", "-v is refused: use mounts: in project.yml"),
        ("-v/a:/b", "-v/a:/b is refused: use mounts: in project.yml"),
        ("--mount type=bind", "--mount is refused: use mounts:"),
        ("-eA=b", "-eA is refused: use environment: in project.yml"),
        ("--gpus=all", "--gpus is refused: use resources: {gpus: 1}"),
        (
            "--memory=4g",
            "--memory is refused: tasks have the memory of their host; use resources: {memory: 4G}",
        ),
        ("--ipc=host", "--ipc is refused: it would share memory"),
        ("--shm-sise=8g", "--shm-sise is not among the options that are taken; did you mean '--shm-size'?"),
        ("--shm-size 8g", "'--shm-size 8g' cannot be taken; write it as in --shm-size=8g"),
        ("--shm-size", "'--shm-size' cannot be taken"),
        ("--shm-size=8", "'--shm-size=8' cannot be taken"),
        ("--device=/dev/sda", "'--device=/dev/sda' cannot be taken; write it as in --device=/dev/fuse"),
        ("--device=/dev/dri/../sda", "'--device=/dev/dri/../sda' cannot be taken"),
        ("--sysctl=kernel.panic=1", "'--sysctl=kernel.panic=1' cannot be taken"),
        ("--group-add=0", "'--group-add=0' cannot be taken"),
        ("--group-add=docker", "'--group-add=docker' cannot be taken"),
        ("--ulimit=memlock=-1\n", "'--ulimit=memlock=-1\\n' cannot be taken"),
        ("ubuntu", "'ubuntu' is not an option; write each as one word in quotes"),
        ("", "'' is not an option"),
    ],
)
def test_what_is_refused(tmp_path: Path, option: str, said: str) -> None:
    with pytest.raises(ProjectError) as caught:
        load(tmp_path, ["--cpus=1", option])
    (line,) = caught.value.problems
    assert line.startswith(f"{tmp_path}/project.yml:2:30: docker_options: {said}")


def test_it_is_a_list_of_words(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="2:17: docker_options: has to be a list of options"):
        load(tmp_path, "--cpus=1")
    with pytest.raises(ProjectError, match="2:18: docker_options: '' is not an option"):
        load(tmp_path, [["--cpus=1"]])
