"""Server process that imports a project's module once and forks for each call.

The worker (functions.py) starts the server, and sends each call as one byte with four file descriptors. For
each call the server forks a keeper, and the keeper forks the call. The keeper is the parent of the call: it
learns from the kernel how the call ended, and sends that to the worker. So a server that dies ends no call,
and every end is reported. All of this runs in the user's interpreter, among the user's modules: signal
handlers and streams that a module sets up when it is imported exist in each call.

What a fork shares, or repeats, is made each call's own: positions in open files (open_files.py) and random
numbers (random_numbers.py). Where no fork is usable because of threads (openmp.py), the server begins again
without the import, and each call imports the module.
"""

from __future__ import annotations

import atexit
import dataclasses
import errno
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Callable, NoReturn

from framework.runner.descriptors import receive_descriptors
from framework.runner.open_files import OpenFiles
from framework.runner.openmp import prepare_fork
from framework.runner.orphans import adopt_orphans, end_children, living_children, reap
from framework.runner.process import end_of, fork, signal_group
from framework.runner.random_numbers import SeedRecord
from framework.runner.remarks import Remarks
from framework.runner.returned import metrics_in

Function = Callable[..., object]

_PACKAGES = Path(__file__).parents[2]
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)  # errors of writing into a read-only project
_LAST_CALLS_SECONDS = 1.0  # longest wait of a server that ends for the calls that have just ended


@dataclasses.dataclass(frozen=True)
class Server:
    """Data of the server, which each call inherits."""

    name: str  # module:name
    function: Function | None  # None: each call imports it
    is_imported: bool  # False: `function` prints the error of the import, and fails
    environment: Mapping[str, str]  # environment that the server was started with
    files: OpenFiles
    renewals: Sequence[Callable[[], object]] = ()  # steps that renew random numbers after a fork
    finalizers: Sequence[Callable[[], object]] = ()  # remove what the import has made for its process
    remarks: Sequence[str] = ()  # on the result of each call


@dataclasses.dataclass(frozen=True)
class CallRequest:
    """Request for one call, as file descriptors."""

    channel: int  # socket to the worker, which only reads, and shuts it when the call has ended or is to end
    stdout: int
    stderr: int
    content: int  # file with a JSON object: parameters, environment, directory, metrics

    def close(self) -> None:
        for descriptor in dataclasses.astuple(self):
            os.close(descriptor)


def main() -> None:
    """Serve until the worker closes the socket, or ends."""
    project, name, descriptor, *reasons = sys.argv[1:]
    requests = socket.socket(fileno=int(descriptor))
    requests.set_inheritable(False)
    environment = dict(os.environ)
    # The same values as for a script in the project's directory.
    os.chdir(project)
    sys.path[0] = project
    sys.argv = [name]
    _hide_own_modules()
    if reasons:
        _detach_output()
        remark = f"{name} is imported by each call: its import {reasons[0]}"
        serve(requests, Server(name, None, True, environment, OpenFiles(()), remarks=[remark]))
    with SeedRecord() as seeds:
        function, error = load(name)
    if reason := _reason_for_import_in_calls(project, error):
        _begin_again(reason, [project, name], requests, environment)
    _detach_output()
    gc.collect()
    files, renewals = OpenFiles([requests.fileno()]), seeds.renewals()
    gc.freeze()  # so that no garbage collection of a call copies the memory of all imported modules
    finalizers = _take_finalizers()
    serve(requests, Server(name, function, error is None, environment, files, renewals, finalizers))


def _take_finalizers() -> list[Callable[[], object]]:
    """Return the finalizers of the import, as of a TemporaryDirectory; calls do not run them at their end."""
    finalizers = list(getattr(weakref.finalize, "_registry", ()))
    for each in finalizers:
        each.atexit = False
    return finalizers


def _hide_own_modules() -> None:
    """Make the framework invisible for the import, which may find a package `framework` of the user's."""
    for name in [each for each in sys.modules if each.partition(".")[0] == "framework"]:
        del sys.modules[name]
    sys.modules["__main__"] = ModuleType("__main__")  # processes that a call spawns would import this file


def _reason_for_import_in_calls(project: str, error: BaseException | None) -> str:
    """Return why each call is to import the function, in its own directory; "" if one import serves all."""
    if isinstance(error, OSError) and error.errno in _REFUSALS and isinstance(error.filename, str):
        refused = os.path.relpath(error.filename, project)
        if not os.path.lexists(error.filename) and refused.split(os.sep)[0] != os.pardir:
            return f"writes {refused}"
    return "" if prepare_fork() else "starts OpenMP threads, which no fork can use"


def _begin_again(
    reason: str, origin: Sequence[str], requests: socket.socket, environment: Mapping[str, str]
) -> NoReturn:
    """Replace this process by a server that has each call import the function."""
    requests.set_inheritable(True)
    arguments = [*origin, str(requests.fileno()), reason]
    os.chdir(_PACKAGES)
    module = "framework.runner.fork_server"
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], dict(environment))


def load(name: str) -> tuple[Function, BaseException | None]:
    """Return the function `name`, or one that prints the error of its import and fails; and that error."""
    module, _, attribute = name.partition(":")
    try:
        __import__(module)  # importlib.import_module would be in each traceback
        function = getattr(sys.modules[module], attribute)
        if not callable(function):
            raise TypeError(f"{attribute!r} in {module} is no function")
    except BaseException as error:
        _drop_own_frame(error)
        shown = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        *_, last = traceback.format_exception_only(type(error), error)
        problem = f"{name} cannot be imported: {last.strip()}"

        def fail(**_: object) -> NoReturn:
            sys.stderr.write(shown)
            sys.exit(problem)

        return fail, error
    return function, None


