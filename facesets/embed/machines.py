"""Photos to outcomes on the workers of an engine: a source of results like the lanes, and fed like them.

Each worker gets as many photos as it has threads, and as many again to wait in front of them; the next goes to whoever
has most room, so a fast machine takes more. Dask is asked to run a photo on this worker and no other: which photos were
in the hands of a process that ended is known here, and told from those that only waited. They go elsewhere, alone, so
that one which ends every process is found by itself; after TRIES of them it is an error.
"""

import asyncio
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import connect, terminal
from ..common.errors import Paused
from ..formats.queue import Entry, ImmichFace
from . import answers, decode, lanes, remote
from .analyser import Analyser
from .lanes import Mark, Outcome
from .pipeline import Summary
from .turning import OtherDirections

if TYPE_CHECKING:
    from distributed import Client, Future

TRIES = 3               # processes that a photo may end
REASON = f"ended {TRIES} workers while it was read, or took each of them longer than --photo-timeout"
AHEAD = 2               # photos a thread: one is looked at, one waits
MAX_BYTES = 512 << 20   # of photos that are sent and not answered yet
LOOK_AROUND = 1.0       # seconds between two questions who is there
PATIENCE = 300.0        # seconds without a worker to give a photo to; one that starts fetches and loads its models
JOINING = 10.0          # the same where all that are there are refused, and none that is good went, to come back


@dataclass(eq=False)
class Job:
    entry: Entry
    ends: Counter[str] = field(default_factory=Counter)     # processes that had it and ended, by their home
    failed: set[str] = field(default_factory=set)           # homes of those that cannot analyse it
    why: str = REASON
    as_bytes: bool = False      # a worker that sees the others did not see this one


@dataclass(eq=False)
class Machine:
    """One process of a worker."""

    address: str
    threads: int
    home: str                               # what starts it anew: its nanny
    proof: remote.Proof | None = None       # none before it is ready
    refused: bool = False
    failures: int = 0                       # photos in a row that it could not analyse
    heard: float = 0.0                      # when it last answered, or was given a photo into empty hands
    hands: dict[str, Job] = field(default_factory=dict)     # what it was given, by key

    def room(self, job: Job) -> int:
        """How many more photos it takes. A suspect is alone with a process."""
        if (not self.proof or self.refused or self.home in job.failed
                or any(other.ends for other in self.hands.values())):
            return 0
        return (0 if self.hands else 1) if job.ends else AHEAD * self.threads - len(self.hands)


@dataclass
class Tally:
    """What all processes of one machine did on one provider."""

    began: float
    photos: int = 0
    seconds: float = 0.0
    losses: int = 0     # of its device


