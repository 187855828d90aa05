"""What an engine costs: one process with threads against workers of a scheduler, all of them on this machine.

Run     python benchmarks/machines.py throughput [PHOTOS [WIDTH]]   time and CPU time of a photo, with 1 and 2 workers
        python benchmarks/machines.py wire [PHOTOS]         bytes through the scheduler a photo, by path and as bytes
        python benchmarks/machines.py memory                a slow consumer: who grows between photo 60 and 240
        python benchmarks/machines.py kills [N]             N kills each of worker, scheduler and client: the same cache
Model opencv_zoo on the CPU; the photos are cut out of the one that InsightFace brings. Scheduler and client run on the
same cores as the workers, which they would not elsewhere, so what is printed is the worst case.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests"), str(CHECKOUT / "tests/embed")]

import cv2  # noqa: E402
import people  # noqa: E402
import psutil  # noqa: E402
from engine import Engine  # noqa: E402

import config  # noqa: E402
from facesets.common import threads  # noqa: E402
from facesets.embed import machines, packs, pipeline  # noqa: E402
from facesets.formats import cache  # noqa: E402
from facesets.formats import queue as queues  # noqa: E402

CORES = threads.cores()
ROUNDS = 2
PHONE = 4000    # pixels that its photos are wide
COUNTER = """
import os, socket
for name in ("send", "recv_into") if socket.socket.send.__name__ != "counted" else ():     # Dask loads this twice
    def counted(self, *args, plain=getattr(socket.socket, name), name=name):
        count = plain(self, *args)
        with open(os.environ["COUNTED"] + name, "ab") as file:
            file.write(b"%d\\n" % count)
        return count
    setattr(socket.socket, name, counted)
"""     # loaded by the scheduler, through which every byte goes


class Bench:
    def __init__(self, folder: Path, photos: int, width: int = 0) -> None:
        self.folder, self.models = folder, folder / "models"
        folder.mkdir(exist_ok=True)
        packs.open_pack("opencv_zoo", self.models)
        self.photos = people.photos(folder / "photos", photos)
        for path in self.photos if width else ():
            small = cv2.imread(str(path))
            cv2.imwrite(str(path), cv2.resize(small, (width, width * small.shape[0] // small.shape[1])))
        self.queue = people.queue(self.photos)
        queues.write(folder / "queue.json", self.queue)

    def engine(self, name: str, workers: int, threads: int, preload: str = "", **environment: str) -> Engine:
        os.environ["COUNTED"] = str(self.folder / "counted")
        engine = Engine(self.folder / name, self.models, flags=("--preload", preload) if preload else ())
        for _ in range(workers):
            engine.worker(threads=threads, **environment)
        return engine

    def start(self, out: str, *flags: str) -> subprocess.Popen:
        command = [sys.executable, CHECKOUT / "embed_worker.py", "--queue", self.folder / "queue.json", "--out",
                   self.folder / out / "c.npz", "--model", "opencv_zoo", "--models-dir", self.models, "--provider",
                   "cpu", "--json", *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def run(self, out: str, *flags: str) -> dict:
        stdout, _ = self.start(out, *flags).communicate()
        return json.loads(stdout)

    def saved(self, out: str) -> int:
        with suppress(OSError):         # a part or the cache is just being moved
            return len(set().union(*(cache.processed(path) for path in (self.folder / out).glob("**/*.npz"))))
        return 0


def cpu_seconds(*roots: int) -> float:
    """Of these processes and all that they started."""
    total = 0.0
    for root in roots:
        for process in (psutil.Process(root), *psutil.Process(root).children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
    return total


def throughput(photos: int = 240, width: int = PHONE) -> None:
    """What a photo costs: the longer of two runs less the shorter, so that no start and no loading is in it."""
    with tempfile.TemporaryDirectory() as folder:
        short, long = (Bench(Path(folder) / str(count), count, width) for count in (photos // 4, photos))
        ways = {"one process": None, "1 worker": (1, CORES), f"{CORES} workers": (CORES, 1)}
        found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for turn in range(ROUNDS):
            for way, shape in ways.items():
                engine = long.engine(f"engine {way} {turn}", *shape) if shape else None
                try:
                    less, more = (costs(bench, f"{way} {turn}", engine) for bench in (short, long))
                    found[way].append({part: 1000 * (more[part] - less[part]) / (photos - photos // 4)
                                       for part in more})
                finally:
                    if engine:
                        engine.close()
        print(f"load {os.getloadavg()[0]:.1f}, {CORES} cores, best of {ROUNDS}; milliseconds a photo"
              + (f" of {width} pixels across" if width else ""))
        alone = {part: min(turn[part] for turn in found["one process"]) for part in ("wall", "cpu")}
        for way, turns in found.items():
            best = min(turns, key=lambda turn: turn["cpu"])
            wall = min(turn["wall"] for turn in turns)
            more = "".join(f", {part} {best[part]:.1f}" for part in ("client", "scheduler", "workers") if ways[way])
            if way == "1 worker":
                told = best["workers"], max(best["scheduler"], best["client"])
            print(f"{way:<12} {wall:6.1f} by the clock ({alone['wall'] / wall:.0%} of one process), {best['cpu']:6.1f} "
                  f"of CPU ({alone['cpu'] / best['cpu']:.0%}, {best['cpu'] - alone['cpu']:+.1f}){more}")
        print("what that means for many machines: python benchmarks/machines_cluster.py --faces '' --photo-ms "
              f"{told[0]:.1f} --photo-overhead-ms {told[1]:.1f}")


def costs(bench: Bench, out: str, engine: Engine | None) -> dict[str, float]:
    """Seconds of a run, and of CPU of all that takes part in it."""
    flags = ["--scheduler", engine.address] if engine else []
    if engine:      # the models are loaded, as they are for all photos but the first
        bench.run(f"warm {out}", *flags)
    parts = {"scheduler": [engine.scheduler.pid], "workers": [one.pid for one in engine.at_work()]} if engine else {}
    before, own = {part: cpu_seconds(*pids) for part, pids in parts.items()}, os.times()
    elapsed = bench.run(out, *flags)["elapsed"]
    now = os.times()
    used = {part: cpu_seconds(*pids) - before[part] for part, pids in parts.items()}
    used["client"] = now.children_user + now.children_system - own.children_user - own.children_system
    return {"wall": elapsed, "cpu": sum(used.values()), **used}


def wire(photos: int = 120) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), photos)
        (bench.folder / "counter.py").write_text(COUNTER)
        size = sum(path.stat().st_size for path in bench.photos) / photos
        for way, hidden in (("by path", ""), ("as bytes", str(bench.folder / "photos"))):
            blind = {"BLIND": hidden} if hidden else {}
            engine = bench.engine(way, 1, CORES, str(bench.folder / "counter.py"), **blind)
            try:
                bench.run(f"warm {way}", "--scheduler", engine.address)
                before = counted(bench.folder)
                bench.run(way, "--scheduler", engine.address)
                into, out = ((now - then) / photos for now, then in zip(counted(bench.folder), before, strict=True))
                print(f"{way:<9} of a photo of {size / 1000:.1f} kB the scheduler gets {into / 1000:.1f} kB "
                      f"({into / size:.2f} times its size) and sends {out / 1000:.1f} kB ({out / size:.2f} times)")
            finally:
                engine.close()


def counted(folder: Path) -> list[int]:
    """Bytes that the scheduler got and sent."""
    return [sum(map(int, (folder / f"counted{name}").read_text().split())) for name in ("recv_into", "send")]


def memory() -> None:
    """Photos are sent as bytes, and looked at faster than they are taken."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), 240)
        engine = bench.engine("engine", 1, CORES, BLIND=str(bench.folder / "photos"))
        ours = pipeline.load("opencv_zoo", bench.models, "cpu")
        settings = partial(config.load, config.Embedding)
        try:
            with machines.Machines(engine.address, None, "opencv_zoo", settings, 60) as there, closing(
                    there.outcomes(bench.queue.entries, ours, others=bench.queue.entries)) as arriving:
                for number, _ in enumerate(arriving, 1):
                    watched = {"client": psutil.Process(), "scheduler": psutil.Process(engine.scheduler.pid),
                               "worker": engine.at_work()[0]}
                    time.sleep(0.1)
                    if number in (60, 240):
                        print(f"after {number:3} photos: " + ", ".join(
                            f"{name} {process.memory_info().rss >> 20} MB" for name, process in watched.items()))
        finally:
            engine.close()


