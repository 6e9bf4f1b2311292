"""Attempts that wait for devices: given to the runner in their order, or handed back."""

from __future__ import annotations

import time
from collections.abc import Callable

from framework.errors import ProjectError
from framework.files import Code, WorkerFiles
from framework.messages.assignment import Assignment
from framework.worker.allocator import Allocation, Allocator
from framework.worker.current_project import CurrentProject
from framework.worker.held_attempts import HeldAttempt, HeldAttempts, Phase
from framework.worker.jobs import make_job
from framework.worker.runner_state import RunnerState
from framework.worker.setup import Setup, setup_variables

HAND_BACK_SECONDS = 60.0  # after which a task that waits for devices goes back: another host may have them
RETRY_SECONDS = 5.0  # between two tries to begin what the host was short of something for


class WaitingAttempts:
    """Those of the held attempts that the runner has not been given. Not for several threads at a time.

    `end(held, reason, state)` ends an attempt that the runner has not been given.
    """

    def __init__(
        self,
        held: HeldAttempts,
        project: CurrentProject,
        allocator: Allocator,
        runner: RunnerState,
        setup: Setup,
        files: WorkerFiles,
        end: Callable[[HeldAttempt, str, str], None],
    ) -> None:
        self.is_closed = False  # True: no other attempt begins
        self._held = held
        self._project = project
        self._allocator = allocator
        self._runner = runner
        self._setup = setup
        self._files = files
        self._end = end
        self._reviewed = ""  # version of the code that all of them were compared with

    def close(self) -> None:
        """Hand back all that wait, and each one that comes."""
        self.is_closed = True
        self.review()

    def hand_back(self, reason: str) -> None:
        """Hand back all that wait, and that no runner can have begun."""
        for held in self._held.in_phase(Phase.WAITING):
            if not held.was_given:
                self._end(held, reason, "stopped")

    def add(self, assignment: Assignment) -> HeldAttempt:
        """Have an attempt begin as soon as it has its devices."""
        is_first = not self._held.in_phase(Phase.WAITING)
        held = HeldAttempt(assignment, hand_back_at=time.monotonic() + HAND_BACK_SECONDS)
        self._held.begin(held)
        if held.is_unwanted or self.is_closed:
            self._end(held, "stopped before it began", "stopped")
        elif is_first:  # else there are no devices even for those that came before
            self.start()
        return held

    def review(self) -> None:
        """Hand back what is not to run here, or has waited for too long."""
        now = time.monotonic()
        code = self._project.code()
        for held in self._held.in_phase(Phase.WAITING):
            reason = ""
            if held.is_unwanted or self.is_closed:
                reason = "stopped before it began"
            elif problem := self._project.mismatch(held.assignment, code):
                reason = f"{problem}, which came while it waited: handed back"
            elif now >= held.hand_back_at:
                reason = f"there was no room for it in {HAND_BACK_SECONDS:.0f} s: handed back"
            if reason:
                self._end(held, reason, "stopped")

    def start(self) -> None:
        """Give the runner what waits, in its order, as far as there are devices."""
        waiting = self._held.in_phase(Phase.WAITING)
        if not waiting or not self._runner.is_there:
            return
        now = time.monotonic()
        code = self._project.code()
        if self._runner.mismatch(code.image, self._project.mounts(code)):
            return  # without what these files need; infrainit.sh is about to replace it
        if code.version != self._reviewed:
            self._reviewed = code.version
            self.review()
        if not self._is_set_up(code):
            return
        for held in waiting:
            if held.phase is Phase.WAITING and now >= held.retry_at and not self._give(held, code):
                break  # all tasks of a project need the same

    def _is_set_up(self, code: Code) -> bool:
        """True if attempts can begin. If not, have the setup begin, or hand them back if it has failed."""
        project = self._project.if_right(code)
        if project is None or self._setup.is_done(code, project):
            return True
        if failure := self._setup.failure(code):
            self.hand_back(f"this host {failure}: handed back")
        else:
            self._setup.begin(code, project, {held.code for held in self._held})
        return False

    def _give(self, held: HeldAttempt, code: Code) -> bool:
        """Give an attempt to the runner, with the code that is current; False if there are no devices."""
        allocation = self._allocator.allocate(self._project.needs(code))
        if allocation is None:
            return False
        held.code = code.version
        files = self._files.attempt(held.assignment.task, held.assignment.attempt)
        try:
            project = self._project.load(code)
            shared = setup_variables(self._files, code.version, project)
            given = self._runner.environment
            held.job = make_job(held.assignment, project, code, files, allocation, given, shared)
        except ProjectError as error:
            self._allocator.release(allocation)
            self._end(held, str(error), "failed")
            return True
        held.allocation, held.phase, held.was_given = allocation, Phase.GIVEN, True
        self._runner.send(do="run", jobs=[held.job.to_message()])
        return True

    def take_back(self, held: HeldAttempt) -> None:
        """Have an attempt wait that the runner has not begun."""
        self.release_devices(held)
        held.phase, held.job = Phase.WAITING, None

    def retry_later(self, held: HeldAttempt) -> None:
        """Have an attempt wait for room on this host, which the runner could not begin."""
        self.take_back(held)
        now = time.monotonic()
        held.was_given = False
        held.hand_back_at, held.retry_at = now + HAND_BACK_SECONDS, now + RETRY_SECONDS

    def release_devices(self, held: HeldAttempt) -> None:
        if held.allocation is not None:
            self._allocator.release(held.allocation)
            held.allocation = None

    def restore_devices(self, held: HeldAttempt, context: object) -> None:
        """Count the devices of an attempt that an earlier worker has given. Raises MessageError."""
        given = context.get("allocation") if isinstance(context, dict) else None
        held.allocation = Allocation.from_message(given)
        self._allocator.restore(held.allocation)
