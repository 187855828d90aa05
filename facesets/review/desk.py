"""One review: an answer counts at once, lies in a file before the page hears of it, and is carried out behind.

    <library>/.review.jsonl     one line each, only as long as something of it is still to be done
        {"n", "say": ANSWER with whole face keys}       {"n", "undo": the n of an answer}
        {"n", "did": run id or "", "made": folder of a new faceset or ""}       {"n", "failed": why}

Everything is carried out in the order in which it was said, by one thread, each as one run of the library. A kill loses
nothing: at the next start what has no outcome is carried out first; a run that was committed but not noted is known to
the library, which says so instead of doing it twice.
"""

import errno
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ..common import files, terminal
from ..common.errors import AlreadyDone, Failure, Paused, UsageError, of_disk
from ..library import journal
from ..operations.forget import REVIEW
from . import answers
from .answers import Answer
from .questions import Books, Outlook, Question, ask, outlook

NAME = REVIEW
LAST = 120.0    # seconds that the end waits for what was said; a kill in the middle loses nothing
AGAIN = 1.0     # seconds until a library that somebody else changes is asked for again


class Stale(Exception):
    """The page shows what is not so any more."""


@dataclass
class Said:
    n: int
    answer: Answer
    words: str
    question: str       # id of what it answered
    before: Books


@dataclass(frozen=True)
class Did:
    """What came of an answer: the run that it was, "" where it changed nothing; if it made a faceset, its folder."""

    run: str = ""
    made: str = ""


class Holder(Protocol):
    """What a desk needs of the library. `tell` is called when a thing is done, before the library forgets it."""

    def read(self) -> Books: ...

    def changed(self) -> bool:
        """Whether somebody else changed it since it was read."""

    def whole(self, answer: Answer) -> Answer:
        """The answer with all that is needed to carry it out another day."""

    def carry(self, n: int, answer: Answer, tell: Callable[[Did], object]) -> None: ...

    def undo(self, run: str, tell: Callable[[Did], object]) -> None: ...

    def last(self) -> Did:
        """The last run, and the newest faceset, as if that run had made it."""


class Desk:
    def __init__(self, path: Path, library: Holder) -> None:
        self.path, self.library = path, library
        self.changed = threading.Condition()
        self.past: list[Said] = []
        self.later: list[str] = []
        self.first = self.problem = ""
        self.version, self.books = 0, Books({})
        self._did: dict[int, Did] = {}
        self._made: dict[str, str] = {}     # name of a new faceset till then -> its folder
        self._ended = self._reread = False
        self._waiting = self._left_over()
        self._n = max((line["n"] for line in self._waiting), default=0)
        for line in self._waiting:
            self._carry_out(line)
        self._waiting.clear()
        self._settled()
        self.books = library.read()
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
            self._n += 1
            self._line({"n": self._n, "say": self.library.whole(answer)})
            self.past = [*self.past, Said(self._n, answer, said, question, before)][-journal.KEEP:]
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
            self._n += 1
            self._line({"n": self._n, "undo": last.n})
            self.past.pop()
            self._show(last.before)
            self.first = last.question
            return last.words

    def settle(self, seconds: float) -> bool:
        """Wait until everything is carried out; whether it is."""
        with self.changed:
            return self.changed.wait_for(lambda: not self._waiting, seconds)

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

    def folder(self, name: str) -> str:
        """The folder of a faceset that an answer made, by what it was called till then."""
        return self._made.get(name, name)

    def _must_be(self, version: object) -> None:
        self._heed()
        if version != self.version:
            raise Stale

    def _heed(self) -> None:
        """What another command did to the library since it was read is what is so now, and what it takes back."""
        if not self._waiting and self.library.changed():
            try:
                self._anew()
            except (Failure, OSError):      # it is still at it; the next look finds what it made
                pass

    def _anew(self) -> None:
        books = replace(self.library.read(), added=self.books.added)
        self.past.clear()
        self._show(books)

    def _show(self, books: Books) -> None:
        self.books, self.questions, self.first = books, ask(books), ""
        self.version += 1

    def _line(self, line: dict[str, Any]) -> None:
        self._write(line)
        self._waiting.append(line)
        self.changed.notify_all()

    def _write(self, line: dict[str, Any]) -> None:
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
                if "say" in value or "undo" in value:
                    lines[int(value["n"])] = value
                else:
                    self._note(lines.pop(int(value["n"])), value)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Failure(f"{self.path}, line {number + 1}, is not of a review ({type(error).__name__}); look at "
                              "it and remove the file, then start the review again") from None
        return list(lines.values())

    def _note(self, line: dict[str, Any], outcome: dict[str, Any]) -> None:
        did = Did(str(outcome.get("did", "")), str(outcome.get("made", "")))
        self._did[line["n"]] = did
        if new := line.get("say", {}).get("new"):
            self._made[new] = did.made or new

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
                if not self._waiting:
                    self._settled()
                self.changed.notify_all()

    def _settled(self) -> None:
        """All is carried out: the file has served, and after a failure the library says what is so."""
        self.path.unlink(missing_ok=True)
        if self._reread:
            self._reread = False
            self._anew()

    def _carry_out(self, line: dict[str, Any]) -> bool:
        """False where somebody else is at work in the library until the review ends: the next one does it."""
        outcome: dict[str, Any] = {"n": line["n"]}

        def tell(did: Did) -> None:
            outcome.update(did=did.run, made=did.made)
            self._write(outcome)
        while True:
            try:
                if "did" in outcome:        # done, and only the note of it was refused
                    self._write(outcome)
                else:
                    self._act(line, tell)
                break
            except Exception as error:      # whatever it is, the answers behind this one are not to be lost with it
                failure = of_disk(error, self.path) if isinstance(error, OSError) else error
                if isinstance(failure, Paused):
                    if self.problem != (problem := f"waits: {failure}"):
                        self.problem = problem
                        terminal.say(f"the review {terminal.safe(problem)}")
                    with self.changed:
                        if self.changed.wait_for(lambda: self._ended, AGAIN):
                            return False
                    continue
                self.problem = f"could not be carried out: {terminal.safe(failure)}"
                self._reread = True
                self._write({**outcome, "failed": str(failure)})
                break
        if self.problem.startswith("waits"):
            self.problem = ""
        self._note(line, outcome)
        return True

    def _act(self, line: dict[str, Any], tell: Callable[[Did], object]) -> None:
        try:
            if "say" in line:
                say = {name: self.folder(value) if name in ("of", "into", "other", "from") else value
                       for name, value in line["say"].items()}
                self.library.carry(line["n"], say, tell)
            elif run := self._did.get(line["undo"], Did()).run:
                self.library.undo(run, tell)
            else:
                tell(Did())
        except AlreadyDone:
            tell(self.library.last())
