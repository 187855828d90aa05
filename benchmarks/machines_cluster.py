"""Clustering on an engine against one process on the same cores; and, from what that costs, on 1 to 64 machines.

Reads   ../shared/clustering/gen.py, as benchmarks/cluster.py does
Run     python benchmarks/machines_cluster.py                       everything, some five minutes on two idle cores
        python benchmarks/machines_cluster.py --faces ""            the simulation alone, from the costs below
        python benchmarks/machines_cluster.py --kills 30            of worker, scheduler, client, each: the same labels
Each engine is a real scheduler with real workers on this machine, in a network of their own, whose counters say what
went over the wire (three times over it, at most: here, scheduler, worker). `share` is the engine's throughput by that
of one process on the same cores, `CPU` the same by seconds of CPU of all processes, which other work disturbs less.
The simulation is of single tasks, blocks, links and cores: each machine has `--cores` and a link of `--gigabit`, takes
a task where a core is free next, and gets a block from whoever has it.
"""

import argparse
import heapq
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests"), str(CHECKOUT / "tests/embed")]
import cluster as alone  # noqa: E402
from engine import Engine  # noqa: E402

from facesets.cluster import linkage, machines, neighbours, tasks, tiles  # noqa: E402
from facesets.cluster.known import match  # noqa: E402
from facesets.common import files, terminal  # noqa: E402

DIMENSION = 512
MERGES = 5      # rounds in which identities are measured against each other
EMPTY = 500     # tasks of nothing, of which one costs the driver and the scheduler what any does
Costs = dict[str, float]
COSTS: Costs = {                # measured by the first part, in seconds and bytes; --faces prints them anew
    "tile": 0.524,              # of a core, for a pair of blocks of 16,384 faces, int8
    "task": 0.00344,            # of the driver and the scheduler, for a task with its links
    "links": 395_000,           # bytes of an answer
    "begin": 5.87e-6,           # of the driver's cores, a face: the pivots, the order
    "bundle": 2.53e-5,          # of a core, a face: linkage of components
    "small": 6.39e-6,           # of the driver, a face: small components
    "in bundles": 0.506,        # of the faces, the part that goes to machines for its linkage
    "people": 0.0269,           # identities, and
    "leftovers": 0.212,         # clusters of at most three, a face: each of these is measured against each of those
    "distance": 1.26e-8,        # of a core, for one such distance
}

# As `machines.py throughput 240` measures them with two workers: of a core of a worker; of the scheduler, which
# takes longer than the client.
PHOTO_MS, PHOTO_DRIVER_MS = 70.1, 1.7
BY_PATH = 7_900     # `machines.py wire`: bytes to a worker, or from it, where it sees the photo


@contextmanager
def engine(workers: int, threads: int) -> Iterator[tuple[machines.Machines, list[int]]]:
    """An engine of that many worker processes; the ids of all its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"

    def start(what: str, *args: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1",
                                 "--no-dashboard", "--dashboard-address", "127.0.0.1:0", *args],
                                env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)

    begun = [start("scheduler", "--port", address.rpartition(":")[2])]
    begun += [start("worker", address, "--nthreads", str(threads), "--no-nanny") for _ in range(workers)]
    try:
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 1):
                break
        with machines.Machines(address, None, say=lambda line: None) as there:
            there.client.wait_for_workers(workers, timeout=120)
            yield there, [process.pid for process in begun]
    finally:
        for process in begun:
            process.kill()
            process.wait()


def cpu(pids: list[int]) -> float:
    """Seconds of CPU that this process and those have used."""
    times = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13] for pid in pids]
    return time.process_time() + sum(int(part) for pair in times for part in pair) / os.sysconf("SC_CLK_TCK")


def peak(pids: list[int]) -> float:
    """MB of the largest of those processes at its largest."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return max(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def wire() -> int:
    """Bytes that went over this network's loopback."""
    line = next(line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.partition(":")[2].split()[0])


def timed(work: Callable[[], np.ndarray], pids: list[int]) -> tuple[np.ndarray, float, float, int]:
    """What it gives, seconds, seconds of CPU of all, bytes on the wire."""
    bytes_, used, start = wire(), cpu(pids), time.perf_counter()
    result = work()
    return result, time.perf_counter() - start, cpu(pids) - used, wire() - bytes_