class Machines:
    """The workers of the scheduler at `address`. `settings` is called on each of them and gives its own.

    Used as a context; connects when the first photo is to be looked at.
    """

    def __init__(self, address: str, tls: Path | None, model: str, settings: Callable[[], Any], photo_timeout: float,
                 say: Callable[[str], None] = terminal.say, patience: float = PATIENCE) -> None:
        connect.check(address, tls)
        self.address, self._tls, self._model, self._settings = address, tls, model, settings
        self._photo_timeout, self._say, self._patience = photo_timeout, say, patience
        self._stack = ExitStack()
        self._machines: dict[str, Machine] = {}     # by the id of the process
        self._futures: dict[str, tuple[Future, Machine]] = {}
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._again: deque[Job] = deque()           # what goes out first, suspects before all others
        self._aside: list[Job] = []                 # those that failed only where nothing was done since
        self._able: set[str] = set()                # homes whose last answer was a photo
        self._ends: Counter[str] = Counter()        # by home, since a photo was done there: ends with new photos only
        self._at_proof: set[str] = set()            # homes that ended there
        self._looked = self._worked = self._hoped = -float("inf")
        self._told = False      # that a worker is waited for
        self._joining = JOINING
        self._tallies: dict[tuple[str, str], Tally] = {}     # (host, provider)

    def __enter__(self) -> "Machines":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def _client(self) -> "Client":
        return self._stack.enter_context(connect.connected(self.address, self._tls, remote.FIRST, remote.VERSION))

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
        sample = answers.sample()
        self._prove = partial(remote.prove, self._settings, self._model, sample)
        self._probes = [_bare(entry) for entry in others[::len(others) // 3 + 1]]
        self._ours, self._our_faces = analyser.model, remote.faces_of(decode.decode(sample), analyser)
        self._worked = self._hoped = time.monotonic()
        with closing(self._arriving(iter(entries), user, find)) as arriving:
            yield from lanes.trusted(arriving, others, analyser)

    def _arriving(self, entries: Iterator[Entry], user: str,
                  find: OtherDirections | None) -> Generator[Outcome, None, None]:
        try:
            while True:
                self._look_around()
                yield from self._give(entries, user, find)
                if not self._again and not any(machine.hands for machine in self._machines.values()):
                    yield from (_given_up(job, user) for job in self._aside)
                    return
                yield from self._answers(user, find is None)
        finally:
            self._again.clear()
            self._aside.clear()
            for machine in self._machines.values():
                for key in machine.hands:
                    self._futures.pop(key, None)        # whoever still looks at it does so in vain
                machine.hands.clear()

    def _give(self, entries: Iterator[Entry], user: str, find: OtherDirections | None) -> Iterator[Outcome]:
        """Photos to the machines that have room; an outcome where a photo cannot even be read here."""
        while True:
            if not self._again:
                self._again.extend(map(Job, filter(None, (next(entries, None),))))
            if not self._again:
                return
            job = self._again[0]
            ready = [machine for machine in self._machines.values() if machine.proof and not machine.refused]
            tried = {*job.failed, *job.ends}
            others = [machine for machine in ready if machine.home not in tried]
            if ((job.ends.total() >= TRIES or len(job.failed) >= TRIES
                    or (ready and {it.home for it in ready} <= job.failed)) and (self._able & tried or not others)):
                self._again.popleft()
                if self._able & tried:
                    yield _given_up(job, user)
                else:
                    self._aside.append(job)
                continue
            machine = max(others or ready, key=lambda it: it.room(job) / it.threads, default=None)
            if not machine or not machine.room(job) or not machine.proof:
                return
            data = None
            if job.as_bytes or not machine.proof.sees:
                on_way = sum(job.entry.bytes for it in self._machines.values() for job in it.hands.values())
                if on_way and on_way + job.entry.bytes > MAX_BYTES:
                    return
                try:
                    data = lanes.read(job.entry)
                except decode.Unreadable as error:
                    self._again.popleft()
                    yield lanes.unreadable(lanes.unread(job.entry, user), error)
                    continue
            self._again.popleft()
            only = find.only(job.entry) if find else None
            future = connect.submit(self._client, self.address, remote.look, self._model, _bare(job.entry), user, only,
                                    data, self._photo_timeout, workers=[machine.address])
            machine.heard = machine.heard if machine.hands else time.monotonic()
            machine.hands[str(future.key)] = job
            self._expect(future, machine)

    def _expect(self, future: "Future", machine: Machine) -> None:
        self._futures[str(future.key)] = future, machine
        future.add_done_callback(lambda done: self._done.put(str(done.key)))

    def _answers(self, user: str, first: bool) -> Iterator[Outcome]:
        """What came back meanwhile, judged; of the first look at the photos or another."""
        keys = set()
        with suppress(queue.Empty):
            keys.add(self._done.get(timeout=0.2))
            while not self._done.empty():
                keys.add(self._done.get_nowait())
        came = [(key, *self._futures.pop(key)) for key in keys if key in self._futures]
        found = connect.results(self._client, self.address, [future for _, future, _ in came])
        for (key, _, machine), answer in zip(came, found, strict=True):
            job = machine.hands.pop(key, None)
            if job is None:
                self._judge_proof(machine, answer)
            elif isinstance(answer, asyncio.CancelledError | remote.NotProven):
                self._again.appendleft(job)     # its process went, as will be seen; it had done this one, or not begun
            elif isinstance(answer, BaseException):
                self._failed(machine, job, f"cannot be analysed ({type(answer).__name__}: {answer})")
            elif not answers.sound(answer, lanes.unread(job.entry, user), self._ours):
                self._refuse(machine, answers.NONE)
                self._again.appendleft(job)
            elif answer[0].photo.status == "error" and not job.as_bytes and machine.proof and machine.proof.sees:
                job.as_bytes = True             # its share may show another file, or none
                self._again.appendleft(job)
            elif answer[0].suspect:
                self._failed(machine, job, answer[0].photo.reason)
            elif not answers.numbers(answer[0].raw):
                self._failed(machine, job, "gives embeddings that are no numbers")
            else:
                self._count(machine, answer[1], answer[2], first)
                yield answer[0]
        silent = time.monotonic() - AHEAD * self._photo_timeout
        for machine in self._machines.values() if self._done.empty() else ():
            if machine.hands and machine.heard < silent:
                self._refuse(machine, "is silent for longer than --photo-timeout allows", ended=True)

    def _look_around(self) -> None:
        """Who came, and who went; workers that are new are asked for their proof."""
        if time.monotonic() - self._looked < LOOK_AROUND:
            return
        there = connect.workers(self._client, self.address)
        self._looked = time.monotonic()
        for name in [name for name in self._machines if name not in there]:
            machine = self._machines.pop(name)
            if not machine.refused:
                self._say(f"the worker {machine.address} is gone")
                self._joining = self._patience if machine.proof else self._joining
            if not machine.refused and (machine.hands or not machine.proof):
                self._ends[machine.home] += all(not job.ends for job in machine.hands.values())
                self._able.discard(machine.home)
            if not machine.proof:
                self._at_proof.add(machine.home)
            self._lost(machine, ended=True)
        for name in [name for name in there if name not in self._machines]:
            address, home = there[name]["address"], there[name]["nanny"] or name
            machine = self._machines[name] = Machine(address, there[name]["nthreads"], home)
            if why := connect.in_the_clear(self.address, address):
                self._refuse(machine, why)
            elif self._ends[home] >= TRIES:
                self._refuse(machine, f"ended {TRIES} times in a row, whatever it was to do; its output says why")
            else:
                self._expect(connect.submit(self._client, self.address, eval, remote.FIRST, workers=[address]), machine)
        if any(machine.proof and not machine.refused for machine in self._machines.values()):
            self._worked = self._looked
        refused = [machine.refused for machine in self._machines.values()]
        if not refused or not all(refused):
            self._hoped = self._looked
        if self._hoped == self._looked and self._looked - self._worked > connect.TELL and not self._told:
            self._told = True
            self._say(connect.waiting(self.address, len(refused), self._patience))
        if self._looked - self._worked > self._patience or self._looked - self._hoped > self._joining:
            raise Paused(f"no worker of {self.address} is ready ({len(refused)} there, {sum(refused)} of them refused, "
                         "see above); everything is saved; start one, see docs/cluster.md, then run the same command "
                         "again")

    def _judge_proof(self, machine: Machine, proof: Any) -> None:
        if machine.refused or machine not in self._machines.values():
            return      # it went meanwhile
        if why := answers.refusal(proof, self._ours, *self._our_faces):
            self._refuse(machine, why)
        elif isinstance(proof, str):
            probes = [] if machine.home in self._at_proof else self._probes     # it may have been one of them
            self._expect(connect.submit(self._client, self.address, self._prove, probes, workers=[machine.address]),
                         machine)
        else:
            machine.proof = proof
            sent = "" if proof.sees else ", sent to it: it does not see the photos"
            self._say(f"{terminal.safe(proof.host)} ({machine.address}) takes {machine.threads} at a time on "
                      f"{terminal.safe(proof.provider)}{sent}")

    def _failed(self, machine: Machine, job: Job, why: str) -> None:
        """It goes elsewhere; a machine where photo after photo fails is to blame itself."""
        machine.failures += 1
        self._able.discard(machine.home)
        job.failed.add(machine.home)
        job.why = why
        self._again.appendleft(job)
        if machine.failures >= TRIES:
            self._refuse(machine, f"fails at {TRIES} photos in a row, the last {terminal.safe(why)}")

    def _refuse(self, machine: Machine, why: str, ended: bool = False) -> None:
        machine.refused = True
        self._say(f"the worker {machine.address} {why}: refused")
        self._lost(machine, ended)
        self._again.extend(self._aside)
        self._aside.clear()
        elsewhere = [job for other in self._machines.values() for job in other.hands.values()]
        for job in [*self._again, *elsewhere] if not ended else ():     # it was the machine
            job.failed.discard(machine.home)
            del job.ends[machine.home]

    def _lost(self, machine: Machine, ended: bool) -> None:
        """What a machine had in its hands goes elsewhere."""
        for key, job in machine.hands.items():
            self._futures.pop(key, None)
            if ended:
                job.ends[machine.home] += 1
                job.why = REASON
        self._again = deque(sorted([*machine.hands.values(), *self._again], key=lambda job: -job.ends.total()))
        machine.hands.clear()

    def _count(self, machine: Machine, provider: str, losses: int, first: bool) -> None:
        host = terminal.safe(machine.proof.host if machine.proof else machine.address)
        tally = self._tallies.setdefault((host, provider), Tally(machine.heard))
        machine.heard, machine.failures = time.monotonic(), 0
        self._ends.pop(machine.home, None)
        self._able.add(machine.home)
        self._again.extend(self._aside)
        self._aside.clear()
        if first:
            tally.photos += 1
            tally.seconds = machine.heard - tally.began
        tally.losses = max(tally.losses, losses)


def _given_up(job: Job, user: str) -> Outcome:
    return lanes.failed(lanes.unread(job.entry, user), job.why, suspect=True)


def _bare(entry: Entry) -> Entry:
    """What a look needs of it; who somebody is stays here."""
    return replace(entry, aliases=(), name="", faces=tuple(ImmichFace(face.box) for face in entry.faces))
