"""One review: an answer counts at once, lies in a file before the page hears of it, and is carried out behind.

    <library>/.review.jsonl     one line each, only as long as something of it is still to be done
        {"n", "run": what its run will be called, "say": ANSWER with whole face keys, "new RUN" for what RUN will make}
        {"n", "undo": the run of an answer}     {"n", "ended": true, or why it could not be carried out}

Everything is carried out in the order in which it was said, by one thread, each as one run of the library. A kill loses
nothing: at the next start what has not ended is carried out first. Whether it was, and was not noted, is asked of the
library, which knows its runs by their names, those that were taken back included.
"""

import contextlib
import errno
import json
import os
import secrets
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..common import files, terminal
from ..common.errors import Failure, Paused, UsageError, of_disk
from ..library import journal
from ..operations.forget import REVIEW
from . import answers
from .answers import FACESETS
from .holdings import Holdings
from .people import NEW
from .questions import Books, Outlook, Question, ask, outlook

NAME = REVIEW
LAST = 120.0    # seconds that the end waits for what was said; a kill in the middle loses nothing
AGAIN = 1.0     # seconds until a library that somebody else changes is asked for again


class Stale(Exception):
    """The page shows what is not so any more."""


@dataclass
class Said:
    run: str
    words: str
    question: str       # id of what it answered
    before: Books


