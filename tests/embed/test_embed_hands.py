"""Who is given which photos, by machines that are none and answer when a test says so."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_embed_machines import MODEL, an_answer

from facesets.common.workers import Worker
from facesets.embed import lanes, machines, remote
from facesets.formats.queue import Entry

NOTHING = np.zeros((0, 4), "f4")
ANALYSER: Any = SimpleNamespace(model=MODEL, detect=lambda bgr: (NOTHING, NOTHING, NOTHING),
                                embed=lambda bgr, landmarks: NOTHING)
MIB = 1 << 20


class Engine(machines.Machines):
    """`turn` gives the homes whose photos are done now, all of them if there is none; `answer` what they say."""

    def __init__(self) -> None:
        self.said: list[str] = []
        super().__init__("tcp://127.0.0.1:1", None, "", dict, 60, self.said.append)
        self.turn: Callable[[], list[str]] = lambda: [machine.home for machine in self.ready]
        self.answer: Callable[[Worker, list[Any]], object] = lambda machine, answers: answers
        self.given: list[tuple[str, int]] = []      # home, photos
        self.looked = 0
        self.at_once: int | None = None             # tasks that a machine has done by a turn; None: all

    def machine(self, home: str, threads: int = 1, pace: float = 100, sees: bool = True) -> Worker:
        """`pace`: photos a second of a thread."""
        worker = Worker(f"tcp://127.0.0.1:{len(self.given) + 2}", threads, home, 0)
        worker.proof = remote.Proof(home, ("", ""), "cpu", sees, NOTHING, NOTHING)
        worker.since, worker.done = time.monotonic() - 1e6, int(1e6 * pace * threads)
        worker.size = machines.BUNDLE if pace >= machines.BUNDLE else 1
        self.workers[f"{home} {time.monotonic()}"] = worker
        self.went.pop(home, None)
        return worker

    def end(self, home: str) -> None:
        (name,) = (name for name, machine in self.workers.items() if machine.home == home)
        self.lost(self.workers.pop(name), ended=True)
        self.went[home] = 0       # its nanny starts it anew

    def look(self) -> None:
        pass

    def submit(self, work: Any, *data: Any, to: Any) -> str:
        (machine,) = to
        self.given.append((machine.home, len(data[1])))
        return str(len(self.given))

    def answers(self) -> Iterator[tuple[str, Any]]:
        homes = self.turn()
        for machine in [machine for machine in self.ready if machine.home in homes]:
            for key, jobs in list(machine.hands.items())[:self.at_once]:
                if key in machine.hands:        # it is not refused meanwhile
                    yield key, self.answer(machine, [right(job.entry) for job in jobs])

    def found(self, entries: Any) -> list[lanes.Outcome]:
        return list(self.outcomes(entries, ANALYSER))

    def held(self, home: str) -> list[machines.Job]:
        return [job for machine in self.workers.values() if machine.home == home
                for jobs in machine.hands.values() for job in jobs]


def right(entry: Entry) -> tuple[lanes.Outcome, str, int]:
    """Told from what would be right for another."""
    answer = an_answer(lanes.unread(entry))
    answer[0].raw[:] = int(Path(entry.path).stem) + 1
    return answer


def photos(folder: Path, count: int, size: int = MIB) -> list[Entry]:
    """That say they are so large."""
    found = []
    for number in range(count):
        path, data = folder / f"{number}.jpg", b"%d" % number
        path.write_bytes(data)
        found.append(Entry("", str(path), "", hashlib.sha256(data).hexdigest(), size))
    return found


def all_right(found: list[lanes.Outcome], entries: list[Entry]) -> bool:
    """Each photo once, with what is its own."""
    return (sorted((one.photo.path, float(one.raw[0, 0])) for one in found)
            == sorted((entry.path, int(Path(entry.path).stem) + 1.0) for entry in entries))


def too_small(entry: Entry) -> Callable[[Worker, list[Any]], list[Any]]:
    """Answers, that of "small" to this photo an error."""
    def answer(machine: Worker, found: list[Any]) -> list[Any]:
        for outcome, *_ in found:
            if machine.home == "small" and outcome.photo.path == entry.path:
                outcome.photo = replace(outcome.photo, status="error", reason="needs more memory than there is")
                outcome.suspect, outcome.faces, outcome.raw = True, outcome.faces[:0], outcome.raw[:0]
        return found

    return answer


WRONG: dict[str, Callable[[list[Any]], object]] = {
    "too few": lambda found: found[:-1],
    "too many": lambda found: [*found, found[0]],
    "exchanged": lambda found: [found[1], found[0], *found[2:]],
    "one twice": lambda found: [found[0], *found[:-1]],
    "one is none": lambda found: [*found[:-1], None],
    "none at all": lambda found: [],
    "no list": tuple,
}


@pytest.mark.parametrize("wrong", WRONG)
def test_of_a_bundle_nothing_is_taken_for_another_photo(tmp_path, wrong):
    engine, entries = Engine(), photos(tmp_path, 12)
    bad, _ = engine.machine("bad"), engine.machine("good")
    engine.answer = lambda machine, found: WRONG[wrong](found) if machine is bad else found
    assert all_right(engine.found(entries), entries)
    assert engine.given[0] == ("bad", machines.BUNDLE)
    assert engine.said == [f"the worker {bad.address} gives answers that are none: refused"]


def test_what_is_sent_is_bounded_and_holds_nobody_up_who_sees_the_photos(tmp_path):
    engine, size, most = Engine(), 200 * MIB, 0
    engine.machine("blind", sees=False)
    engine.machine("sees")
    entries = photos(tmp_path, 40, size)
    entries[20] = replace(entries[20], bytes=machines.MAX_BYTES + 1)

    def turn() -> list[str]:
        nonlocal most
        on_way = [job.entry.bytes for job in engine.held("blind")]
        assert sum(on_way) <= machines.MAX_BYTES or len(on_way) == 1
        if len(engine.given) == 5:          # at the first turn: the one has its two, the other all that it may have
            assert len(engine.held("sees")) == machines.AHEAD * machines.BUNDLE
        most = max(most, len(on_way))
        return ["blind", "sees"]

    engine.turn = turn
    assert all_right(engine.found(entries), entries)
    assert most == machines.MAX_BYTES // size == 2


def test_a_photo_larger_than_all_that_may_be_on_the_way_goes_alone(tmp_path):
    engine, entries = Engine(), photos(tmp_path, 8, machines.MAX_BYTES + 1)
    engine.machine("blind", threads=4, sees=False)
    assert all_right(engine.found(entries), entries)
    assert engine.given == [("blind", 1)] * 8


def test_a_slow_machine_has_never_more_than_two_photos_in_its_hands(tmp_path):
    """It does one while the other does the rest."""
    engine, entries = Engine(), photos(tmp_path, 60)
    engine.machine("slow", pace=0.2)
    engine.machine("fast")

    def turn() -> list[str]:
        assert len(engine.held("slow")) <= machines.AHEAD
        return ["fast"] if engine.held("fast") else ["slow"]

    engine.turn = turn
    assert all_right(engine.found(entries), entries)
    assert sum(count for home, count in engine.given if home == "slow") == machines.AHEAD


def test_the_photos_that_a_process_took_with_it_hold_nobody_up(tmp_path):
    """They go one by one to a machine that has not had them, while the others do the rest of the queue."""
    engine, entries = Engine(), photos(tmp_path, 120)
    engine.machine("big", threads=4)
    engine.machine("slow", pace=0.2)
    turns, all_given = 0, False

    def queue() -> Iterator[Entry]:
        nonlocal all_given
        yield from entries
        all_given = True

    def turn() -> list[str]:
        nonlocal turns
        turns += 1
        if turns == 1:
            assert len(engine.held("big")) == 4 * machines.AHEAD * machines.BUNDLE
            engine.end("big")
            engine.machine("big", threads=4)
            return []
        assert sum(bool(job.ends) for job in engine.held("slow")) in (0, len(engine.held("slow")))
        if engine.held("big"):
            return ["big"] if turns % 2 else ["big", "slow"]
        assert all_given        # nothing of the queue waited for the slow one
        return ["slow"]

    engine.turn = turn
    assert all_right(engine.found(queue()), entries)
    slow = [count for home, count in engine.given if home == "slow"]
    assert slow == [1] * (machines.AHEAD + 4 * machines.AHEAD * machines.BUNDLE)    # of the queue two


def test_a_process_whose_address_another_has_already_ended_with_what_it_had_in_its_hands(tmp_path):
    """As with --worker-port. The photos are looked at one by one, since one of them may have ended it."""
    engine, entries, turns = Engine(), photos(tmp_path, 6), 0
    engine.machine("one")
    engine.answer = lambda machine, found: found if turns > 2 else remote.NotProven()

    def turn() -> list[str]:
        nonlocal turns
        turns += 1
        if turns == 2:
            assert len(engine.held("one")) == len(entries)
            engine.end("one")
            engine.machine("one")
        assert len(engine.held("one")) <= 1 or turns == 1
        return ["one"] if turns != 2 else []

    engine.turn = turn
    assert all_right(engine.found(entries), entries)


def test_a_photo_that_one_machine_cannot_do_waits_for_the_one_that_ended_with_it_in_its_hands(tmp_path):
    engine, entries, ended, turns = Engine(), photos(tmp_path, 60), 0, 0
    engine.machine("small")
    engine.machine("good")

    def turn() -> list[str]:
        nonlocal ended, turns
        turns += 1
        if not ended and any(job.failed for job in engine.held("good")):
            engine.end("good")
            ended = turns
        elif ended and turns == ended + 20:
            engine.machine("good")
        return ["small", "good"]

    engine.answer, engine.turn = too_small(entries[0]), turn
    assert all_right(engine.found(entries), entries)
    assert ended


def test_a_photo_that_one_machine_cannot_do_and_another_ended_with_keeps_the_first_from_nothing(tmp_path):
    engine, entries, turns = Engine(), photos(tmp_path, 300), 0
    engine.at_once = 1      # so that none is ever empty
    engine.machine("good")
    engine.machine("small")

    def turn() -> list[str]:
        nonlocal turns
        turns += 1
        if turns == 1:
            assert entries[0] in [job.entry for job in engine.held("good")]
            engine.end("good")
            engine.machine("good")      # behind the other
        return ["good", "small"]

    engine.answer, engine.turn = too_small(entries[0]), turn
    assert all_right(engine.found(entries), entries)
    assert sum(count for home, count in engine.given if home == "small") > len(entries) / 3
