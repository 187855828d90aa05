"""Run a command: show what it says while it says it, keep a log, end with its status.

Run     python -m facesets.windows.follow LOG COMMAND [ARGUMENT...]
A terminal sees the output as it comes, bars included. The log, and a stderr that is no terminal, get whole lines and
once a minute the newest state of a bar. The command gets SIGTERM when this process does, or when its parent is gone.
Exit    the command's status; 2 where we were told to stop and it did not end well; 128 and the signal's number where a
        signal ended it; 127 where it could not be started
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ..common import files, terminal
from ..common.errors import PAUSED

BAR_EVERY = 60.0            # seconds between two states of a bar in the log


class Lines:
    """Bytes to whole lines: CRLF or LF ends one, a lone CR starts it over, as on a terminal."""

    def __init__(self) -> None:
        self.open = b""

    def feed(self, data: bytes) -> list[str]:
        *whole, self.open = (self.open + data).split(b"\n")
        return [self._seen(line) for line in whole]

    def newest(self) -> str:
        """What the unfinished line shows at the moment."""
        return self._seen(self.open)

    @staticmethod
    def _seen(line: bytes) -> str:
        return line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace").rstrip()


def follow(command: Sequence[str], log: Path, screen: IO[bytes], live: bool, bar_every: float = BAR_EVERY) -> int:
    """Run `command`, its output to `screen` (as it comes if `live`, else line by line) and to `log`."""
    with files.open_log(log) as kept:
        def keep(line: str) -> None:
            data = (line + "\n").encode()
            kept.write(data)
            if not live:
                screen.write(data)
                screen.flush()

        kept.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {' '.join(command)}\n".encode())
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       env=_environment(live))
        except OSError as error:
            terminal.say(f"{command[0]} cannot be started: {error.strerror}")
            return 127
        stops = _pass_on(process)
        lines, shown, parent = Lines(), time.monotonic(), os.getppid()
        assert process.stdout is not None
        while True:
            if select.select([process.stdout], [], [], 1.0)[0]:
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data:
                    break
                if live:
                    screen.write(data)
                    screen.flush()
                for line in lines.feed(data):
                    keep(line)
            if lines.newest() and time.monotonic() - shown > bar_every:
                keep(lines.newest())
                shown = time.monotonic()
            if os.getppid() != parent:      # the driver was killed
                process.terminate()
                parent = os.getppid()
        if lines.newest():
            keep(lines.newest())
        status = process.wait()
        if stops and status:    # Windows ends a program with a number of its own then
            status = PAUSED
        status = 128 - status if status < 0 else status
        kept.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  status {status}\n".encode())
        return status


def _environment(live: bool) -> dict[str, str]:
    """Bars are wanted although the command sees no terminal; WSLENV names what Windows programs get of it."""
    names = [name for name in os.environ.get("WSLENV", "").split(":") if name]
    extra = {"FACESETS_PROGRESS": "1", "WSLENV": ":".join([*names, "FACESETS_PROGRESS/w"])}
    if live:
        columns, rows = os.get_terminal_size(sys.stderr.fileno())
        if columns and rows:
            extra |= {"COLUMNS": str(columns), "LINES": str(rows)}
    return {**os.environ, **extra}


def _pass_on(process: "subprocess.Popen[bytes]") -> list[int]:
    """Ctrl-C reaches the command by itself, which then saves and ends; SIGTERM and SIGHUP are handed down.

    Returns the list that the signals are put into.
    """
    stops: list[int] = []

    def stop(number: int, _: object) -> None:
        stops.append(number)
        if number != signal.SIGINT:
            process.terminate()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    return stops


def main(argv: Sequence[str] | None = None) -> int:
    log, *command = sys.argv[1:] if argv is None else argv
    return follow(command, Path(log), sys.stderr.buffer, sys.stderr.isatty())


if __name__ == "__main__":
    sys.exit(main())
