"""Reader of `docker_options:`, options of the container that tasks run in."""

from __future__ import annotations

import re
from collections.abc import Iterable

from framework.configuration.yaml_nodes import Node, Problems, ScalarNode, SequenceNode, UnusableNode, nearest

_EXAMPLE = "['--shm-size=8g', '--ulimit=memlock=-1']"
_ADDRESS = r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F:]+(?:\.[0-9]{1,3}){0,3})"
_HOST_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_NUMBER = r"[0-9]{1,9}"

# Options that are taken: how a value looks, and an example. framework/shell/one_off.sh has the names, too.
_ALLOWED = {
    "add-host": (rf"{_HOST_NAME}:(?:{_ADDRESS}|host-gateway)", "--add-host=data.example:10.0.0.7"),
    "cpu-shares": (_NUMBER, "--cpu-shares=512"),
    "cpus": (r"[0-9]{1,4}(?:\.[0-9]{1,3})?", "--cpus=4"),
    "cpuset-cpus": (rf"{_NUMBER}(?:-{_NUMBER})?(?:,{_NUMBER}(?:-{_NUMBER})?)*", "--cpuset-cpus=0-3"),
    "device": (
        r"/dev/(?:fuse|kfd|(?:dri|infiniband|accel)(?:/[A-Za-z0-9_-]+)*)(?::rw?m?)?",
        "--device=/dev/fuse (also below /dev/dri, /dev/infiniband and /dev/accel, and /dev/kfd)",
    ),
    "dns": (_ADDRESS, "--dns=10.0.0.1"),
    "dns-option": (r"[a-z0-9-]+(?::[0-9]+)?", "--dns-option=ndots:1"),
    "dns-search": (_HOST_NAME, "--dns-search=example.org"),
    "group-add": (r"video|render|audio|[1-9][0-9]{0,8}", "--group-add=video, or the number of a group"),
    "shm-size": (r"[1-9][0-9]{0,8}[kmgKMG]b?", "--shm-size=8g"),
    "sysctl": (
        r"(?:net\.[a-z0-9_.-]+|kernel\.(?:shm|msg)[a-z_]+|kernel\.sem|fs\.mqueue\.[a-z_]+)"
        r"=[0-9-]+(?: [0-9-]+)*",
        "--sysctl=net.core.somaxconn=1024 (net.*, kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*)",
    ),
    "ulimit": (
        r"(?:core|cpu|data|fsize|locks|memlock|msgqueue|nofile|nproc|rss|rtprio|rttime|sigpending|stack)"
        r"=(?:-1|[0-9]{1,15})(?::(?:-1|[0-9]{1,15}))?",
        "--ulimit=memlock=-1",
    ),
}
_SHORT = {
    "-c": "cpu-shares", "-e": "env", "-h": "hostname", "-l": "label", "-m": "memory", "-p": "publish",
    "-u": "user", "-v": "volume", "-w": "workdir",
}  # fmt: skip
_OURS = "it is an option of the framework's own, on which its work depends; leave it out"
_ISOLATION = "it would take away what keeps tasks apart from their host; leave it out"
_MOUNTS = "use mounts: in project.yml"
_ENVIRONMENT = "use environment: in project.yml"
_REFUSED = {
    "cap-add": _ISOLATION,
    "cap-drop": _OURS,
    "cgroup-parent": _ISOLATION,
    "cgroupns": _ISOLATION,
    "detach": _OURS,
    "device-cgroup-rule": _ISOLATION,
    "entrypoint": _OURS,
    "env": _ENVIRONMENT,
    "env-file": _ENVIRONMENT,
    "gpus": "use resources: {gpus: 1} in project.yml",
    "hostname": _OURS,
    "init": _OURS,
    "ipc": "it would share memory with other programs of the host; for more of it write --shm-size=8g",
    "label": _OURS,
    "log-driver": _OURS,
    "log-opt": _OURS,
    "memory": "tasks have the memory of their host; use resources: {memory: 4G} in project.yml",
    "mount": _MOUNTS,
    "name": _OURS,
    "network": _OURS,
    "net": _OURS,
    "pid": _ISOLATION,
    "pids-limit": _OURS,
    "privileged": _ISOLATION,
    "publish": _ISOLATION,
    "restart": _OURS,
    "rm": _OURS,
    "runtime": "use resources: {gpus: 1} in project.yml",
    "security-opt": _ISOLATION,
    "stop-signal": _OURS,
    "stop-timeout": _OURS,
    "tmpfs": "/tmp can be written to, and /dev/shm is in memory; for more of that write --shm-size=8g",
    "user": _OURS,
    "userns": _ISOLATION,
    "uts": _ISOLATION,
    "volume": _MOUNTS,
    "volumes-from": _MOUNTS,
    "workdir": _OURS,
}


def read_docker_options(node: Node, problems: Problems) -> tuple[str, ...]:
    """Options of `docker run`, each a word --name=value; each that is refused is added to `problems`."""
    if not isinstance(node, SequenceNode) or not node.items:
        problems.add(node.position, f"docker_options: has to be a list of options, as in {_EXAMPLE}")
        return ()
    return tuple(_options(node.items, problems))


def _options(items: Iterable[Node], problems: Problems) -> Iterable[str]:
    for item in items:
        if isinstance(item, UnusableNode):
            continue
        text = item.text if isinstance(item, ScalarNode) else ""
        problem = _problem_of(text)
        if problem:
            problems.add(item.position, f"docker_options: {problem}")
        else:
            yield text


def _problem_of(text: str) -> str:
    """What is wrong with an option, and what to do; empty if it can be taken."""
    option, has_value, value = text.partition("=")
    option, space, _ = option.partition(" ")
    name = option[2:] if option.startswith("--") else _SHORT.get(option[:2], "")
    if not name:
        return f"{text!r} is not an option; write each as one word in quotes, as in {_EXAMPLE}"
    if name in _REFUSED:
        return f"{option} is refused: {_REFUSED[name]}"
    if name not in _ALLOWED:
        advice = nearest(f"--{name}", [f"--{each}" for each in _ALLOWED])
        return f"{option} is not among the options that are taken; {advice}"
    pattern, example = _ALLOWED[name]
    if space or not has_value or not option.startswith("--") or not re.fullmatch(pattern, value, re.ASCII):
        return f"{text!r} cannot be taken; write it as in {example}"
    return ""