def _detach_output() -> None:
    """Close the output files of the attempt that started the server; the import has written all it writes."""
    _flush()
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)


def serve(requests: socket.socket, server: Server) -> NoReturn:
    """Fork a keeper for each request, until the other side closes the socket."""
    keepers: set[int] = set()
    while True:
        data, descriptors = receive_descriptors(requests, 1, 4)
        if not data:
            _end(server, keepers)
        request = CallRequest(*descriptors)
        try:
            keeper = fork()
        except OSError as error:
            _send(request.channel, errno=error.errno)
        else:
            if keeper == 0:
                requests.close()
                _run_keeper(server, request)
            keepers.add(keeper)
        request.close()
        keepers = {keeper for keeper in keepers if not reap(keeper)}


def _end(server: Server, keepers: set[int]) -> NoReturn:
    """End this process; remove what the import has made unless a call may still use it."""
    deadline = time.monotonic() + _LAST_CALLS_SECONDS
    while (keepers := {each for each in keepers if not reap(each)}) and time.monotonic() < deadline:
        time.sleep(0.01)
    for finalizer in server.finalizers if not keepers else ():
        with suppress(Exception):
            finalizer()
    os._exit(0)  # skips functions that were registered with atexit: they run in calls


def _send(channel: int, **message: object) -> None:
    """Send a message to the worker; if the worker is gone, the call will be ended anyway."""
    with socket.socket(fileno=os.dup(channel)) as worker, suppress(OSError):
        worker.sendall(json.dumps(message).encode() + b"\n", socket.MSG_NOSIGNAL)


def _run_keeper(server: Server, request: CallRequest) -> NoReturn:
    """Fork the call, report its end, and hold its process id until the worker closes the channel.

    Then end all that the call has left running, of which this process becomes the parent.
    """
    remarks = Remarks()
    try:
        adopt_orphans()
        try:
            call = fork()
        except OSError as error:
            _send(request.channel, errno=error.errno)
            os._exit(0)
        if call == 0:
            _run_call(server, request, remarks)
        _observe(call, request.channel, remarks)
        signal_group(call, signal.SIGKILL)
        os.kill(call, signal.SIGKILL)  # it may have no group yet
        os.waitpid(call, 0)
        end_children()
    finally:
        os._exit(0)


def _observe(call: int, channel: int, remarks: Remarks) -> None:
    """Return when the worker has closed the channel; report the end of the call if that comes first."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    poll.register(channel, select.POLLIN)
    is_reported = False
    while True:
        end = None if is_reported else end_of(call, os.WNOHANG)
        if end:
            _send(channel, **dataclasses.asdict(dataclasses.replace(end, remarks=remarks.read())))
            is_reported = True
        ready = [descriptor for descriptor, _ in poll.poll()]
        if channel in ready:
            return
        os.read(woken, 1024)
        living_children(but={call})  # reaps those that the call's children have left to this process


def _run_call(server: Server, request: CallRequest, remarks: Remarks) -> NoReturn:
    """Run the call in a session of its own, and end this process with its exit code."""
    code = 1
    try:
        os.setsid()
        os.dup2(request.stdout, 1)
        os.dup2(request.stderr, 2)
        with open(os.dup(request.content), "rb") as file:
            content = json.load(file)
        _send(request.channel, pid=os.getpid(), is_imported=server.is_imported)
        request.close()
        os.chdir(content["directory"])
        _change_environment(server.environment, content["environment"])
        for remark in (*server.remarks, *server.files.reopen()):
            remarks.add(remark)
        for step in server.renewals:
            step()
        code = _exit_code(server, content["parameters"], content["metrics"], remarks)
        # The steps of Python's own end, without the slow destruction of modules.
        threading._shutdown()  # type: ignore[attr-defined]
        with suppress(BaseException):  # before Python 3.10 it raises the last error that it has printed
            atexit._run_exitfuncs()
        _flush()
        server.files.flush()
    except BaseException as error:
        _print_error(error)
    finally:
        os._exit(code)


def _change_environment(before: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Change the variables in which the server's environment and the attempt's differ.

    A variable that the import has set keeps its value, unless the two environments differ in it.
    """
    for name in before.keys() - wanted.keys():
        os.environ.pop(name, None)
    for name, value in wanted.items():
        if before.get(name) != value:
            os.environ[name] = value


def _exit_code(server: Server, parameters: Mapping[str, object], metrics: str, remarks: Remarks) -> int:
    function = server.function or load(server.name)[0]
    try:
        _keep_metrics(function(**parameters), server.name, metrics, remarks)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        sys.stderr.write(f"{error.code}\n")
        return 1
    except BaseException as error:
        _print_error(error)
        return 1
    return 0


def _keep_metrics(returned: object, name: str, metrics: str, remarks: Remarks) -> None:
    """Write the metrics that the function returned into the file `metrics`."""
    try:
        found, left_out = metrics_in(returned, name)
    except TypeError as error:
        sys.exit(str(error))
    for remark in left_out:
        remarks.add(remark)
    if found:
        with open(metrics, "w", encoding="utf-8") as file:
            json.dump(found, file)


def _print_error(error: BaseException) -> None:
    _drop_own_frame(error)
    sys.excepthook(type(error), error, error.__traceback__)


def _drop_own_frame(error: BaseException) -> None:
    """Remove the function of this file that caught the error from the error's traceback."""
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the stream is closed, or replaced by an object without flush()
            stream.flush()


if __name__ == "__main__":
    main()