class Desk:
    def __init__(self, path: Path, library: Holdings) -> None:
        self.path, self.library = path, library
        self.changed = threading.Condition()
        self.past: list[Said] = []
        self.later: list[str] = []
        self.first = self.problem = ""
        self.version, self.books = 0, Books({})
        self._made: dict[str, str] = {}     # what the page calls a new faceset -> "new RUN"
        self._ended = False
        self._waiting: list[dict[str, Any]] = []
        self._n = 0
        for line in self._left_over():
            self._n = line["n"]
            self._carry_out(line)
        self.path.unlink(missing_ok=True)
        self.books, self._reread = library.read(), False
        self.questions = ask(self.books)
        self._thread = threading.Thread(target=self._work, name="review", daemon=True)
        self._thread.start()

    def current(self) -> tuple[list[Question], Outlook]:
        """The questions, the one to ask now first, and how far it is."""
        self._heed()

        def place(question: Question) -> tuple[bool, int]:
            put_off = question.id in self.later
            return question.id != self.first, self.later.index(question.id) + 1 if put_off else 0
        return sorted(self.questions, key=place), outlook(self.books, self.questions)

    def say(self, value: Any, question: str, version: object) -> str:
        """Take an answer; its words. Raises Stale where the page shows an older state, UsageError for no answer."""
        with self.changed:
            self._must_be(version)
            answer = answers.read(self.books, value)
            before, said = self.books, answers.words(self.books, answer)
            run = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{answer['do']}-{secrets.token_hex(3)}"
            whole = {name: self._made.get(value, value) if name in FACESETS else value
                     for name, value in self.library.whole(answer).items()}
            self._line({"run": run, "say": whole})
            if "new" in answer:
                self._made[answer["new"]] = NEW + run
            self.past = [*self.past, Said(run, said, question, before)][-journal.KEEP:]
            self._show(answers.carry(before, answer))
            return said

    def put_off(self, question: str, version: object) -> None:
        with self.changed:
            self._must_be(version)
            self.later = [*(other for other in self.later if other != question), question]
            self.first, self.version = "", self.version + 1

    def undo(self, version: object) -> str:
        """Take the last answer back, and go back to what it answered; its words."""
        with self.changed:
            self._must_be(version)
            if not self.past:
                raise UsageError("there is nothing of this review to take back; sort_faces.py undo goes further back")
            last = self.past[-1]
            self._line({"undo": last.run})
            self.past.pop()
            self._show(last.before)
            self.first = last.question
            return last.words

    def waiting(self) -> int:
        return len(self._waiting)

    def end(self) -> None:
        """Carry out what was said, then stop. What takes longer than that is carried out at the next start."""
        with self.changed:
            self._ended = True
            self.changed.notify_all()
        self._thread.join(LAST)
        if self._waiting:
            terminal.say(f"{len(self._waiting)} answers are not carried out yet; the next review does that first")

    def _must_be(self, version: object) -> None:
        self._heed()
        if version != self.version:
            raise Stale

    def _heed(self) -> None:
        """What another command did to the library since it was read is what is so now, and what it takes back."""
        with contextlib.suppress(Failure, OSError):     # it is still at it; the next look finds what it made
            if not self._waiting and (self._reread or self.library.changed()):
                books = replace(self.library.read(), added=self.books.added)
                self._reread = False
                self.past.clear()
                self._show(books)

    def _show(self, books: Books) -> None:
        self.books, self.questions, self.first = books, ask(books), ""
        self.version += 1

    def _line(self, line: dict[str, Any]) -> None:
        line = {"n": self._n + 1, **line}
        self._write(line)
        self._n += 1
        self._waiting.append(line)
        self.changed.notify_all()

    def _write(self, line: dict[str, Any]) -> None:
        self.library.within_reach()     # else it would lie where the disk is mounted, and below it when it comes back
        data = (json.dumps(line, ensure_ascii=True) + "\n").encode()
        with open(os.open(self.path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, files.FILE_MODE), "ab", 0) as file:
            if (written := file.write(data)) < len(data):       # the half would spoil the line that comes after it
                os.ftruncate(file.fileno(), file.tell() - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(file.fileno())

    def _left_over(self) -> list[dict[str, Any]]:
        """What an earlier review was told and has not carried out. A last line that a kill cut short is no promise."""
        lines: dict[int, dict[str, Any]] = {}
        if not self.path.exists():
            return []
        whole, _, _ = self.path.read_bytes().rpartition(b"\n")
        files.write_bytes(self.path, whole + b"\n" * bool(whole))
        for number, line in enumerate(whole.splitlines()):
            try:
                value = json.loads(line)
                n = int(value["n"])
                if "ended" in value:
                    lines.pop(n, None)      # noted a second time where the disk refused the first one too late
                elif isinstance(value["run"] if "say" in value else value["undo"], str):
                    lines[n] = value
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Failure(f"{self.path}, line {number + 1}, is not of a review ({type(error).__name__}); look at "
                              "it and remove the file, then start the review again") from None
        return list(lines.values())

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                line = self._waiting[0]
            done = self._carry_out(line)
            with self.changed:
                if not done:
                    return
                self._waiting.pop(0)
                if not self._waiting:       # the file has served; after a failure the library says what is so
                    with contextlib.suppress(OSError):      # the next start finds nothing in it that has not ended
                        self.path.unlink(missing_ok=True)
                    self._heed()
                self.changed.notify_all()

    def _carry_out(self, line: dict[str, Any]) -> bool:
        """False where it waits for the disk, or for somebody else at work, until the review ends: the next one does it.

        It is repeated until its end is noted; what the library did already it does not do twice.
        """
        while True:
            try:
                why = self._act(line)
                self._write({"n": line["n"], "ended": why or True})
                break
            except (OSError, Paused) as error:
                failure = of_disk(error, self.path) if isinstance(error, OSError) else error
            if self.problem != (problem := f"waits: {failure}"):
                self.problem = problem
                terminal.say(f"the review {terminal.safe(problem)}")
            with self.changed:
                if self.changed.wait_for(lambda: self._ended, AGAIN):
                    return False
        if why:
            self.problem, self._reread = f"could not be carried out: {terminal.safe(why)}", True
        elif self.problem.startswith("waits"):
            self.problem = ""
        return True

    def _act(self, line: dict[str, Any]) -> str:
        """Why it could not be carried out, or "". Raises Paused where it is worth waiting."""
        try:
            self.library.within_reach()
            if "undo" in line:
                self.library.undo(line["undo"])
            else:
                self.library.carry(line["run"], line["say"])
            return ""
        except Exception as error:      # whatever it is, the answers behind this one are not to be lost with it
            self.library.within_reach()
            failure = of_disk(error, self.path) if isinstance(error, OSError) else error
            if isinstance(failure, Paused):
                raise failure from None
            return str(failure) or type(failure).__name__
