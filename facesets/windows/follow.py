"""Run a Windows program: show what it says while it says it, keep a log, end with its status.

Run     python -m facesets.windows.follow LOG COMMAND [ARGUMENT...]
A terminal sees the output as it comes, bars included. The log, and a stderr that is no terminal, get whole lines and
once a minute the newest state of a bar. The command gets SIGTERM when this process does, and is killed if it has not
ended a minute later.
Exit    the command's status; 2 where we were told to stop and it did not end well; 128 and the signal's number where a
        signal ended it; 127 where it could not be started
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from ..common import files, terminal
from ..common.errors import PAUSED

BAR_EVERY = 60.0            # seconds between two states of a bar in the log
PATIENCE = 60.0             # seconds to save and end in, once told to
LONGEST = 1 << 16           # bytes of a line that does not end


class Lines:
    """Bytes to whole lines: CRLF or LF ends one, a lone CR starts it over, as on a terminal."""

    def __init__(self) -> None:
        self.open = b""     # what the unfinished line shows, and a CR that may start it over

    def feed(self, data: bytes) -> list[str]:
        *whole, last = (self.open + data).split(b"\n")
        self.open = _shown(last)[-LONGEST:] + (b"\r" if last.endswith(b"\r") else b"")
        return [_text(line) for line in whole]

    def newest(self) -> str:
        """What the unfinished line shows at the moment."""
        return _text(self.open)


def _shown(line: bytes) -> bytes:
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def _text(line: bytes) -> str:
    return _shown(line).decode("utf-8", "replace").rstrip()


def follow(command: Sequence[str], log: Path, screen: IO[bytes], live: bool, bar_every: float = BAR_EVERY,
           patience: float = PATIENCE) -> int:
    """Run `command`, its output to `screen` (as it comes if `live`, else line by line) and to `log`."""
    with files.open_log(log) as kept:
        def keep(line: str) -> None:
            _write(kept, line.encode() + b"\n")
            if not live:
                _write(screen, line.encode() + b"\n")

        _write(kept, f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {' '.join(command)}\n".encode())
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=_environment())
        except OSError as error:
            terminal.say(f"{command[0]} cannot be started: {error.strerror}")
            return 127
        stops = _pass_on(process)
        lines, shown = Lines(), time.monotonic()
        for data in _output(process, stops, patience):
            if live:
                _write(screen, data)
            for line in lines.feed(data):
                keep(line)
            if lines.newest() and time.monotonic() - shown > bar_every:
                keep(lines.newest())
                shown = time.monotonic()
        if lines.newest():
            keep(lines.newest())
        status = _status(process, stops, patience)
        _write(kept, f"{time.strftime('%Y-%m-%d %H:%M:%S')}  status {status}\n".encode())
        return status


def _output(process: "subprocess.Popen[bytes]", stops: list[float], patience: float) -> Iterator[bytes]:
    """What the command says, as it says it; nothing once a second while it is silent."""
    assert process.stdout is not None
    while True:
        if select.select([process.stdout], [], [], 1.0)[0]:
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                return
            yield data
        elif process.poll() is None:
            yield b""
        else:                           # it has ended, and what it started holds the pipe
            return
        if stops and time.monotonic() - stops[0] > patience:
            process.kill()


def _status(process: "subprocess.Popen[bytes]", stops: list[float], patience: float) -> int:
    try:
        status = process.wait(patience)
    except subprocess.TimeoutExpired:       # it closed its output and goes on
        process.kill()
        status = process.wait(patience)
    if stops and status:    # Windows ends a program with a number of its own then
        return PAUSED
    return 128 - status if status < 0 else status


def _write(stream: IO[bytes], data: bytes) -> None:
    """A reader who is gone, or a full disk, is the work's to tell or nobody's: the command goes on."""
    with contextlib.suppress(OSError):
        stream.write(data)


def _environment() -> dict[str, str]:
    """Bars are wanted although the command sees no terminal; WSLENV names what Windows programs get of it."""
    names = [name for name in os.environ.get("WSLENV", "").split(":") if name]
    return {**os.environ, "FACESETS_PROGRESS": "1", "WSLENV": ":".join([*names, "FACESETS_PROGRESS/w"])}


def _pass_on(process: "subprocess.Popen[bytes]") -> list[float]:
    """Ctrl-C reaches the command by itself, which then saves and ends; SIGTERM and SIGHUP are handed down.

    Returns the list that the moments of the signals are put into.
    """
    stops: list[float] = []

    def stop(number: int, _: object) -> None:
        stops.append(time.monotonic())
        if number != signal.SIGINT:
            process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    return stops


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    log, *command = sys.argv[1:] if argv is None else argv
    with open(2, "wb", buffering=0, closefd=False) as screen:
        return follow(command, Path(log), screen, sys.stderr.isatty())


if __name__ == "__main__":
    sys.exit(main())
