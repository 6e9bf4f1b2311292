"""NVIDIA GPUs of this host, as nvidia-smi lists them."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Sequence

from framework.worker.gpu import Gpu

ANSWER_SECONDS = 30.0  # longest run of nvidia-smi
PROGRAM = "nvidia-smi"

_FIELDS = ("index", "uuid", "name", "memory.total", "memory.used", "display_active", "utilization.gpu")
_QUERY = (PROGRAM, f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits")
_LIST = (PROGRAM, "--list-gpus")
_LISTED_GPU = re.compile(r"GPU (\d+): ")
_LISTED_PART = re.compile(r"\s+MIG (\S+)\s+Device\s+(\d+): \(UUID: (MIG-[^)\s]+)\)")
_PART_MEMORY = re.compile(r"\.(\d+)gb")
_LONGEST_ANSWER = 200  # characters


class _Failure(Exception):
    """nvidia-smi is there, and has not answered as it should."""


def has_nvidia_smi() -> bool:
    return shutil.which(PROGRAM) is not None


def ask_nvidia_smi(with_mig: bool = False) -> tuple[Sequence[Gpu], str]:
    """Return the usable GPUs, and what is wrong with the others; nothing where there is no nvidia-smi.

    `with_mig`: MIG devices, behind the GPUs that they are parts of. What others use of them is not known.
    """
    try:
        gpus, problems = _read_answer(_answer(_QUERY))
        parts = _read_list(_answer(_LIST)) if with_mig else []
    except FileNotFoundError:
        return (), ""
    except _Failure as failure:
        return (), str(failure)
    return [*gpus, *parts], "; ".join(problems)


def _answer(command: Sequence[str]) -> str:
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=ANSWER_SECONDS, check=False
        )
    except FileNotFoundError:
        raise
    except subprocess.TimeoutExpired:
        raise _Failure(f"nvidia-smi gave no answer in {ANSWER_SECONDS:.0f} s") from None
    except OSError as error:
        raise _Failure(f"nvidia-smi cannot be run: {error.strerror}") from error
    if answer.returncode:
        lines = [line for line in (answer.stdout + answer.stderr).splitlines() if line.strip()]
        said = lines[0] if lines else f"exit code {answer.returncode}"
        # A container loses its GPUs when its host reloads systemd or the driver; a restart brings them back.
        advice = "restart the worker's container with 'docker restart'"
        raise _Failure(f"nvidia-smi: {said:.{_LONGEST_ANSWER}}; {advice}")
    return answer.stdout


def _read_answer(answer: str) -> tuple[list[Gpu], list[str]]:
    gpus, problems = [], []
    for fields in csv.reader(answer.splitlines(), skipinitialspace=True):
        try:
            index, uuid, name, memory, used, display, *more = fields
            busy = int(more[0]) if more and more[0].isdecimal() else None  # "[N/A]" with MIG
            has_display = display == "Enabled"
            gpus.append(Gpu(index, uuid, name, _mebibytes(memory), _mebibytes(used), has_display, busy))
        except ValueError:  # such as "[Unknown Error]" or "[GPU requires reset]"
            problems.append(f"nvidia-smi: {', '.join(fields):.{_LONGEST_ANSWER}}")
    return gpus, problems


def _read_list(answer: str) -> list[Gpu]:
    """The MIG devices in a list; the name of a profile, as in 1g.10gb, says their memory."""
    parts, gpu = [], ""
    for line in answer.splitlines():
        if match := _LISTED_GPU.match(line):
            gpu = match[1]
        elif match := _LISTED_PART.match(line):
            profile, number, uuid = match.groups()
            size = _PART_MEMORY.search(profile)
            memory = int(size[1]) * 10**9 // 2**20 if size else 0
            parts.append(Gpu(f"{gpu}.{number}", uuid, f"MIG {profile}", memory, 0))
    return parts


def _mebibytes(text: str) -> int:
    # A GPU without memory of its own has no figures: its use by others cannot be seen.
    return 0 if text in ("[N/A]", "[Not Supported]") else int(text)
