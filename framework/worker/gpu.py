"""A GPU at the moment of a look: its memory, and whether others use it."""

from __future__ import annotations

from dataclasses import dataclass

NVIDIA = "nvidia"
AMD = "amd"

# Memory that can be in use on an idle GPU: by the driver, and by a screen.
IDLE_MEBIBYTES = 500
IDLE_DISPLAY_MEBIBYTES = 2048


@dataclass(frozen=True)
class Gpu:
    """GPU at the moment of a look; memory in MiB, 0 where the driver does not say how much there is."""

    index: str
    uuid: str  # name for the variables that isolate GPUs; for AMD's, the index
    name: str
    memory: int
    used: int
    has_display: bool = False
    busy: int | None = (
        None  # percent of the time in which anything ran; None where the driver does not say it
    )
    unique_id: str = ""  # AMD's other name for it, as in GPU-4b2c1a9f8d3e6f7a

    @property
    def is_in_use(self) -> bool:
        """True if a process uses it, judged by memory: a container cannot see the processes of others."""
        return self.used > (IDLE_DISPLAY_MEBIBYTES if self.has_display else IDLE_MEBIBYTES)

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})"
