"""What a person sees: safe text, a progress bar, one-line errors, exit statuses."""

import argparse
import contextlib
import difflib
import functools
import inspect
import itertools
import json
import os
import re
import signal
import sys
import textwrap
import time
import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn, TypeVar

from tqdm import tqdm

from . import errors, files

T = TypeVar("T")

LONGEST = 300       # characters of one foreign string on a terminal; more is noise
TELL_EVERY = 60.0   # seconds between two states of a bar in the log, and on a stderr that is no terminal
_kept: IO[bytes] | None = None      # the log of this process, if it keeps one
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


def many(number: int, what: str, plural: str = "") -> str:
    """How many of something there are, in words."""
    return f"{number:,} {what if number == 1 else plural or what + 's'}"


def user_label(text: str) -> str:
    """A label names folders and files, so it is kept to what every file system and shell takes."""
    if not re.fullmatch("[a-z0-9][a-z0-9_-]{0,31}", text):
        raise errors.UsageError(f"{safe(text)!r} is no user label: 1 to 32 of a-z, 0-9, - and _, "
                         "a letter or digit first")
    return text


class Screen:
    """stderr. Where nobody reads it any more, what is said is lost, and the work goes on."""

    def write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            _goes_nowhere(sys.stderr)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


SCREEN = Screen()


def _goes_nowhere(stream: IO[str]) -> None:
    """What `stream` still holds would otherwise fail again when Python ends, with a status of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(message: str) -> None:
    """One line in the log, if there is one, and then for the person, on stderr, so that stdout stays for results."""
    _log(message)
    tqdm.write(message, file=SCREEN)


def legible(read: Callable[[Path], T], paths: Iterable[Path]) -> dict[Path, T]:
    """What `read` gives of each that it can read; of the others, which may be another user's, it is said."""
    found = {}
    for path in paths:
        try:
            found[path] = read(path)
        except errors.Paused:
            raise
        except errors.Failure as error:
            say(f"without {safe(path.name)}: {error}")
    return found


def answer(text: str) -> None:
    """A result, on stdout. A reader who has seen enough, as `| head`, is no failure, and the status is the work's."""
    try:
        print(text, flush=True)
    except OSError as error:
        _goes_nowhere(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise


def tell(result: Any, lines: Iterable[str], as_json: bool) -> None:
    """What was done: as JSON on stdout where it is asked for, and in words on stderr."""
    for line in lines:
        say(safe(line))
    if as_json:
        answer(json.dumps(result, ensure_ascii=False))


def keep_log(path: Path, command: str) -> None:
    """From now on, what is said and how far every bar is goes into `path`, if it can, below the command that is run."""
    global _kept
    if _kept is not None:
        _kept.close()
    _kept = None
    with contextlib.suppress(OSError):
        _kept = files.open_log(path)
    _log(command)


def _log(message: str) -> None:
    if _kept is not None:
        with contextlib.suppress(OSError):      # a full disk is the work's to tell, not the log's
            _kept.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {message}\n".encode("utf-8", "replace"))


class Bar(tqdm):
    """A progress bar that counts more than steps, and tells the log how far it is and how it ended."""

    def __init__(self, what: str, unit: str, total: int | None, **options: Any) -> None:
        self.what, self.unit_name, self.wanted = what, unit, total
        self.steps, self.counters, self.began = 0, Counter[str](), time.monotonic()
        self.told = self.began
        super().__init__(total=total, desc=what, unit=f" {unit}", **options)

    def update(self, n: float | None = 1) -> bool | None:
        self.steps += int(n or 0)
        if time.monotonic() - self.told > TELL_EVERY:
            self.told = time.monotonic()
            (say if self.disable else _log)(self._state())
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
            _log(self._state())
        self.began = 0.0
        super().close()

    def _state(self) -> str:
        of = f" of {self.wanted:,}" if self.wanted and self.wanted != self.steps else ""
        seconds = time.monotonic() - self.began
        counted = f"; {self._counted()}" if self.counters else ""
        return (f"{self.what}: {self.steps:,}{of} {self.unit_name} in {seconds:.0f} s "
                f"({self.steps / max(seconds, 1e-9):.1f}/s){counted}")

    def _counted(self) -> str:
        now = list(self.counters.items())       # other threads count meanwhile
        return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in now if number)


