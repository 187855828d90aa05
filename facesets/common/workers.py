"""The workers of an engine: who is there, proven before anything goes to it, heard of, and refused in words."""

import asyncio
import hashlib
import queue
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import connect, terminal
from .errors import Paused

if TYPE_CHECKING:
    from distributed import Client, Future

LOOK = 1.0          # seconds between two questions who is there
TELL = 5.0          # without a worker, after which it is said that one is waited for
AWAY = 10.0         # without a question, after which patience begins anew: whoever uses them did something else
SILENT = 60.0       # without a sign of a worker, which gives one every second or two; it stands still
ARRIVAL = 30.0      # that a result which is ready may take to come
TRIES = 3           # failures of a worker, or ends of its process, in a row
NONE = "gives answers that are none"
UNREACHED = "gives answers that do not arrive: the scheduler must reach it at that address, see docs/cluster.md"


class Lost(Exception):
    """An answer that does not come: its process ended or is not reached, or the scheduler went."""


@dataclass(eq=False)
class Worker:
    """One process of a worker."""

    address: str
    threads: int
    home: str               # what starts it anew: its nanny
    came: float             # when that was first seen since its last proof
    asked: str = ""         # key of the question that it has not answered
    known: bool = False     # it is of our version
    proof: Any = None       # while it is ready
    since: float = 0.0      # when it was proven
    done: int = 0           # what it has done since
    size: int = 1           # what it is given in one task
    missed: int = 0         # tasks in a row of whose blocks it did not take all
    refused: bool = False
    failures: int = 0       # in a row
    sign: float = 0.0       # when it last gave one, by the scheduler's clock
    heard: float = 0.0      # when we saw that, by ours
    silence: int = 0        # looks since; it may have been us who stood still
    hands: dict[str, Any] = field(default_factory=dict)     # what was given to it and nobody else, by key