def measure(n: int, rows: np.ndarray) -> Costs:
    """One size, on all engines; what a task costs, from the last of them."""
    least, threshold = 1 - alone.THRESHOLD, alone.THRESHOLD
    cores = neighbours.cores()
    linkage.average_linkage(rows[:3000], threshold)
    ours, seconds, used, _ = timed(lambda: linkage.average_linkage(rows, threshold), [])
    print(f"{n:>7,} faces  one process, {cores} cores: {seconds:.1f} s, {used:.1f} s CPU")
    costs: Costs = {}
    for workers in (1, cores):
        with engine(workers, cores // workers) as (engine_, pids):
            engine_.components(rows[:9000], least)      # imports and sessions are not what is measured
            before = peak(pids[1:])
            theirs, elapsed, cost, bytes_ = timed(
                lambda: linkage.average_linkage(rows, threshold, machines=engine_), pids)
            equal = "labels equal" if np.array_equal(ours, theirs) else "LABELS DIFFER"
            size = tiles.TILE * min(max(n // (machines.BLOCKS * tiles.TILE), 8), 32)
            count = (blocks := -(-n // size)) * (blocks + 1) // 2
            print(f"               {workers} worker{'s' * (workers > 1)} of {cores // workers}: {elapsed:.1f} s, "
                  f"{cost:.1f} s CPU, share {seconds / elapsed:.2f} (CPU {used / cost:.2f}), {count} tasks, "
                  f"{1000 * (cost - used) / count:.0f} ms CPU more a task, {bytes_ / 1e6:.0f} MB on the wire "
                  f"(the rows are {rows.nbytes / 1e6:.0f}), worker at most {peak(pids[1:]):.0f} MB "
                  f"(idle {before:.0f}), {equal}")
            _, _, spent, _ = timed(lambda: np.array([found for _, found in engine_.each(
                empty, [(0,)] * EMPTY, lambda _: np.zeros(4), lambda job, found: True)]), pids[:1])
            costs["task"] = spent / EMPTY
    return costs


def empty(_: np.ndarray) -> np.ndarray:
    return np.zeros((0, 2), np.int64)


def costs_of_one(rows: np.ndarray) -> Costs:
    """What the parts cost on one core, of these rows."""
    n, least = len(rows), 1 - alone.THRESHOLD
    left, right = (tasks.Block(rows[start:start + 16384], np.arange(start, start + 16384), tiles.largest(rows))
                   for start in (0, 16384))
    tasks.links(least, "int8", left, right)
    start = time.thread_time()
    found = tasks.links(least, "int8", left, right)
    costs = {"tile": time.thread_time() - start, "links": float(found.nbytes)}
    start = time.process_time()
    neighbours.begun(rows, least)
    costs["begin"] = (time.process_time() - start) / n
    groups = linkage.members_of(neighbours.components(rows, least - 1e-4), 2)
    for name, some in (("bundle", [group for group in groups if len(group) > linkage.SMALL]),
                       ("small", [group for group in groups if len(group) <= linkage.SMALL])):
        start = time.process_time()
        for members in some:
            linkage.Component(rows[members], None, None, 0.0, least, linkage.DENSE).merged()
        costs[name] = (time.process_time() - start) / n
    sizes = np.bincount(linkage.average_linkage(rows, alone.THRESHOLD))
    costs["people"], costs["leftovers"] = (sizes > 3).sum() / n, (sizes <= 3).sum() / n
    start = time.process_time()
    match(rows[:8000], rows[-8000:])
    costs["distance"] = (time.process_time() - start) / 8000 ** 2
    costs["in bundles"] = sum(len(group) for group in groups if len(group) > linkage.SMALL) / n
    return costs


def kills(wanted: int, rows: np.ndarray, folder: Path) -> None:
    """Kills at random moments of the clustering of `rows`; whoever gets to its end has the labels of one process."""
    chance, ours = random.Random(3), linkage.average_linkage(rows, alone.THRESHOLD)
    np.save(folder / "rows.npy", rows)
    for what in ("worker", "scheduler", "client"):
        ends = Engine(folder / what, folder)
        began, done, ended = time.monotonic(), 0, Counter[str]()
        while done < wanted or not ended["the same"]:
            refill(ends)
            run = subprocess.Popen([sys.executable, __file__, "--labels", folder, ends.address],
                                   stderr=subprocess.PIPE, text=True)
            while done < wanted and run.poll() is None:
                refill(ends)
                time.sleep(chance.uniform(0.5, 6))
                there = {"worker": ends.at_work(), "scheduler": [ends.scheduler], "client": [run]}[what]
                if run.poll() is None and there:
                    chance.choice(there).kill()
                    done += 1
                    if what != "worker":
                        break
            _, said = run.communicate()
            same = run.returncode == 0 and np.array_equal(np.load(folder / "labels.npy"), ours)
            how = {0: "the same" if same else "OTHERS", 2: "paused", -signal.SIGKILL: "killed"}
            assert run.returncode in how, said
            ended[how[run.returncode]] += 1
            if ends.scheduler.poll() is not None:
                ends.close()
                ends.processes.clear()
                ends.start_scheduler()
        ends.close()
        print(f"{what:<10} {done} kills; labels of the runs: "
              + ", ".join(f"{count} {how}" for how, count in ended.items())
              + f" ({time.monotonic() - began:.0f} s)", flush=True)


def refill(engine: Engine) -> None:
    """Two workers; a nanny whose worker is killed while it starts ends as well."""
    while sum(process.poll() is None for process in engine.processes) < 3:
        engine.worker()


@terminal.script
def labels(argv: Sequence[str]) -> int:
    folder, address = Path(argv[0]), argv[1]
    with machines.Machines(address, None) as there:
        found = linkage.average_linkage(np.load(folder / "rows.npy"), alone.THRESHOLD, machines=there)
    with files.replacing(folder / "labels.npy") as file:
        np.save(file, found)
    return 0


def simulated(n: int, count: int, cores: int, gigabit: float, memory: float, costs: Costs) -> dict[str, float]:
    """The pass of n faces on `count` machines, task by task, and the rest as sums; seconds of each part."""
    size = tiles.TILE * min(max(n // (machines.BLOCKS * tiles.TILE), 8), 32)
    tile, bytes_ = costs["tile"] * (size / 16384) ** 2, size * (4 * DIMENSION + 8)
    blocks, strip = -(-n // size), max(2, int(memory / machines.SHARE / bytes_))
    second = bytes_ / (gigabit * 1.25e8)                    # of a link, for a block
    into, out = [0.0] * (count + 1), [0.0] * (count + 1)    # when each link is free; the last is the driver's
    free = [[0.0] * cores for _ in range(count)]
    for machine in free:
        heapq.heapify(machine)
    nearest = [(0.0, machine) for machine in range(count)]  # heap of when a machine has its next core free
    driver = sent = 0.0
    for first in range(0, blocks, strip):
        held: dict[int, list[int]] = defaultdict(list)      # block -> machines that have it
        for j in range(first, blocks):
            for i in range(first, min(first + strip, j + 1)):
                _, machine = heapq.heappop(nearest)
                driver += costs["task"]
                ready = driver
                for block in {i, j}:
                    if machine not in held[block]:
                        source = min(held[block], key=out.__getitem__, default=count)
                        start = max(driver, into[machine], out[source])
                        into[machine] = out[source] = ready = start + second
                        sent += bytes_ if source == count else 0
                        held[block].append(machine)
                work = tile / 2 if i == j else tile
                heapq.heapreplace(free[machine], max(free[machine][0], ready) + work)
                heapq.heappush(nearest, (free[machine][0], machine))
            held.pop(j) if j >= first + strip else None
    passed = max(max(machine) for machine in free)
    bundles = n * costs["bundle"] / (count * cores), n * costs["in bundles"] * 4 * DIMENSION / (gigabit * 1.25e8)
    back = blocks * (blocks + 1) / 2 * costs["links"] * size / 16384
    distances = n * n * costs["people"] * (costs["leftovers"] + MERGES * costs["people"])
    return {"begin": n * costs["begin"] / cores, "pass": passed, "cores": blocks ** 2 / 2 * tile / (count * cores),
            "driver": driver, "link": max(sent, back) / (gigabit * 1.25e8), "bundles": max(bundles),
            "small": n * costs["small"], "people": distances * costs["distance"] / (count * cores),
            "moved": sent + back}


def simulate(cores: int, gigabit: float, costs: Costs) -> None:
    print(f"\nOn paper: machines of {cores} cores and 16 GB, links of {gigabit:g} Gbit/s; seconds. Of the pass also\n"
          "what the cores alone would take, and what the driver and its link are busy for; the largest is its limit")
    print("      faces machines  begin    pass (cores  driver  link) bundles  small people     sum  GB moved  limit")
    for n in (1_000_000, 10_000_000):
        for count in (1, 4, 16, 64):
            took = simulated(n, count, cores, gigabit, 16e9, costs)
            whole = sum(took[part] for part in ("begin", "pass", "bundles", "small", "people"))
            limit = max(("cores", "driver", "link"), key=took.__getitem__)
            print(f"{n:>11,} {count:>8} {took['begin']:6.0f} {took['pass']:7.0f} ({took['cores']:5.0f} "
                  f"{took['driver']:7.0f} {took['link']:5.0f}) {took['bundles']:7.0f} {took['small']:6.0f} "
                  f"{took['people']:6.0f} {whole:7.0f} {took['moved'] / 1e9:9.1f}  {limit}")


def photos(cores: int, ms: float, overhead: float, bytes_: float, gigabit: float) -> None:
    """A million photos: machines work side by side, the driver hands out, the link carries."""
    print(f"\nA million photos of {ms:g} ms of a core, {overhead:g} ms of the driver and {bytes_ / 1e6:g} MB each, on "
          f"machines of {cores} cores\nand links of {gigabit:g} Gbit/s: hours (busiest)")
    for way, moved in (("as bytes", bytes_ + BY_PATH), ("by path", BY_PATH)):
        hours = {count: max((1e3 * ms / (count * cores), "machines"), (1e3 * overhead, "driver"),
                            (1e6 * moved / (gigabit * 1.25e8), "link")) for count in (1, 4, 16, 64)}
        print(f"  {way:9}" + "".join(f"  {count} machine{'s' * (count > 1)} {seconds / 3600:.2f} ({part})"
                                     for count, (seconds, part) in hours.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", default="20000,50000")
    parser.add_argument("--profile", default="std")
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--gigabit", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--photo-ms", type=float, default=PHOTO_MS, help="of a core")
    parser.add_argument("--photo-overhead-ms", type=float, default=PHOTO_DRIVER_MS, help="scheduler or client")
    parser.add_argument("--photo-bytes", type=float, default=2e6, help="a phone's")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--labels", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.labels:
        sys.exit(labels(args.labels))
    sizes = [int(size) for size in args.faces.split(",") if size]
    if sizes and "IN_A_NETWORK_OF_ITS_OWN" not in os.environ:
        command = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, *sys.argv]
        os.environ.pop("OPENBLAS_CORETYPE", None)
        os.environ["IN_A_NETWORK_OF_ITS_OWN"] = "1"
        os.execvp(command[0], command)
    costs = dict(COSTS)
    if sizes:
        print(f"load {os.getloadavg()[0]:.1f}, {neighbours.cores()} cores")
    with tempfile.TemporaryDirectory() as folder:
        if args.kills:
            alone.make(30_000, args.profile, Path(folder) / "faces.npy")
            kills(args.kills, np.load(Path(folder) / "faces.npy"), Path(folder))
            return
        for n in sizes:
            data = Path(folder) / f"{n}.npy"
            alone.make(n, args.profile, data)
            rows = np.load(data)
            costs |= measure(n, rows)
        if sizes:
            costs |= costs_of_one(rows)
            print("costs       " + ", ".join(f"{name} {value:.3g}" for name, value in costs.items()))
    for gigabit in args.gigabit:
        simulate(args.cores, gigabit, costs)
    for gigabit in args.gigabit:
        photos(args.cores, args.photo_ms, args.photo_overhead_ms, args.photo_bytes, gigabit)


if __name__ == "__main__":
    main()