def progress(total: int | None, what: str, unit: str) -> Bar:
    """A bar with rate and ETA on stderr; none where stderr is no terminal, unless FACESETS_PROGRESS asks for it."""
    hidden = False if os.environ.get("FACESETS_PROGRESS") else None     # through a pipe as well
    return Bar(what, unit, total, file=SCREEN, disable=hidden, dynamic_ncols=True, smoothing=0.05, mininterval=0.2)


class Manual(argparse.HelpFormatter):
    """Fits docstrings to the terminal: prose is filled, a line of a table goes on below its second column."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        source = inspect.cleandoc(text).split("\n")
        for is_table, some in itertools.groupby(source, lambda line: not line or "  " in line):
            for line in some if is_table else [" ".join(some)]:
                column = re.match(r" *(\S+(?: \S+)*?  +)?", line)
                hang = column.end() if column and column.end() <= 20 else len(line) - len(line.lstrip())
                lines += textwrap.wrap(line, width, subsequent_indent=" " * hang, break_long_words=False,
                                       break_on_hyphens=False) or [""]
        return "\n".join(lines)

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        """Without the settings, which are listed below."""
        super().add_usage(usage, [action for action in actions if action.metavar != "X"], [], prefix)


class Parser(argparse.ArgumentParser):
    """argparse, but the module's docstring is the manual and a wrong command line is status 64."""

    def __init__(self, manual: str | None, **options: Any) -> None:
        super().__init__(description=manual, formatter_class=Manual, allow_abbrev=False, **options)
        self.add_argument("--version", action="version", version=f"face-sets {_version()}",
                          help="say which version of face-sets this is, and end")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; where nothing is given but something has to be, the manual comes first."""
        if not (sys.argv[1:] if args is None else args) and any(action.required for action in self._actions):
            self.print_help(SCREEN)
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise errors.UsageError(f"{message}; `{self.prog} --help` is the manual")


def _version() -> str:
    """Of this checkout; the part that is carried to Windows does not say."""
    place = Path(__file__).parents[2] / "pyproject.toml"
    found = re.search(r'^version = "(.+)"', place.read_text(encoding="utf-8"), re.M) if place.exists() else None
    return found[1] if found else "of the checkout that brought it here"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that says that nothing is called `word`."""
    names = {name.casefold(): name for name in known if name}
    close = difflib.get_close_matches(word.casefold(), names, 1)
    return f"; did you mean {safe(names[close[0]])}?" if close else ""


def script(main: Callable[..., int]) -> Callable[..., int]:
    """Wrap a script's `main(argv=None) -> int`: every ending is a status of `errors` and at most one line.

    FACESETS_DEBUG=1 prints the traceback of an unexpected error as well.
    """
    name = Path(main.__code__.co_filename).stem

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        _open_streams()
        try:
            return main(argv)
        except errors.Failure as failure:
            return _end(name, failure)
        except KeyboardInterrupt:
            return _end(name, errors.Paused("stopped; everything is saved, the same command goes on"))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in errors.DISK:
                return _end(name, errors.of_disk(error))
            if os.environ.get("FACESETS_DEBUG"):
                traceback.print_exc(file=SCREEN)
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            return _end(name, errors.Failure(f"unexpected {type(error).__name__} at {where}: {error} "
                                             "(a bug: FACESETS_DEBUG=1 shows more)"))

    return wrapped


def _end(name: str, failure: errors.Failure) -> int:
    say(f"{name}: {safe(failure, 2000)}")
    return failure.status


def _open_streams() -> None:
    """What the caller closed (2>&-) goes nowhere, and no file of ours takes its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)      # takes the lowest number that is free, which is this one
    sys.stdout, sys.stderr = sys.stdout or os.fdopen(1, "w"), sys.stderr or os.fdopen(2, "w")


def stop_on_terminate() -> None:
    """Let SIGTERM, and the end of the terminal unless `nohup` says otherwise, end a run as Ctrl-C does."""
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, interrupt)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, interrupt)
