"""Clustering on many machines: the pass over all pairs a pair of blocks a task, and what comes after it by the bundle.

A block is some rows, of which a machine gets what its tasks need, once, and from whoever has it. So that they need not
hold all, the blocks on the left are a strip, as many as fit; those on the right pass by. Tasks in flight are bounded by
the cores there are. Links come back, of sets that were not known to be one, and are united here. A task that is lost
with its machine is done again; a machine of another version, or whose answer is none, gets no more of them.
"""

import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..common import connect, terminal
from ..common.errors import Failure
from ..common.workers import LOOK, NONE, Worker, Workers
from . import neighbours, tasks, tiles
from .known import NOBODY, Match, match
from .tiles import TILE

if TYPE_CHECKING:
    from distributed import Client, Future

BLOCKS = 48         # blocks that the rows are cut into, if that gives 8 to 32 TILEs: tasks of .2 to 4 seconds a core
SHARE = 4           # one part in so many of a worker's memory holds blocks of the strip; a task needs three at work
AHEAD = 2           # tasks a core, so that none waits for the next
FEW = 8 * TILE      # faces, one block, up to which no other machine is asked
FACES = 1 << 14     # whose distances to all centroids are a task
TRIES = 5           # of a task, before it is one that fails
LOST = 0.2          # of a try is one that ended with its machine, which any task may have been the cause of
MISSED = 3          # tasks in a row of whose blocks a machine does not take all, before it gets none
SENDING = 60.0      # seconds that a block may take; 67 MB at 10 Mbit/s. A worker may stand still meanwhile
FARTHEST = 2.01     # cos-dist, with float32's rounding; beyond it is nobody

Job = tuple[int, ...]       # numbers of the data that a task needs