class Workers(ExitStack):
    """The workers of the scheduler at `address`, a context, which connects when they are first needed.

    Whoever is there is asked `first`, to which `version` is the answer of one that runs what we run; then the question
    of whoever uses them, a subclass. One that comes, or comes again, is waited for until `patience` seconds later.
    """

    first: str
    version: str
    patience: float
    silent, arrival = SILENT, ARRIVAL

    def __init__(self, address: str, tls: Path | None, say: Callable[[str], None] = terminal.say) -> None:
        super().__init__()
        connect.check(address, tls)
        self.address, self.say, self._tls = address, say, tls
        self.workers: dict[str, Worker] = {}        # by the id of the process
        self.ends: Counter[str] = Counter()         # of processes, by home; the subclass knows from when it counts
        self.looked = self._worked = self._hoped = -float("inf")
        self.went: dict[str, float] = {}            # homes whose process went and no other came yet, and when
        self._came: dict[str, float] = {}           # as Worker.came, by home
        self._futures: dict[str, Future] = {}
        self._done: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()    # what came, or Lost, by key
        self._told = False      # that one is waited for

    def question(self, worker: Worker) -> tuple[Any, ...]:
        """What is called there for its proof, with its arguments; nothing where the version is proof enough."""
        return ()

    def refusal(self, worker: Worker, proof: Any) -> str:
        """Why this proof is none; "" where the worker is ready."""
        raise NotImplementedError

    def lost(self, worker: Worker, ended: bool) -> None:
        """Called where one is refused, or has `ended`, gone or standing still."""
        raise NotImplementedError

    @cached_property
    def client(self) -> "Client":
        return self.enter_context(connect.connected(self.address, self._tls, self.first, self.version))

    @property
    def ready(self) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.proof is not None]

    def look(self) -> None:
        """See who came, and who went, if that is not known since LOOK. Raises Paused where nobody is hoped for."""
        if (unseen := time.monotonic() - self.looked) < LOOK:
            return
        there = self.there()
        self.looked = time.monotonic()
        if unseen > AWAY:
            self._hoped = self._worked = self.looked
        for name in self.workers.keys() - there.keys():
            worker = self.workers.pop(name)
            self.forget([worker.asked])
            if not worker.refused:
                if worker.home != name:
                    self.went[worker.home] = self.looked
                self.say(f"the worker {worker.address} is gone")
                self.ends[worker.home] += worker.proof is None
                self.lost(worker, ended=True)
                worker.proof = None
        for name, about in there.items():
            self._watch(name, about)
        if self.ready:
            self._hoped, self._worked, self._told = self.looked, self.looked, False
            return
        newest = max([self._hoped, *(worker.came for worker in self.workers.values() if not worker.refused)])
        self._hoped = min(newest, self._worked + 2 * self.patience)     # without nannies there may be new ones for ever
        refused = sum(worker.refused for worker in self.workers.values())
        count = f"{len(self.workers)} there" + f", {refused} of them refused, see above" * bool(refused)
        if self.looked - self._hoped > self.patience:
            raise Paused(f"no worker of {self.address} is ready ({count}); everything is saved; start one, see "
                         "docs/cluster.md, then run the same command again")
        if self.looked - self._hoped > TELL and not self._told:
            self._told = True
            self.say(f"no worker of {self.address} is ready yet ({count}): waiting up to {self.patience:.0f} s for "
                     "one; docs/cluster.md starts them")

    def there(self) -> dict[str, dict[str, Any]]:
        """What the scheduler says of each worker, by an id of its process."""
        if self.client.status != "running":     # what it was asked is lost, even where another one answers meanwhile
            raise connect.gone(self.address)
        found = connect.ask(self.client, self.address, self.client.scheduler.identity, n_workers=-1)["workers"]
        return {f"{address} {about['local_directory']}": {**about, "address": terminal.safe(address)}
                for address, about in found.items() if about["status"] in ("running", "paused")}

    def _watch(self, name: str, about: dict[str, Any]) -> None:
        """Ask for the proof that is missing, and let go of one that stands still."""
        home, worker = about["nanny"] or name, self.workers.get(name)
        if worker is None:
            came = self._came.setdefault(home, self.looked)
            self.went.pop(home, None)
            worker = self.workers[name] = Worker(about["address"], about["nthreads"], home, came, heard=self.looked)
            if why := connect.in_the_clear(self.address, worker.address):
                self.refuse(worker, why)
            elif self.ends[home] >= TRIES:
                self.refuse(worker, f"ended {TRIES} times in a row, whatever it was to do; its output says why")
        worker.silence += 1
        running = about["status"] == "running"      # else it is paused: it has used its memory, and begins nothing
        if about["last_seen"] != worker.sign and running:
            worker.sign, worker.heard, worker.silence = about["last_seen"], self.looked, 0
        if worker.proof is not None and worker.silence > 2 and self.looked - worker.heard > self.silent:
            why = "has given no sign" if running else "has had too little memory to go on"
            self.refuse(worker, f"{why} for {self.silent:.0f} s", ended=True)
        elif worker.proof is None and not worker.refused and not worker.asked:
            if worker.failures == 1:
                self.say(f"the worker {worker.address} {UNREACHED}; it is asked again")
            asks = self.question(worker) if worker.known else (eval, self.first)
            worker.asked = self.submit(*asks, to=[worker])

    def _judge(self, worker: Worker, answer: Any) -> None:
        worker.asked, why = "", ""
        if isinstance(answer, Lost):
            worker.failures += 1        # it went, as will be seen, or is asked again
            return
        if isinstance(answer, ImportError) and not worker.known:
            why = f"was not started in a checkout of face-sets ({terminal.safe(answer, 200)}); start it there"
        elif isinstance(answer, BaseException):
            why = f"fails ({type(answer).__name__}: {answer})"
        elif not worker.known and answer != self.version:
            why = "has another version of face-sets; give it this one and start it again"
        elif not worker.known and (asks := self.question(worker)):
            worker.known, worker.asked = True, self.submit(*asks, to=[worker])
        elif not (why := self.refusal(worker, answer)):
            worker.proof, worker.since, worker.failures = answer, time.monotonic(), 0
            self._came.pop(worker.home, None)
        if why:
            self.refuse(worker, why)

    def blame(self, worker: Worker, why: str) -> None:
        """It failed at something; the third time that is its own fault."""
        worker.failures += 1
        if worker.failures >= TRIES:
            self.refuse(worker, why)

    def refuse(self, worker: Worker, why: str, ended: bool = False) -> None:
        if not worker.refused:
            worker.refused = True
            self.forget([worker.asked])
            self.say(f"the worker {worker.address} {terminal.safe(why)}: refused")
            self.lost(worker, ended)
            worker.proof = None

    def submit(self, work: Callable[..., Any], *data: Any, to: Collection[Worker]) -> str:
        """Have one of them do it. Returns the key of the answer. Raises Paused where the scheduler went away."""
        try:
            future = self.client.submit(work, *data, workers=[worker.address for worker in to], pure=False)
        except Exception as error:      # which Dask tells in many ways
            raise connect.gone(self.address, error) from None
        loop: Any = self.client.loop
        self._futures[str(future.key)] = future
        future.add_done_callback(lambda done: loop.add_callback(self._fetch, done))
        return str(future.key)

    def forget(self, keys: Iterable[str]) -> None:
        """Nobody waits for those answers any more; whoever works at them does so in vain."""
        for key in keys:
            self._futures.pop(key, None)

    async def _fetch(self, future: "Future") -> None:
        """Get what it gives, or the error, at the latest after `arrival`; not if the process that has it ends."""
        task = asyncio.ensure_future(self.client.gather(future, asynchronous=True))
        end = time.monotonic() + self.arrival
        while not task.done() and future.status in ("finished", "error") and time.monotonic() < end:
            await asyncio.wait([task], timeout=0.1)
        task.cancel()       # nothing where it is done
        found: Any = (await asyncio.gather(task, return_exceptions=True))[0]
        lost = isinstance(found, BaseException) and future.status != "error"
        self._done.put((str(future.key), Lost(f"{type(found).__name__}: {found}") if lost else found))

    def answers(self) -> Iterator[tuple[str, Any]]:
        """The answers, or errors, that came meanwhile, or within LOOK, with their keys; those of proofs are judged."""
        wait = LOOK
        with suppress(queue.Empty):
            while True:
                key, answer = self._done.get(timeout=wait)
                wait, future = 0.0, self._futures.pop(key, None)    # which is held until its answer is dealt with
                worker = next((worker for worker in self.workers.values() if worker.asked == key), None)
                if future and worker:
                    self._judge(worker, answer)
                elif future:
                    yield key, answer


def version(package: Path, names: Iterable[str]) -> str:
    """SHA-256 of some modules, whatever line ends the checkout has."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + (package / f"{name}.py").read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()
