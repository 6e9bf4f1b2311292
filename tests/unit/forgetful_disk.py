"""A directory that a power cut takes back to what had been synced: names and bytes without fsync are gone."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")

SYNC_ALL = """
import os, sys
for directory, _, files in os.walk(sys.argv[1], topdown=False):
    for path in [*(os.path.join(directory, name) for name in files), directory]:
        if not os.path.islink(path) and (os.path.isfile(path) or os.path.isdir(path)):
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
"""


@cache
def compile_shim() -> Path:
    """The library that programs are to load. Raises CalledProcessError if it cannot be compiled."""
    directory = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, directory)
    shim = Path(directory, "forgetful_disk.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, SOURCE], check=True)
    return shim


class ForgetfulDisk:
    """`root` is a directory; processes that write there run with `environment`.

    This is stricter than file systems are: not even the name of a file that was synced is kept without a sync
    of its directory. Links and other special files are not kept at all.
    """

    def __init__(self, root: Path, scratch: Path) -> None:
        """What is in `root` now is safe. Raises CalledProcessError if the shim cannot be compiled."""
        self._root = root
        self._kept = scratch / "kept"
        self._kept.mkdir(parents=True)
        self.environment = {
            "LD_PRELOAD": str(compile_shim()),
            "FORGETFUL_ROOT": str(root.resolve()),
            "FORGETFUL_KEPT": str(self._kept),
        }
        self.sync()

    def sync(self) -> None:
        """Everything that is there now is safe."""
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", SYNC_ALL, self._root], check=True, env=self.environment
        )

    def cut_power(self) -> None:
        """The directory is as a computer finds it that lost power now; no process may use it."""
        shutil.rmtree(self._root)
        self._root.mkdir()
        self._restore((self._kept / "root").read_text(), self._root)
        self.sync()

    def _restore(self, key: str, directory: Path) -> None:
        listing = self._kept / f"directory-{key}"
        for line in listing.read_text().splitlines() if listing.exists() else []:
            kind, child, mode, name = line.split(" ", 3)
            path = directory / name
            if kind == "directory":
                path.mkdir()
                self._restore(child, path)
            else:
                kept = self._kept / f"file-{child}"
                path.write_bytes(kept.read_bytes() if kept.exists() else b"")
            os.chmod(path, int(mode, 8))
