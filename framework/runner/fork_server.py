"""Server process that imports a project's module once and forks for each call.

The worker (functions.py) starts it, and sends each call as one byte with four file descriptors. For a call
it forks a keeper, and the keeper forks the call: the keeper is the parent that the kernel tells how the call
ended, and it tells the worker. So a server that dies takes no call with it, and no end is missed.
All this happens in the user's interpreter, among the user's modules: signal handlers, streams and files that
a module sets up when it is imported are there in each call.
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
    """What each call finds."""

    name: str  # module:name
    function: Function
    is_imported: bool  # or else the function says why not, and fails
    environment: Mapping[str, str]  # that the server was started with
    random_numbers: Sequence[Callable[[], object]]  # what they need after a fork


@dataclasses.dataclass(frozen=True)
class CallRequest:
    """One call, as file descriptors."""

    channel: int  # to the worker, who only listens, and closes it when the call is over or unwanted
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
    # as a script in the project's directory would find them
    os.chdir(project)
    sys.path[0] = project
    sys.argv = [name]
    untouched = random.getstate()
    function, is_imported = load(name)
    _silence()
    gc.collect()
    gc.freeze()  # or the first garbage collection of each call would copy all that was imported
    serve(requests, Server(name, function, is_imported, environment, random_numbers(untouched)))


def load(name: str) -> tuple[Function, bool]:
    """The function `name` and True, or False and one that says why there is none."""
    module, _, attribute = name.partition(":")
    try:
        __import__(module)  # importlib.import_module would show itself in each traceback
        function = getattr(sys.modules[module], attribute)
        if not callable(function):
            raise TypeError(f"{attribute!r} in {module} is no function")
    except BaseException as error:
        _from_below(error)
        shown = "".join(traceback.format_exception(error))
        *_, last = traceback.format_exception_only(error)
        problem = f"{name} cannot be imported: {last.strip()}"

        def fail(**_: object) -> NoReturn:
            sys.stderr.write(shown)
            sys.exit(problem)

        return fail, False
    return function, True


def random_numbers(untouched: object) -> list[Callable[[], object]]:
    """What has to be done in each call so that its random numbers are as if it began with the import.

    Those of a generator that the import has seeded are the same in each call, all others its own. `untouched`
    is the state of `random` before the import. Whether a numpy before 1.25 was seeded cannot be told: its
    numbers are each call's own.
    """
    steps: list[Callable[[], object]] = []
    state = random.getstate()
    if state != untouched:
        steps.append(lambda: random.setstate(state))  # Python has seeded it again in the fork
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None and (
        not hasattr(numpy, "get_bit_generator")
        or getattr(numpy.get_bit_generator(), "seed_seq", True) is not None
    ):
        steps.append(numpy.seed)
    return steps


def _silence() -> None:
    """Leave the files of the attempt that the server was started for: what was imported has told it all."""
    _flush()
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)


def serve(requests: socket.socket, server: Server) -> NoReturn:
    keepers: set[int] = set()
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, 1, 4)
        if not data:
            os._exit(0)  # what was registered with atexit is for calls
        request = CallRequest(*descriptors)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        try:
            keeper = _fork()
        except OSError as error:
            _tell(request.channel, errno=error.errno)
        else:
            if keeper == 0:
                requests.close()
                _keep(server, request)
            keepers.add(keeper)
        request.close()
        keepers = set(filter(_runs, keepers))


def _runs(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # the import has said that nobody waits for children
        return False


def _fork() -> int:
    with warnings.catch_warnings():
        # about threads: those of numeric libraries are prepared for it, others have no place in an import
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _tell(channel: int, **news: object) -> None:
    with socket.socket(fileno=os.dup(channel)) as worker, suppress(OSError):  # it has gone: so will the call
        worker.sendall(json.dumps(news).encode() + b"\n", socket.MSG_NOSIGNAL)


def _keep(server: Server, request: CallRequest) -> NoReturn:
    """Fork the call, tell the worker how it ends, and hold its number until the worker is done with it."""
    try:
        try:
            call = _fork()
        except OSError as error:
            _tell(request.channel, errno=error.errno)
            os._exit(0)
        if call == 0:
            _call(server, request)
        _watch(call, request.channel)
        signal_group(call, signal.SIGKILL)
        os.kill(call, signal.SIGKILL)  # if it has no group yet
        os.waitpid(call, 0)
    finally:
        os._exit(0)


def _watch(call: int, channel: int) -> None:
    """Return when the worker has closed the channel; tell it of the end of the call if that comes first."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    poll.register(channel, select.POLLIN)
    is_told = False
    while True:
        end = None if is_told else end_of(call, os.WNOHANG)
        if end:
            _tell(channel, **dataclasses.asdict(end))
            is_told = True
        ready = [descriptor for descriptor, _ in poll.poll()]
        if channel in ready:
            return
        os.read(woken, 1024)


def _call(server: Server, request: CallRequest) -> NoReturn:
    """Be the process of a call, from a session of its own to its exit code."""
    code = 1
    try:
        os.setsid()
        os.dup2(request.stdout, 1)
        os.dup2(request.stderr, 2)
        with open(os.dup(request.content), "rb") as file:
            content = json.load(file)
        _tell(request.channel, pid=os.getpid(), is_imported=server.is_imported)
        request.close()
        os.chdir(content["directory"])
        _change_environment(server.environment, content["environment"])
        for prepare in server.random_numbers:
            prepare()
        code = _exit_code(server, content["parameters"], content["metrics"])
        # what Python does at its end, but for taking itself apart
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        _flush()
    except BaseException as error:
        _show(error)
    finally:
        os._exit(code)


def _change_environment(before: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """From what the server was started with to what the attempt is to have; what the import set stays."""
    for name in before.keys() - wanted.keys():
        os.environ.pop(name, None)
    for name, value in wanted.items():
        if before.get(name) != value:
            os.environ[name] = value


def _exit_code(server: Server, parameters: Mapping[str, object], metrics: str) -> int:
    try:
        returned = server.function(**parameters)
        if returned is not None:
            _leave(returned, server.name, metrics)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        sys.stderr.write(f"{error.code}\n")
        return 1
    except BaseException as error:
        _show(error)
        return 1
    return 0


def _leave(returned: object, name: str, metrics: str) -> None:
    try:
        content = json.dumps(checked(returned))
    except ValueError as error:
        sys.exit(f"{name} returned what cannot be metrics: {error}")
    with open(metrics, "w", encoding="utf-8") as file:
        file.write(content)


def checked(returned: object) -> dict[str, Metric]:
    """The metrics that a function returned; numbers may be numpy's, or tensors of one.

    Raises ValueError if they are anything else than names of numbers and texts.
    """
    if not isinstance(returned, Mapping):
        raise ValueError(f"{type(returned).__name__}, not a mapping of names to numbers or text")
    metrics = {}
    for name, value in returned.items():
        if not isinstance(name, str):
            raise ValueError(f"{name!r:.100} is no name; a name is text")
        metrics[name] = _plain(value)
        problem = metric_problem(name, metrics[name])
        if problem:
            raise ValueError(problem)
    return metrics


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    try:
        return operator.index(value)
    except TypeError:
        pass
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return value  # metric_problem says what is wrong with it
    return number if math.isfinite(number) else str(number)


def _show(error: BaseException) -> None:
    _from_below(error)
    sys.excepthook(type(error), error, error.__traceback__)


def _from_below(error: BaseException) -> None:
    """Take the function of this file that caught the error out of its traceback."""
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed, or not one of Python's
            stream.flush()


if __name__ == "__main__":
    main()
