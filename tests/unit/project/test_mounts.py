"""Mounts: as the scripts read them, and whether a local run can give them to its tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from framework.project.mounts import Mount, holds, local_problems, mounts_text


def test_each_is_one_line() -> None:
    mounts = [Mount("~/my data", "/data"), Mount("/out", "/mnt/out", is_writable=True)]
    assert mounts_text(mounts) == "ro /data ~/my data\nrw /mnt/out /out"
    assert [mount.shown for mount in mounts] == [
        "~/my data as /data (read-only)",
        "/out as /mnt/out (writable)",
    ]
    assert mounts_text([]) == ""


@pytest.mark.parametrize(
    ("directory", "path", "is_in"),
    [
        ("/a", "/a", True),
        ("/a", "/a/b", True),
        ("/a", "/ab", False),
        ("/a/b", "/a", False),
        ("/", "/a", True),
    ],
)
def test_what_is_in_a_directory(directory: str, path: str, is_in: bool) -> None:
    assert holds(directory, path) is is_in


def test_a_local_run_has_a_mount_if_its_target_is_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    source, link, other = tmp_path / "my data", tmp_path / "link", tmp_path / "other"
    source.mkdir()
    other.mkdir()
    link.symlink_to(source)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    assert local_problems([Mount("~/my data", str(link)), Mount(str(source), str(source))]) == []
    problems = local_problems(
        [
            Mount("~/my data", f"{tmp_path}/none"),
            Mount("~/my data", str(other)),
            Mount("~/nowhere", "/data"),
            Mount("~/my data", str(dangling)),
        ]
    )
    assert len(problems) == 4
    start = f"mounts: ~/my data is not {tmp_path}"
    assert problems[0].startswith(
        f"{start}/none on this machine (there is no {tmp_path}/none), and a local run"
    )
    assert f"run: sudo ln -s '{source}' {tmp_path}/none, or use ./infrainit.sh" in problems[0]
    assert problems[1].startswith(f"{start}/other on this machine ({other} is something else)")
    assert problems[2].startswith("mounts: ~/nowhere is not /data on this machine (there is no such source)")
    assert "is something else" in problems[3]
