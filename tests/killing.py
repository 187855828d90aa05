"""A kill before the n-th change on disk, or a refusal of it by the system, in a fork: it leaves what they leave."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable

EVENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link")   # what moves something on disk


def moves(event: str, what: tuple[object, ...]) -> bool:
    """Whether something moves on disk, other than what Python compiles."""
    return event in EVENTS and "__pycache__" not in str(what)


def killed(act: Callable[[], object], at: int) -> bool:
    """Run `act` in a fork that is killed before its `at`-th event on disk; whether it was, else it ended well."""
    child = os.fork()
    if child == 0:
        count = 0

        def strike(event: str, what: tuple[object, ...]) -> None:
            nonlocal count
            if moves(event, what):
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)
        try:
            sys.addaudithook(strike)
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), "it failed by itself, see above"
    return status != 0


def steps(act: Callable[[], object]) -> int:
    """How many events on disk `act` has."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        seen: list[int] = []
        sys.addaudithook(lambda event, what: seen.append(1) if moves(event, what) else None)
        act()
        os.write(writer, str(len(seen)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return int(told)


def refused(act: Callable[[], object], at: int, onwards: bool = False) -> str:
    """Run `act` in a fork whose `at`-th event on disk, or all from it on, the system refuses; how it ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        count, ended = 0, "done"

        def refuse(event: str, what: tuple[object, ...]) -> None:
            nonlocal count
            if moves(event, what):
                count += 1
                if count == at:
                    raise OSError(errno.EPERM, "Operation not permitted", event)
                if onwards and count > at:      # a kind that no writer tries again a moment later
                    raise OSError(errno.EIO, "Input/output error", event)
        try:
            sys.addaudithook(refuse)
            act()
        except BaseException as error:
            ended = f"{type(error).__name__} {error}"
        os.write(writer, f"{'struck' if count >= at else 'free'} {ended}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told
