"""What a person sees: safe text, a progress bar, one-line errors, exit statuses."""

import argparse
import contextlib
import errno
import functools
import os
import signal
import sys
import time
import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

from tqdm import tqdm

from . import errors, files

LONGEST = 300   # characters of one foreign string on a terminal; more is noise
_kept: IO[bytes] | None = None      # the log of this process, if it keeps one
FULL = (errno.ENOSPC, errno.EDQUOT)
DISK = (*FULL, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR,
        errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EMFILE, errno.ENAMETOOLONG)
FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})     # Unicode categories that steer or break a line
# of these, what letters and emoji are joined with: Persian names, families, flags
JOINERS = frozenset({"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))})
LONGEST_NAME = 100      # characters of a person's name


def safe(text: object, longest: int = LONGEST) -> str:
    """`text` without what a terminal would obey: controls, escapes, bidi marks and the like become `\\ufffd`."""
    clean = "".join("\ufffd" if unicodedata.category(char) in FORBIDDEN and char not in JOINERS else char
                    for char in str(text)[:longest + 1])
    return clean if len(clean) <= longest else clean[:longest - 1] + "…"


def name(text: object) -> str:
    """`text` as the name of a person, whoever gave it: one line, not endless, nothing that steers a terminal."""
    return safe(" ".join(str(text).split()), LONGEST_NAME)


def say(message: str) -> None:
    """One line for the person, on stderr, so that stdout stays for results; and in the log, if there is one."""
    tqdm.write(message, file=sys.stderr)
    _log(message)


def keep_log(path: Path, command: str) -> None:
    """From now on, what is said and how every bar ended is kept in `path`, below the command that is run."""
    global _kept
    if _kept is not None:
        _kept.close()
    _kept = files.open_log(path)
    _log(command)


def _log(message: str) -> None:
    if _kept is not None:
        with contextlib.suppress(OSError):      # a full disk is the work's to tell, not the log's
            _kept.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {message}\n".encode("utf-8", "replace"))


class Bar(tqdm):
    """A progress bar that counts more than steps, and tells the log how it ended."""

    def __init__(self, what: str, unit: str, total: int | None, **options: Any) -> None:
        self.what, self.unit_name, self.wanted = what, unit, total
        self.steps, self.counters, self.began = 0, Counter[str](), time.monotonic()
        super().__init__(total=total, desc=what, unit=f" {unit}", **options)

    def update(self, n: float | None = 1) -> bool | None:
        self.steps += int(n or 0)
        return super().update(n)

    def count(self, **more: int) -> None:
        """Add to the counters that are shown behind the bar: bar.count(faces=3)."""
        self.counters.update(more)
        if not self.disable:
            self.set_postfix_str(self._counted(), refresh=False)

    def show(self, **values: int) -> None:
        """Set counters to what was counted elsewhere: bar.show(MB=12)."""
        for name, value in values.items():
            self.counters[name] = value
        self.count()

    def close(self) -> None:
        if self.began and self.steps:
            of = f" of {self.wanted:,}" if self.wanted and self.wanted != self.steps else ""
            seconds = time.monotonic() - self.began
            counted = f"; {self._counted()}" if self.counters else ""
            _log(f"{self.what}: {self.steps:,}{of} {self.unit_name} in {seconds:.0f} s "
                 f"({self.steps / max(seconds, 1e-9):.1f}/s){counted}")
        self.began = 0.0
        super().close()

    def _counted(self) -> str:
        now = list(self.counters.items())       # other threads count meanwhile
        return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in now if number)


def progress(total: int | None, what: str, unit: str) -> Bar:
    """A bar with rate and ETA on stderr; none where stderr is no terminal, unless FACESETS_PROGRESS asks for it."""
    hidden = False if os.environ.get("FACESETS_PROGRESS") else None     # windows.follow reads it through a pipe
    return Bar(what, unit, total, file=sys.stderr, disable=hidden, dynamic_ncols=True, smoothing=0.05, mininterval=0.2)


class Parser(argparse.ArgumentParser):
    """argparse, but the module's docstring is the manual and a wrong command line is status 64."""

    def __init__(self, manual: str | None, **options: Any) -> None:
        super().__init__(description=manual, formatter_class=argparse.RawDescriptionHelpFormatter,
                         allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise errors.UsageError(f"{message}; `{self.prog} --help` is the manual")


def script(main: Callable[..., int]) -> Callable[..., int]:
    """Wrap a script's `main(argv=None) -> int`: every ending is a status of `errors` and at most one line.

    FACESETS_DEBUG=1 prints the traceback of an unexpected error as well.
    """
    name = Path(main.__code__.co_filename).stem

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except errors.Failure as failure:
            return _end(name, str(failure), failure.status)
        except KeyboardInterrupt:
            return _end(name, "stopped; everything is saved, the same command goes on", errors.PAUSED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return errors.OK
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK:
                return _end(name, *_of_the_disk(error))
            if os.environ.get("FACESETS_DEBUG"):
                traceback.print_exc()
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            return _end(name, f"unexpected {type(error).__name__} at {where}: {error} "
                              "(a bug: FACESETS_DEBUG=1 shows more)", errors.FAILED)

    return wrapped


def _of_the_disk(error: OSError) -> tuple[str, int]:
    """Message and status for a disk that is full, gone, read-only or not ours: no bug, and nothing is lost."""
    where = error.filename or "the disk"
    if error.errno in FULL:
        return f"{where}: the disk is full; make room, then run the same command again", errors.PAUSED
    return f"{where}: {error.strerror}; mend that, then run the same command again", errors.FAILED


def _end(name: str, message: str, status: int) -> int:
    say(f"{name}: {safe(message, 2000)}")
    return status


def stop_on_terminate() -> None:
    """Let SIGTERM end a run as Ctrl-C does."""
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupt)