def kills(wanted: int = 30) -> None:
    chance = random.Random(2)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), 120)
        bench.run("clean")
        clean = (bench.folder / "clean/c.npz").read_bytes()
        for what in ("worker", "scheduler", "client"):
            engine, done, runs = bench.engine(what, 2, 1), 0, 0
            began = time.monotonic()
            while done < wanted:
                out, runs = f"{what} {runs}", runs + 1
                while not (bench.folder / out / "c.npz").exists():
                    done += struck(bench, engine, out, what, chance, more=done < wanted)
                same = (bench.folder / out / "c.npz").read_bytes() == clean
                print(f"{what:<10} {done:3} kills, run {runs}: the cache is {'the same' if same else 'ANOTHER'} "
                      f"({time.monotonic() - began:.0f} s)", flush=True)
            engine.close()


def struck(bench: Bench, engine: Engine, out: str, what: str, chance: random.Random, more: bool) -> int:
    """One command, in which somebody is killed at random moments, workers again and again; how often."""
    done, run = 0, bench.start(out, "--save-photos", "4", "--scheduler", engine.address)
    before = bench.saved(out)
    while more and run.poll() is None:
        if bench.saved(out) <= before:      # nothing came out since the last kill
            time.sleep(0.05)
            continue
        time.sleep(chance.uniform(0, 1.5))
        before = bench.saved(out)
        if run.poll() is not None:
            break
        if what == "worker":
            if there := engine.at_work():
                with suppress(psutil.Error):
                    chance.choice(there).kill()
                    done += 1
            continue
        (engine.scheduler if what == "scheduler" else run).send_signal(signal.SIGKILL)
        done += 1
        break
    run.communicate()
    if what == "scheduler" and done:
        engine.close()
        engine.processes.clear()
        engine.start_scheduler()
        for _ in range(2):
            engine.worker()
    return done


if __name__ == "__main__":
    verbs = {"throughput": throughput, "wire": wire, "memory": memory, "kills": kills}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*map(int, sys.argv[2:]))
