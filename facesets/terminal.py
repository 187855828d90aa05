"""What a person sees: safe text, a progress bar, one-line errors, exit statuses."""

import argparse
import functools
import os
import signal
import sys
import traceback
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from . import errors

LONGEST = 300   # characters of one foreign string on a terminal; more is noise
FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})   # Unicode categories that steer or break a line


def safe(text: object, longest: int = LONGEST) -> str:
    """`text` without what a terminal would obey: controls, escapes, bidi marks and the like become `\\ufffd`."""
    clean = "".join("\ufffd" if unicodedata.category(char) in FORBIDDEN else char for char in str(text)[:longest + 1])
    return clean if len(clean) <= longest else clean[:longest - 1] + "…"


def say(message: str) -> None:
    """One line for the person, on stderr, so that stdout stays for results."""
    tqdm.write(message, file=sys.stderr)


def progress(total: int | None, what: str, unit: str, **options: Any) -> "tqdm[NoReturn]":
    """A bar with rate and ETA on stderr; none where stderr is no terminal, unless FACESETS_PROGRESS asks for it."""
    hidden = False if os.environ.get("FACESETS_PROGRESS") else None     # facesets.follow reads it through a pipe
    return tqdm(total=total, desc=what, unit=f" {unit}", file=sys.stderr, disable=hidden, dynamic_ncols=True,
                smoothing=0.05, mininterval=0.2, **options)


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
            if os.environ.get("FACESETS_DEBUG"):
                traceback.print_exc()
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            return _end(name, f"unexpected {type(error).__name__} at {where}: {error} "
                              "(a bug: FACESETS_DEBUG=1 shows more)", errors.FAILED)

    return wrapped


def _end(name: str, message: str, status: int) -> int:
    say(f"{name}: {safe(message, 2000)}")
    return status


def stop_on_terminate() -> None:
    """Let SIGTERM end a run as Ctrl-C does."""
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupt)
