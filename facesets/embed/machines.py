"""Photos to outcomes on the workers of an engine: a source of results like the lanes, and fed like them.

Each worker gets a bundle of photos a thread, and as many again to wait in front of them; the next goes to whoever has
most room, so a fast machine takes more. Dask is asked to run a photo on this worker and no other: which photos were
in the hands of a process that ended is known here, and told from those that only waited. They go elsewhere, alone, so
that one which ends every process is found by itself; after TRIES of them it is an error.
"""

import sys
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

from ..common import terminal
from ..common.errors import OK
from ..common.workers import NONE, TRIES, Lost, Worker, Workers
from ..formats.queue import Entry, ImmichFace
from . import answers, decode, lanes, remote
from .analyser import Analyser
from .lanes import Mark, Outcome
from .pipeline import Summary
from .turning import OtherDirections

REASON = f"ended {TRIES} workers while it was read, or took each of them longer than --photo-timeout"
AHEAD = 2               # bundles a thread: one is looked at, one waits
BUNDLE = 4              # photos a task at most: of 75 ms of a core each, Dask takes 6 ms a task
MAX_BYTES = 512 << 20   # of photos that are sent and not answered yet


@dataclass(eq=False)
class Job:
    entry: Entry
    ends: Counter[str] = field(default_factory=Counter)     # processes that had it and ended, by their home
    failed: set[str] = field(default_factory=set)           # homes of those that cannot analyse it
    why: str = REASON
    as_bytes: bool = False      # a worker that sees the others did not see this one
    waits: bool = False         # for somebody who may do it, or for a sign that those who could not are well

    @property
    def tried(self) -> set[str]:
        """Homes of those that could not do it."""
        return {*self.failed, *self.ends}


@dataclass
class Tally:
    """What all processes of one machine did on one provider."""

    began: float
    photos: int = 0
    seconds: float = 0.0
    losses: int = 0     # of its device


