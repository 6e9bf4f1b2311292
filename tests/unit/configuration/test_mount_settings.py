"""`mounts`: how they are written, and everything that is wrong with them."""

import pytest
from project_directory import ProjectDirectory

from framework.project.mounts import Mount

READ_ONLY = (Mount("~/data/imagenet", "/data"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("mounts: {~/data/imagenet: /data}", READ_ONLY),
        ("mounts: {~/data//imagenet/: /data/}", READ_ONLY),
        ("mounts: {~/data/imagenet: {target: /data, mode: ro}}", READ_ONLY),
        ("mounts: [{source: ~/data/imagenet, target: /data}]", READ_ONLY),
        (
            "mounts:\n  /srv/my data, all: /mnt/a_b-c.d+e=f@1\n  ~/out: {target: /mnt/out, mode: rw}\n",
            (Mount("/srv/my data, all", "/mnt/a_b-c.d+e=f@1"), Mount("~/out", "/mnt/out", is_writable=True)),
        ),
        (
            "mounts: [{source: /x, target: /a}, {source: /x, target: /ab, mode: rw}]",
            (Mount("/x", "/a"), Mount("/x", "/ab", is_writable=True)),
        ),
        (
            "mounts: {/usr/share/nltk: /usr/share/nltk_data}",
            (Mount("/usr/share/nltk", "/usr/share/nltk_data"),),
        ),
    ],
)
def test_what_is_mounted_where(directory: ProjectDirectory, text: str, expected: tuple[Mount, ...]) -> None:
    assert directory.load(settings=f"command: run\n{text}\n").mounts == expected


def test_it_is_no_part_of_a_task(directory: ProjectDirectory) -> None:
    ids = {
        directory.load(settings=f"command: run\n{text}\n").task_id({"x": 1})
        for text in ("", "mounts: {/x: /data}", "mounts: {/y: /data}")
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mounts: /data", "2:9: mounts: has to be a mapping of sources to targets, as in {~/data/imagenet"),
        ("mounts: {}", "2:9: mounts: has to be a mapping"),
        ("mounts: [~/x:/data]", "2:10: mounts: has to be a mapping, as in {source: ~/data, target: /data}"),
        ("mounts: [{source: /x}]", "2:10: mounts: no target; write {source: ~/data, target: /data}"),
        ("mounts: {/x: {mode: rw}}", "2:10: mounts: no target"),
        ("mounts: {/x: {to: /y, target: /z}}", "2:15: unknown key 'to'; known: target, mode"),
        (
            "mounts: [{sorce: /x, source: /x, target: /y}]",
            "2:11: unknown key 'sorce'; did you mean 'source'?",
        ),
        ("mounts: {/x: [/y]}", "2:14: mounts: the target has to be text"),
        ("mounts: [{source: ~, target: /y}]", "2:19: mounts: the source has to be text; write '~/…'"),
        ("mounts: {'~': /y}", "2:10: mounts: the source '~' holds more than data, such as keys; name"),
        ("mounts: {//: /y}", "2:10: mounts: the source '//' holds more than data"),
        ("mounts: {data: /y}", "2:10: mounts: the source 'data' has to begin with / or ~/"),
        ("mounts: {~me/data: /y}", "2:10: mounts: the source '~me/data' has to begin with / or ~/"),
        ("mounts: {~/x/../../y: /y}", "2:10: mounts: the source '~/x/../../y' has '..' in it"),
        ('mounts: {"/x\\ny": /y}', "2:10: mounts: '/x\\ny' has special characters"),
        ("mounts: {'/x ': /y}", "2:10: mounts: '/x ' has special characters, or spaces around it; rename"),
        ("mounts: {/x: data}", "2:14: mounts: the target 'data' has to be a path in the container"),
        ("mounts: {/x: /}", "2:14: mounts: the target '/' has to be a path in the container"),
        ("mounts: {/x: /my data}", "2:14: mounts: the target '/my data' may have letters, digits and"),
        ("mounts: {/x: '/a,readonly=false'}", "2:14: mounts: the target '/a,readonly=false' may have"),
        ("mounts: {/x: /y/../code}", "2:14: mounts: the target '/y/../code' may have"),
        ("mounts: {/x: {target: /y, mode: readonly}}", "2:33: mounts: unknown mode 'readonly'; write ro"),
        (
            "mounts: [{source: /a, target: /y}, {source: /b, target: /y}]",
            "2:36: mounts: the target /y is there",
        ),
        (
            "mounts: {/a: /y, /b: /y/z}",
            "2:18: mounts: of the targets /y and /y/z one is in the other; choose",
        ),
        (
            "mounts: {/a: /y/z, /b: /y}",
            "2:20: mounts: of the targets /y/z and /y one is in the other; choose",
        ),
        ("mounts: {/x: *x}", "2:14: *x is not defined; define &x before it"),
    ],
)
def test_what_is_wrong_with_it_and_where(directory: ProjectDirectory, text: str, problem: str) -> None:
    found = directory.problem(settings=f"command: run\n{text}\n")
    assert found.startswith(f"project.yml:{problem}")


@pytest.mark.parametrize(
    "target",
    [
        "/code", "/code/current", "/infrainit", "/infrainit/tasks", "/proc", "/proc/1", "/sys", "/dev/shm",
        "/etc", "/etc/ssl", "/usr", "/usr/bin", "/lib", "/tmp", "/opt", "/opt/requirements/lib", "/var/run",
        "/run/x",
    ],
)  # fmt: skip
def test_places_of_the_system_and_of_infrainit_stay_theirs(directory: ProjectDirectory, target: str) -> None:
    problem = directory.problem(settings=f"command: run\nmounts: {{/x: {target}}}\n")
    assert problem.startswith(f"project.yml:2:14: mounts: the target {target!r} is a place of the system's")


def test_all_that_is_wrong_is_said_at_once(directory: ProjectDirectory) -> None:
    settings = "command: run\nmounts: {x: /y, /x: y, /z: {target: /z, mode: x}}\n"
    assert len(directory.problems(settings=settings)) == 3
    many = ", ".join(f"/x{n}: /y{n}" for n in range(51))
    assert "more than 50" in directory.problem(settings=f"command: run\nmounts: {{{many}}}\n")
