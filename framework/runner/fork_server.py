"""Server process that imports a project's module once and forks for each call.

The worker (functions.py) starts the server, and sends each call as one byte with four file descriptors. For
each call the server forks a keeper, and the keeper forks the call. The keeper is the parent of the call: it
learns from the kernel how the call ended, and sends that to the worker. So a server that dies ends no call,
and every end is reported. All of this runs in the user's interpreter, among the user's modules: signal
handlers, streams and files that a module sets up when it is imported exist in each call.
"""

import atexit
import dataclasses
import gc
import json
import math
import operator
import os
import random
import select
import signal
import socket
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeAlias

from framework.messages.metrics import Metric, metric_problem
from framework.runner.process import end_of, signal_group

Function: TypeAlias = Callable[..., object]


@dataclasses.dataclass(frozen=True)
class Server:
    """Data of the server, which each call inherits."""

    name: str  # module:name
    function: Function
    is_imported: bool  # False: `function` prints the error of the import, and fails
    environment: Mapping[str, str]  # environment that the server was started with
    reseed: Sequence[Callable[[], object]]  # steps that renew random numbers after a fork


@dataclasses.dataclass(frozen=True)
class CallRequest:
    """Request for one call, as file descriptors."""

    channel: int  # socket to the worker, which only reads, and closes it when the call has ended or is to end
    stdout: int
    stderr: int
    content: int  # file with a JSON object: parameters, environment, directory, metrics

    def close(self) -> None:
        for descriptor in dataclasses.astuple(self):
            os.close(descriptor)


def main() -> None:
    """Serve until the worker closes the socket, or ends."""
    project, name, descriptor = sys.argv[1:]
    requests = socket.socket(fileno=int(descriptor))
    requests.set_inheritable(False)
    environment = dict(os.environ)
    # The same values as for a script in the project's directory.
    os.chdir(project)
    sys.path[0] = project
    sys.argv = [name]
    untouched = random.getstate()
    function, is_imported = load(name)
    _detach_output()
    gc.collect()
    gc.freeze()  # so that no garbage collection of a call copies the memory of all imported modules
    serve(requests, Server(name, function, is_imported, environment, reseeding(untouched)))


def load(name: str) -> tuple[Function, bool]:
    """Return the function `name` and True, or a function that prints the error of its import, and False."""
    module, _, attribute = name.partition(":")
    try:
        __import__(module)  # importlib.import_module would be in each traceback
        function = getattr(sys.modules[module], attribute)
        if not callable(function):
            raise TypeError(f"{attribute!r} in {module} is no function")
    except BaseException as error:
        _drop_own_frame(error)
        shown = "".join(traceback.format_exception(error))
        *_, last = traceback.format_exception_only(error)
        problem = f"{name} cannot be imported: {last.strip()}"

        def fail(**_: object) -> NoReturn:
            sys.stderr.write(shown)
            sys.exit(problem)

        return fail, False
    return function, True


def reseeding(untouched: object) -> list[Callable[[], object]]:
    """Return the steps after which a call draws the random numbers that it would draw without the fork.

    A generator that the import has seeded gives the same numbers in each call; all others give each call its
    own. `untouched` is the state of `random` before the import. A numpy before 1.25 does not tell whether it
    was seeded: it gives each call its own numbers.
    """
    steps: list[Callable[[], object]] = []
    state = random.getstate()
    if state != untouched:
        steps.append(lambda: random.setstate(state))  # Python seeds it anew in each fork
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None and (
        not hasattr(numpy, "get_bit_generator")
        or getattr(numpy.get_bit_generator(), "seed_seq", True) is not None
    ):
        steps.append(numpy.seed)
    return steps


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
        data, descriptors, _, _ = socket.recv_fds(requests, 1, 4)
        if not data:
            os._exit(0)  # skips functions that were registered with atexit: they run in calls
        request = CallRequest(*descriptors)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        try:
            keeper = _fork()
        except OSError as error:
            _send(request.channel, errno=error.errno)
        else:
            if keeper == 0:
                requests.close()
                _run_keeper(server, request)
            keepers.add(keeper)
        request.close()
        keepers = {keeper for keeper in keepers if not _reap(keeper)}


def _reap(pid: int) -> bool:
    """Reap a child if it has ended; True if it is gone."""
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:  # the import has set SIGCHLD to be ignored
        return True


def _fork() -> int:
    with warnings.catch_warnings():
        # Python warns of threads: numeric libraries prepare theirs for a fork, other imports start none.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _send(channel: int, **message: object) -> None:
    """Send a message to the worker; if the worker is gone, the call will be ended anyway."""
    with socket.socket(fileno=os.dup(channel)) as worker, suppress(OSError):
        worker.sendall(json.dumps(message).encode() + b"\n", socket.MSG_NOSIGNAL)


def _run_keeper(server: Server, request: CallRequest) -> NoReturn:
    """Fork the call, report its end, and hold its process id until the worker closes the channel."""
    try:
        try:
            call = _fork()
        except OSError as error:
            _send(request.channel, errno=error.errno)
            os._exit(0)
        if call == 0:
            _run_call(server, request)
        _observe(call, request.channel)
        signal_group(call, signal.SIGKILL)
        os.kill(call, signal.SIGKILL)  # it may have no group yet
        os.waitpid(call, 0)
    finally:
        os._exit(0)


def _observe(call: int, channel: int) -> None:
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
            _send(channel, **dataclasses.asdict(end))
            is_reported = True
        ready = [descriptor for descriptor, _ in poll.poll()]
        if channel in ready:
            return
        os.read(woken, 1024)


def _run_call(server: Server, request: CallRequest) -> NoReturn:
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
        for step in server.reseed:
            step()
        code = _exit_code(server, content["parameters"], content["metrics"])
        # The steps of Python's own end, without the slow destruction of modules.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        _flush()
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


def _exit_code(server: Server, parameters: Mapping[str, object], metrics: str) -> int:
    try:
        returned = server.function(**parameters)
        if returned is not None:
            _write_metrics(returned, server.name, metrics)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        sys.stderr.write(f"{error.code}\n")
        return 1
    except BaseException as error:
        _print_error(error)
        return 1
    return 0


def _write_metrics(returned: object, name: str, metrics: str) -> None:
    try:
        content = json.dumps(checked_metrics(returned))
    except ValueError as error:
        sys.exit(f"the value that {name} returned cannot be metrics: {error}")
    with open(metrics, "w", encoding="utf-8") as file:
        file.write(content)


def checked_metrics(returned: object) -> dict[str, Metric]:
    """Return the metrics that a function returned; numbers may be numpy's, or tensors with one element.

    Raises ValueError unless they are a mapping of names to numbers and texts.
    """
    if not isinstance(returned, Mapping):
        raise ValueError(f"{type(returned).__name__}, not a mapping of names to numbers or text")
    metrics = {}
    for name, value in returned.items():
        if not isinstance(name, str):
            raise ValueError(f"{name!r:.100} is not the name of a metric; a name is text")
        metrics[name] = _plain_value(value)
        problem = metric_problem(name, metrics[name])
        if problem:
            raise ValueError(problem)
    return metrics


def _plain_value(value: Any) -> Any:
    """Return a number as Python's int or float, or as text if it is not finite; other values as they are."""
    if isinstance(value, str):
        return value
    try:
        return operator.index(value)
    except TypeError:
        pass
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return value  # metric_problem describes what is wrong with it
    return number if math.isfinite(number) else str(number)


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