class Machines(Workers):
    """The workers of a Dask engine, as clustering uses them."""

    first, version, patience = tasks.FIRST, tasks.VERSION, 60.0     # a time in which a machine starts again
    most_held: int | None = None    # bytes of blocks that a worker holds; None: its SHARE
    here = 10 ** 9                  # distances to centroids that are measured here, some seconds' work

    @cached_property
    def client(self) -> "Client":
        client = super().client
        client.amm.stop()       # it would take blocks away between two tasks that need them
        return client

    def components(self, rows: np.ndarray, least: float, kind: str = "auto") -> np.ndarray:
        """As `neighbours.components`: rows (n, d) float32, (n,) int64."""
        n, dimension = rows.shape
        if n <= FEW:
            return neighbours.components(rows, least, kind)
        forest, order = neighbours.begun(rows, least)
        size = TILE * min(max(n // (BLOCKS * TILE), 8), 32)
        blocks = range(-(-n // size))
        strip, largest = self._fitting(size * (5 * dimension + 8)), tiles.largest(rows)
        self.say(f"all pairs of {n:,} faces: {len(blocks) * (len(blocks) + 1) // 2:,} tasks for the workers of "
                 f"{self.address}")
        for start in range(0, len(blocks), strip):
            sets = forest.roots(order)
            ranges = [(int(part.min()), int(part.max())) for part in np.split(sets, range(size, n, size))]
            jobs = [(i, j) if i < j else (i,) for j in blocks[start:] for i in range(start, min(start + strip, j + 1))
                    if min(ranges[i][0], ranges[j][0]) < max(ranges[i][1], ranges[j][1])]

            def block(number: int, sets: np.ndarray = sets) -> tasks.Block:
                part = slice(number * size, (number + 1) * size)
                return tasks.Block(rows[order[part]], sets[part], largest)

            def right(job: Job, found: Any, sets: np.ndarray = sets) -> bool:
                theirs = np.concatenate([sets[number * size:(number + 1) * size] for number in job])
                return fits(found, np.int64, (-1, 2), 0, n) and bool(np.isin(found, theirs).all())

            for _, found in self.each(partial(tasks.links, least, kind), jobs, block, right):
                forest.unite(*found.T)
        return forest.roots(np.arange(n))

    def match(self, faces: np.ndarray, centroids: np.ndarray, forbidden: Mapping[int, list[int]] = NOBODY) -> Match:
        """As `known.match`."""
        if len(faces) * len(centroids) < self.here:
            return match(faces, centroids, forbidden)
        starts = range(0, len(faces), FACES)

        def data(number: int) -> tasks.Asked:   # 0 is for all, and fits: there are far fewer people than faces
            part = range(len(faces))[starts[number - 1]:][:FACES] if number else range(0)
            return tasks.Asked(centroids if number == 0 else faces[part.start:part.stop],
                         {face - part.start: forbidden[face] for face in part if face in forbidden})

        def right(job: Job, found: Any) -> bool:
            shape, last = (len(faces[starts[job[1] - 1]:][:FACES]),), len(centroids) - 1
            return isinstance(found, Match) and all(
                fits(who, np.int64, shape, -1, last) and fits(far, np.float32, shape, -FARTHEST, np.inf)
                and np.array_equal(who < 0, far > FARTHEST)
                for who, far in ((found.nearest, found.distance), (found.second, found.runner_up)))

        jobs = [(0, number + 1) for number in range(len(starts))]
        found = {number: part for (_, number), part in self.each(tasks.matched, jobs, data, right)}
        return Match(*map(np.concatenate, zip(*(vars(found[number]).values() for _, number in jobs), strict=True)))

    def each(self, work: Callable[..., Any], jobs: Iterable[Job], data: Callable[[int], object],
             right: Callable[[Job, Any], bool]) -> Iterator[tuple[Job, Any]]:
        """`work(*data)` of every job, in any order. Data are sent when first needed, and dropped after the last job
        that needs them. Raises Paused where the scheduler or all machines are gone, Failure where a task fails."""
        waiting, tries = deque(jobs), defaultdict[Job, float](float)
        uses = Counter(number for job in waiting for number in job)
        sent: dict[int, Future] = {}
        running: dict[str, tuple[Job, set[Worker]]] = {}       # by key; with those that may do it

        def again(job: Job, why: object, cost: float = 1) -> None:
            tries[job] += cost
            if tries[job] >= TRIES:
                raise Failure(f"a task failed {TRIES} times on the machines of {self.address}, at last with: "
                              f"{terminal.safe(why, 200)}; mend that, see docs/cluster.md, then the same command again")
            waiting.append(job)

        def lost(job: Job, why: object) -> None:
            for number in job:
                sent.pop(number, None)      # it may have been lost as well
            self.looked -= LOOK              # who is there may have changed
            again(job, why, LOST)

        while waiting or running:
            self.look()
            machines = set(self.ready)
            for key in [key for key, (_, able) in running.items()
                        if able.isdisjoint(machines) or any(it.refused for it in able)]:
                self.forget([key])
                lost(running.pop(key)[0], "the machines that could do it went away")
            for _ in range(min(len(waiting), AHEAD * sum(it.threads for it in machines) - len(running))):
                job, near = waiting.popleft(), random.choice([it for it in machines if not it.silence] or [*machines])
                if why := self._not_taken(near, {number: data(number) for number in set(job).difference(sent)}, sent):
                    lost(job, why)
                    break
                running[self.submit(tasks.tried, work, *(sent[number] for number in job), to=machines)] = job, machines
            for key, answer in self.answers():
                if key not in running:
                    continue
                job, _ = running.pop(key)
                if isinstance(answer, BaseException):
                    lost(job, f"{type(answer).__name__}: {answer}")
                elif isinstance(answer, tasks.Broken):
                    for machine in self._at(answer.address):
                        self.blame(machine, f"fails at task after task, at last with {answer.why}")
                    again(job, answer.why)
                elif not right(job, answer):
                    holders = connect.ask(self.client, self.address, self.client.scheduler.who_has, keys=[key])
                    for machine in self._at(*holders[key]):
                        self.refuse(machine, NONE)
                    again(job, "an answer that is none")
                else:
                    uses.subtract(job)
                    for number in job:
                        if not uses[number]:
                            sent.pop(number, None)
                    yield job, answer

    def _not_taken(self, near: Worker, blocks: Mapping[int, object], sent: dict[int, "Future"]) -> str:
        """Give a machine the blocks of a task, into `sent`; why, where it does not take all of them."""
        try:
            for number, block in blocks.items():
                sent[number] = self._scattered(block, near)
        except Exception as error:      # distributed raises that kind too; it went away, or all did
            why = f"{type(error).__name__}: {str(error) or f'not within {SENDING:.0f} s'}"
            near.missed += 1
            if near.missed == MISSED:
                self.refuse(near, f"does not take what its tasks need ({why})")
            return why
        if blocks:
            near.missed = 0
        return ""

    def _at(self, *addresses: str) -> list[Worker]:
        return [machine for machine in self.workers.values() if machine.address in addresses]

    def _scattered(self, data: object, near: Worker) -> "Future":
        """On that machine; others get it from there."""
        send = partial(self.client.scatter, [data], workers=[near.address], hash=False, asynchronous=True)
        found: list[Future] = self.client.sync(send, callback_timeout=SENDING)
        return found[0]

    def refusal(self, machine: Worker, proof: Any) -> str:
        del self.ends[machine.home]
        return ""

    def lost(self, machine: Worker, ended: bool) -> None:
        """One that stands still is started anew, as Dask does after five to ten minutes, or ends where its nanny stands
        still as well; what it had is done again."""
        if ended and machine.refused:
            connect.ask(self.client, self.address, partial(
                self.client.scheduler.restart_workers, workers=[machine.address], timeout=connect.SECONDS / 3,
                wait_for_workers=False, on_error="return", stimulus_id=f"silent-{time.time()}"))

    def _fitting(self, size: int) -> int:
        """How many blocks of so many bytes the least worker may hold of a strip."""
        limits = [about["memory_limit"] for about in self.there().values()]
        held = self.most_held or min((limit for limit in limits if limit), default=1 << 32) // SHARE
        return max(2, held // size)


def fits(answer: Any, kind: type, shape: tuple[int, ...], least: float, most: float) -> bool:
    """Whether it is an array of such numbers, none of them missing. -1 is any length."""
    return bool(isinstance(answer, np.ndarray) and answer.dtype == kind and answer.ndim == len(shape)
                and all(want in (-1, is_) for want, is_ in zip(shape, answer.shape, strict=True))
                and ((least <= answer) & (answer <= most)).all())