class Machines(Workers):
    """The workers of the scheduler at `address`. `settings` is called on each of them and gives its own."""

    first, version, patience = remote.FIRST, remote.VERSION, 300.0      # a time in which a machine fetches its models

    def __init__(self, address: str, tls: Path | None, model: str, settings: Callable[[], Any], photo_timeout: float,
                 say: Callable[[str], None] = terminal.say) -> None:
        super().__init__(address, tls, say)
        self._model, self._settings, self._photo_timeout = model, settings, photo_timeout
        self._next: list[Job] = []                  # of the queue, which nobody had yet
        self._again: list[Job] = []                 # given before, and not done
        self._able: set[str] = set()                # homes whose last answer was a photo
        self._at_proof: set[str] = set()            # homes that ended there
        self._tallies: dict[tuple[str, str], Tally] = {}     # (host, provider)

    def tell(self, summary: Summary) -> None:
        """Who did what, into the summary of a run."""
        for (host, provider), tally in sorted(self._tallies.items()):
            summary.machines.append({"host": host, "provider": terminal.safe(provider),
                                     "photos": tally.photos,
                                     "photos_per_second": round(tally.photos / max(tally.seconds, 1e-9), 2)})
            summary.device_losses += tally.losses
        summary.provider = ", ".join(sorted({one["provider"] for one in summary.machines})) or summary.provider

    def outcomes(self, entries: Sequence[Entry], analyser: Analyser, _lanes: int = 0, user: str = "",
                 _mark: Mark = nullcontext, others: Sequence[Entry] = (),
                 find: OtherDirections | None = None) -> Generator[Outcome, None, None]:
        """As lanes.outcomes; `analyser` is ours, which the workers' must equal. Their threads are their own affair."""
        self._sample = answers.sample()
        self._probes = [_bare(entry) for entry in others[::len(others) // 3 + 1]]
        self._ours, self._our_faces = analyser.model, remote.faces_of(decode.decode(self._sample), analyser)
        with closing(self._arriving(iter(entries), user, find)) as arriving:
            yield from lanes.trusted(arriving, others, analyser)

    def _arriving(self, entries: Iterator[Entry], user: str,
                  find: OtherDirections | None) -> Generator[Outcome, None, None]:
        try:
            while True:
                self.look()
                yield from self._given_up(user)
                yield from self._give(entries, user, find)
                busy = self._next or any(machine.hands for machine in self.workers.values())
                if not busy and all(job.waits for job in self._again) and not (self._again and self._coming(())):
                    yield from (_error(job, user) for job in self._again)
                    return
                yield from self._answers(user, find is None)
        finally:
            self._next.clear()
            self._again.clear()
            for machine in self.workers.values():
                self.forget(machine.hands)
                machine.hands.clear()

    def _given_up(self, user: str) -> Iterator[Outcome]:
        """Errors of those that were tried often, or that all who are ready failed at, if one of them did another since.
        Else it may be their fault, and the photo waits for others."""
        ready = {machine.home for machine in self.ready}
        for job in list(self._again):
            often, able = max(job.ends.total(), len(job.failed)) >= TRIES, self._able & job.tried
            job.waits = bool((often or (ready and ready <= job.failed)) and (able or ready <= job.tried))
            if job.waits and able and (often or not self._coming(job.failed)):
                self._again.remove(job)
                yield _error(job, user)

    def _give(self, entries: Iterator[Entry], user: str, find: OtherDirections | None) -> Iterator[Outcome]:
        """Photos to the machines that have room; first those that were given before, each alone, suspects before all.
        Who is to have one of these and has no room yet is kept for it, and nobody else waits for that."""
        ready, kept = self.ready, set[Worker]()
        again = [job for job in self._again if ready and not job.waits]
        for job in sorted(again, key=lambda job: -job.ends.total()):
            able = [it for it in ready if it.home not in job.failed]       # somebody, since it does not wait
            machine = _roomiest([it for it in able if it.home not in job.tried] or able, job)
            if not _room(machine, job):
                kept.add(machine)
            elif self._fitting(machine, [job]):
                self._again.remove(job)
                yield from self._hand(machine, [job], user, find)
        while True:
            self._next.extend(map(Job, islice(entries, BUNDLE - len(self._next))))
            free = [it for it in ready if it not in kept and self._next and _room(it, self._next[0])]
            if not free:
                return
            machine = _roomiest(free, self._next[0])
            bundle = self._fitting(machine, self._next[:min(machine.size, _room(machine, self._next[0]))])
            if not bundle:
                kept.add(machine)       # until less is on the way
            del self._next[:len(bundle)]
            yield from self._hand(machine, bundle, user, find)

    def _fitting(self, machine: Worker, jobs: list[Job]) -> list[Job]:
        """As many of these as may be on the way to it: of those whose bytes are sent one at least, if nothing is."""
        if not _sent(machine, jobs[0]):
            return jobs
        on_way = sum(job.entry.bytes for it in self.workers.values() for job in _held(it) if _sent(it, job))
        fit = bisect_right(list(accumulate(job.entry.bytes for job in jobs)), MAX_BYTES - on_way)
        return jobs[:fit or int(not on_way)]

    def _hand(self, machine: Worker, jobs: list[Job], user: str, find: OtherDirections | None) -> Iterator[Outcome]:
        """Have it look at them, in one task; an outcome of each that cannot even be read here."""
        given, photos = [], []
        for job in jobs:
            try:
                data = lanes.read(job.entry) if _sent(machine, job) else None
            except decode.Unreadable as error:
                yield lanes.unreadable(lanes.unread(job.entry, user), error)
                continue
            given.append(job)
            photos.append((_bare(job.entry), find.only(job.entry) if find else None, data))
        if given:
            key = self.submit(remote.look, self._model, photos, user, self._photo_timeout, to=[machine])
            machine.hands[key] = given

    def _answers(self, user: str, first: bool) -> Iterator[Outcome]:
        """What came back meanwhile, judged; of the first look at the photos or another."""
        for key, answer in self.answers():
            machine = next(machine for machine in self.workers.values() if key in machine.hands)
            if isinstance(answer, remote.NotProven):
                continue        # by another process at its address: it ended, as will be seen, with this in its hands
            bundle = machine.hands.pop(key)
            whole = isinstance(answer, list) and len(answer) == len(bundle)
            for job, found in zip(bundle, answer if whole else [answer] * len(bundle), strict=True):
                if machine.refused or isinstance(found, Lost):
                    self._again.append(job)     # it had done this
                elif isinstance(found, BaseException):
                    self._failed(machine, job, f"cannot be analysed ({type(found).__name__}: {found})")
                elif not answers.sound(found, lanes.unread(job.entry, user), self._ours):
                    self._again.append(job)
                    self.refuse(machine, NONE)
                elif found[0].photo.status == "error" and not job.as_bytes and machine.proof.sees:
                    job.as_bytes = True             # its share may show another file, or none
                    self._again.append(job)
                elif found[0].suspect:
                    self._failed(machine, job, found[0].photo.reason)
                elif not answers.numbers(found[0].raw):
                    self._failed(machine, job, "gives embeddings that are no numbers")
                else:
                    self._count(machine, found[1], found[2], first)
                    yield found[0]

    def question(self, machine: Worker) -> tuple[Any, ...]:
        probes = [] if machine.home in self._at_proof else self._probes     # it may have been one of them
        return remote.prove, self._settings, self._model, self._sample, probes

    def refusal(self, machine: Worker, proof: Any) -> str:
        if not (why := answers.refusal(proof, self._ours, *self._our_faces)):
            sent = "" if proof.sees else ", sent to it: it does not see the photos"
            self.say(f"{terminal.safe(proof.host)} ({machine.address}) takes {machine.threads} at a time on "
                     f"{terminal.safe(proof.provider)}{sent}")
        return why

    def lost(self, machine: Worker, ended: bool) -> None:
        """What it had in its hands goes elsewhere."""
        if ended and machine.proof is None:
            self._at_proof.add(machine.home)
        held = _held(machine)
        if ended and held:
            self.ends[machine.home] += all(not job.ends for job in held)
            self._able.discard(machine.home)
        for job in held if ended else ():
            job.ends[machine.home] += 1
            job.why = REASON
        self._again += held
        self.forget(machine.hands)
        machine.hands.clear()
        if machine.refused and not ended:       # it was the machine
            for job in [*self._again, *(job for other in self.workers.values() for job in _held(other))]:
                job.failed.discard(machine.home)
                del job.ends[machine.home]

    def _failed(self, machine: Worker, job: Job, why: str) -> None:
        """It goes elsewhere."""
        self._able.discard(machine.home)
        job.failed.add(machine.home)
        job.why = why
        self._again.append(job)
        self.blame(machine, f"fails at {TRIES} photos in a row, the last {why}")

    def _count(self, machine: Worker, provider: str, losses: int, first: bool) -> None:
        """It did a photo. A bundle is what a thread does in a second: a slow machine must not hold up the end."""
        now = time.monotonic()
        machine.failures, machine.done = 0, machine.done + 1
        pace = machine.done / machine.threads / max(now - machine.since, 1e-9)
        machine.size = min(max(int(pace), 1), BUNDLE)
        self.ends.pop(machine.home, None)
        self._able.add(machine.home)
        tally = self._tallies.setdefault((terminal.safe(machine.proof.host), provider), Tally(machine.since))
        if first:
            tally.photos += 1
            tally.seconds = now - tally.began
        tally.losses = max(tally.losses, losses)

    def _coming(self, failed: Collection[str]) -> bool:
        """Whether somebody else may be ready soon: a machine that loads its models, or starts anew, has no say yet."""
        loading = {it.home: it.came for it in self.workers.values() if it.proof is None and not it.refused}
        return any(home not in failed and self.looked - since < self.patience
                   for home, since in (self.went | loading).items())


def _held(machine: Worker) -> list[Job]:
    return [job for bundle in machine.hands.values() for job in bundle]


def _sent(machine: Worker, job: Job) -> bool:
    """Whether its bytes go along."""
    return job.as_bytes or not machine.proof.sees


def _roomiest(machines: list[Worker], job: Job) -> Worker:
    return max(machines, key=lambda it: _room(it, job) / it.threads)


def _room(machine: Worker, job: Job) -> int:
    """How many more photos it takes. A suspect is alone with a process."""
    held = _held(machine)
    if machine.home in job.failed or any(other.ends for other in held):
        return 0
    if job.ends:
        return 0 if held else 1
    return max(0, AHEAD * machine.size * machine.threads - len(held))       # it may have been faster


def _error(job: Job, user: str) -> Outcome:
    return lanes.failed(lanes.unread(job.entry, user), job.why, suspect=True)


def _bare(entry: Entry) -> Entry:
    """What a look needs of it; who somebody is stays here."""
    return replace(entry, aliases=(), name="", faces=tuple(ImmichFace(face.box) for face in entry.faces))


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    """What finalize_immich.sh --dry-run asks: whether the scheduler can be used, and who is there."""
    address, tls = sys.argv[1:] if argv is None else argv
    with Machines(address, Path(tls) if tls else None, "", dict, 0) as machines:
        terminal.say(f"{terminal.many(len(machines.there()), 'worker')} at {address}")
    return OK


if __name__ == "__main__":
    sys.exit(main())
