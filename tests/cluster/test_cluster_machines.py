"""Clustering on an engine gives what it gives on one machine, whatever happens to the machines."""

import functools
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import psutil
import pytest
from busy import LIMIT, slowness, wait_until
from distributed.utils import json_load_robust
from test_cluster_linkage import faces
from test_cluster_script import made_up_cache, run

from facesets.cluster import neighbours
from facesets.cluster.known import match
from facesets.cluster.linkage import average_linkage
from facesets.cluster.machines import Machines
from facesets.cluster.tasks import FIRST, VERSION
from facesets.common import connect
from facesets.common.errors import Failure, Paused, SettingsError
from facesets.common.workers import Lost, Worker

ROWS = faces(9000, 1500)        # two blocks, three tasks
Start = Callable[..., subprocess.Popen[bytes]]


@functools.cache
def many() -> tuple[np.ndarray, np.ndarray]:
    """Faces in five blocks, fifteen tasks, and what of them is connected."""
    rows = faces(40_000, 9000)
    return rows, neighbours.components(rows, 0.5)


@pytest.fixture
def start(checkout: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts `dask scheduler` or `dask worker`, with our code from `home`."""
    begun = []

    def one(what: str, *args: str, home: Path = checkout) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--host", "127.0.0.1", "--no-dashboard",
                   "--dashboard-address", "127.0.0.1:0"]
        begun.append(subprocess.Popen([*command, *args], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(home)},
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        return begun[-1]

    yield one
    for process in begun:
        process.kill()
        process.wait()


def worker(start: Start, address: str, home: Path | None = None, flags: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    more = {"home": home} if home else {}
    return start("worker", address, "--nthreads", "1", "--no-nanny", "--memory-limit", "1GB", *flags, **more)


def begun(start: Start, *flags: str) -> tuple[subprocess.Popen[bytes], str]:
    """A scheduler at a port that is free, and the word that leads a worker to it once it listens."""
    where = f"--scheduler-file={uuid4()}.json"
    return start("scheduler", "--port", "0", where, *flags), where


def address_of(process: subprocess.Popen[bytes], where: str) -> str:
    told = json_load_robust(Path(psutil.Process(process.pid).cwd(), where.partition("=")[2]), timeout=LIMIT)
    return f"tcp://127.0.0.1:{told['address'].rpartition(':')[2]}"


def scheduler(start: Start, *flags: str) -> tuple[subprocess.Popen[bytes], str]:
    process, where = begun(start, *flags)
    return process, address_of(process, where)


@contextmanager
def engine(start: Start, workers: int, said: list[str] | None = None, **options: object) -> Iterator[Machines]:
    process, where = begun(start)
    for _ in range(workers):
        worker(start, where)
    address = address_of(process, where)
    with Machines(address, None, said.append if said is not None else lambda line: None) as machines:
        vars(machines).update({"patience": LIMIT, **options})
        if workers:
            machines.client.wait_for_workers(workers, timeout=LIMIT)
        yield machines


def ready(machines: Machines) -> list[Worker]:
    """Those that are, once what is there is asked."""
    machines.look()
    assert not list(machines.answers())
    return machines.ready


def test_a_proof_that_comes_with_answers_which_nobody_takes_is_judged(start: Start) -> None:
    with engine(start, 1) as machines:
        wait_until(lambda: ready(machines), "a worker is ready")
        key = machines.submit(eval, "7", to=machines.ready)
        wait_until(lambda: machines._done.qsize() == 1, "its answer")
        worker(start, machines.address)
        wait_until(lambda: machines.look() or machines._done.qsize() == 2, "the answer of another to what it is asked")
        answers = machines.answers()
        assert next(answers) == (key, 7)
        answers.close()
        wait_until(lambda: len(ready(machines)) == 2, "both are ready")


def test_whoever_is_refused_while_it_proves_itself_stays_so(start: Start) -> None:
    said: list[str] = []
    with engine(start, 1, said) as machines:
        wait_until(lambda: machines.look() or machines._done.qsize(), "the answer to what it is asked")
        (one,) = machines.workers.values()
        machines.refuse(one, "answered otherwise before")
        assert not ready(machines) and sum(line.endswith(": refused") for line in said) == 1


def impatient(machines: Machines, said: list[str]) -> None:
    """Let nobody be waited for once somebody is refused."""
    def say(line: str) -> None:
        said.append(line)
        machines.patience = 1 if line.endswith("refused") else machines.patience
    machines.say = say


@pytest.mark.parametrize("workers", [1, 2])
def test_the_labels_are_those_of_one_machine(start: Start, workers: int) -> None:
    rng = np.random.default_rng(0)
    whole = {"photos": rng.integers(0, 5000, 9000), "penalty": 0.25, "strict": rng.uniform(0, 0.3, 9000)}
    with engine(start, workers, here=0) as machines:
        for kind in ("float32", "int8"):
            assert np.array_equal(machines.components(ROWS, 0.45, kind), neighbours.components(ROWS, 0.45, kind))
        ours = average_linkage(ROWS, 0.5, machines=machines, **whole)       # type: ignore[arg-type]
        assert np.array_equal(ours, average_linkage(ROWS, 0.5, **whole))    # type: ignore[arg-type]
        ours = average_linkage(ROWS, 0.6, machines=machines, most_dense=200)
        assert np.array_equal(ours, average_linkage(ROWS, 0.6, most_dense=200))
        many, forbidden = np.concatenate([ROWS, ROWS]), {face: [face] for face in range(500)}
        theirs, ours = machines.match(many, ROWS[:500], forbidden), match(many, ROWS[:500], forbidden)
        assert np.allclose(theirs.distance, ours.distance, atol=1e-6)
        assert np.allclose(theirs.runner_up, ours.runner_up, atol=1e-6)
        assert (theirs.nearest == ours.nearest).mean() > 0.999 < (theirs.second == ours.second).mean()   # but for ties


def test_workers_that_hold_two_blocks_at_a_time_see_all_pairs(start: Start) -> None:
    rows = faces(34_000, 6000, 32)      # five blocks
    with engine(start, 1, most_held=1) as machines:
        assert np.array_equal(machines.components(rows, 0.6), neighbours.components(rows, 0.6))


def test_what_a_killed_worker_had_is_done_again(start: Start) -> None:
    (rows, expected), rng = many(), random.Random(0)
    with engine(start, 0) as machines:
        ended, kills = threading.Event(), 0
        ours = [worker(start, machines.address) for _ in range(2)]

        def kill() -> None:
            nonlocal kills
            while not ended.is_set():
                machines.client.wait_for_workers(2, timeout=LIMIT)
                if ended.wait(rng.uniform(0, 1)) or kills == 4:
                    return
                ours.append(worker(start, machines.address))    # first, so that one is there soon
                ours.pop(rng.randrange(2)).kill()
                kills += 1

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            for _ in range(3):
                assert np.array_equal(machines.components(rows, 0.5), expected)
        finally:
            ended.set()
            killer.join()
        assert kills


def test_an_answer_whose_worker_ends_before_it_is_fetched_is_lost_at_once(start: Start) -> None:
    stops = "type('Stops', (), {'__reduce__': lambda _: __import__('os').kill(__import__('os').getpid(), 19)})()"
    with engine(start, 0, arrival=2 * LIMIT) as machines:
        ours, answers = worker(start, machines.address, flags=("--memory-limit", "0")), list[object]()
        wait_until(lambda: ready(machines), "it is proven")
        machines.submit(eval, stops, to=machines.ready)     # and stands still when that is to be sent
        wait_until(lambda: psutil.Process(ours.pid).status() == psutil.STATUS_STOPPED, "it is asked for its answer")
        ours.kill()
        wait_until(lambda: answers.extend(answer for _, answer in machines.answers()) or answers, "an answer")
    assert isinstance(answers[0], Lost)


@pytest.mark.parametrize("answer", ["np.zeros((3, 5))", "np.full((1, 2), 7_000_000)"])
def test_a_worker_that_answers_rubbish_gets_no_more_work(start: Start, checkout: Path, tmp_path: Path,
                                                         answer: str) -> None:
    shutil.copytree(checkout / "facesets", tmp_path / "other" / "facesets")
    with (tmp_path / "other" / "facesets" / "cluster" / "tasks.py").open("a") as module:
        module.write(f"\n\ndef links(*_):\n    return {answer}\n\n\nVERSION = {VERSION!r}\n")
    said: list[str] = []
    with engine(start, 0) as machines:
        impatient(machines, said)
        worker(start, machines.address, tmp_path / "other")
        machines.client.wait_for_workers(1, timeout=LIMIT)
        with pytest.raises(Paused, match="no worker"):
            machines.components(ROWS, 0.45)
        machines.patience = LIMIT
        worker(start, machines.address)
        assert np.array_equal(machines.components(ROWS, 0.45), neighbours.components(ROWS, 0.45))
    assert sum("gives answers that are none" in line for line in said) == 1


def test_workers_without_our_code_or_of_another_version_get_no_work(start: Start, checkout: Path,
                                                                    tmp_path: Path) -> None:
    shutil.copytree(checkout / "facesets", tmp_path / "other" / "facesets")
    with (tmp_path / "other" / "facesets" / "cluster" / "known.py").open("a") as module:
        module.write("# a line more\n")
    said: list[str] = []
    with engine(start, 0, said=said) as machines:
        for home in (tmp_path, tmp_path / "other"):
            worker(start, machines.address, home)
        machines.client.wait_for_workers(2, timeout=LIMIT)
        wait_until(lambda: not ready(machines) and sum(line.endswith(": refused") for line in said) == 2, "both")
        worker(start, machines.address)
        assert np.array_equal(machines.components(ROWS, 0.45), neighbours.components(ROWS, 0.45))
    for why in ("No module named 'facesets'", "another version"):
        assert sum("refused" in line and why in line for line in said) == 1, said


def test_a_worker_of_another_version_that_comes_late_gets_no_task(start: Start, checkout: Path, tmp_path: Path) -> None:
    shutil.copytree(checkout / "facesets", tmp_path / "other" / "facesets")
    with (tmp_path / "other" / "facesets" / "cluster" / "tasks.py").open("a") as module:
        module.write(f"\n\ndef links(*_):\n    open({str(tmp_path / 'ran')!r}, 'w').close()\n"
                     "    return np.zeros((0, 2), np.int64)\n")
    (rows, expected), said = many(), list[str]()
    with engine(start, 1, said=said) as machines:
        while not any("another version" in line for line in said):
            worker(start, machines.address, tmp_path / "other")
            assert np.array_equal(machines.components(rows, 0.5), expected)
    assert not (tmp_path / "ran").exists()


def test_what_a_worker_that_stands_still_had_is_done_again_and_it_is_started_anew(start: Start) -> None:
    (rows, expected), said = many(), list[str]()
    with engine(start, 1, said=said, silent=10 + slowness()) as machines:
        nanny = psutil.Process(start("worker", machines.address, "--nthreads", "1", "--memory-limit", "1GB").pid)
        machines.client.wait_for_workers(2, timeout=LIMIT)
        wait_until(lambda: len(ready(machines)) == 2, "both are proven")
        (other,) = (child for child in nanny.children() if any("spawn_main" in word for word in child.cmdline()))
        threading.Timer(1, other.suspend).start()
        while not any("given no sign" in line for line in said):
            assert np.array_equal(machines.components(rows, 0.5), expected)
        assert np.array_equal(machines.components(rows, 0.5), expected)
        wait_until(lambda: len(ready(machines)) == 2, "it is there again")


def test_a_worker_that_ends_at_each_proof_is_not_waited_for_without_end(start: Start, checkout: Path,
                                                                        tmp_path: Path) -> None:
    shutil.copytree(checkout / "facesets", tmp_path / "other" / "facesets")
    (tmp_path / "other" / "facesets" / "cluster" / "tasks.py").write_text("import os\nos._exit(1)\n")
    said: list[str] = []
    with engine(start, 0) as machines:
        impatient(machines, said)
        start("worker", machines.address, "--nthreads", "1", home=tmp_path / "other")   # a nanny starts it ever again
        machines.client.wait_for_workers(1, timeout=LIMIT)
        with pytest.raises(Paused, match="1 there, 1 of them refused"):
            machines.components(ROWS, 0.45)
    assert sum("ended 3 times in a row" in line for line in said) == 1, said


def test_workers_without_a_nanny_that_end_at_each_proof_are_not_waited_for_without_end(start: Start, checkout: Path,
                                                                                       tmp_path: Path) -> None:
    shutil.copytree(checkout / "facesets", tmp_path / "other" / "facesets")
    (tmp_path / "other" / "facesets" / "cluster" / "tasks.py").write_text("import os\nos._exit(1)\n")
    ended = threading.Event()
    with engine(start, 0, patience=4) as machines:
        def again() -> None:
            while not ended.is_set():
                worker(start, machines.address, tmp_path / "other").wait()

        threading.Thread(target=again, daemon=True).start()     # its last one ends with the scheduler, or the fixture
        try:
            with pytest.raises(Paused, match="no worker"):
                machines.components(ROWS, 0.45)
        finally:
            ended.set()


def test_a_worker_on_which_all_fails_is_refused_and_the_others_do_its_work(start: Start, checkout: Path,
                                                                           tmp_path: Path) -> None:
    shutil.copytree(checkout / "facesets", tmp_path / "other" / "facesets")
    with (tmp_path / "other" / "facesets" / "cluster" / "tasks.py").open("a") as module:
        module.write(f"\n\ndef links(*_):\n    raise MemoryError('no more')\n\n\nVERSION = {VERSION!r}\n")
    (rows, expected), said = many(), list[str]()
    with engine(start, 1, said=said) as machines:
        worker(start, machines.address, tmp_path / "other")
        machines.client.wait_for_workers(2, timeout=LIMIT)
        wait_until(lambda: len(ready(machines)) == 2, "both are proven")
        assert np.array_equal(machines.components(rows, 0.5), expected)
    assert sum("fails at task after task, at last with MemoryError: no more" in line for line in said) == 1, said


def test_a_worker_that_cannot_take_what_its_tasks_need_is_refused(start: Start, checkout: Path, tmp_path: Path) -> None:
    shutil.copytree(checkout / "facesets", tmp_path / "other" / "facesets")
    with (tmp_path / "other" / "facesets" / "cluster" / "tasks.py").open("a") as module:
        module.write(f"\n\ndef Block(*_):\n    raise MemoryError('no more')\n\n\nVERSION = {VERSION!r}\n")
    said: list[str] = []
    with engine(start, 0) as machines:
        impatient(machines, said)
        worker(start, machines.address, tmp_path / "other")
        machines.client.wait_for_workers(1, timeout=LIMIT)
        with pytest.raises(Paused, match="1 there, 1 of them refused"):
            machines.components(ROWS, 0.45)
    assert sum("does not take what its tasks need" in line for line in said) == 1, said


def test_a_worker_that_takes_small_blocks_in_time_and_never_a_large_one_is_refused(start: Start) -> None:
    said: list[str] = []
    with engine(start, 1) as machines:
        impatient(machines, said)
        scattered, late = machines._scattered, itertools.count()

        def small(data: object, near: Worker) -> object:
            if data:
                next(late)
                raise TimeoutError
            return scattered(data, near)

        vars(machines)["_scattered"] = small
        with pytest.raises(Paused, match="1 there, 1 of them refused"):
            list(machines.each(max, [(0, 1), (0, 2)], int, lambda *_: True))
        assert next(late) == 3
    assert sum("does not take what its tasks need (TimeoutError: not within 60 s)" in line for line in said) == 1, said


def test_blocks_that_come_late_now_and_then_or_cannot_be_made_here_are_held_against_nobody(start: Start) -> None:
    said: list[str] = []

    def none(number: int) -> object:
        raise MemoryError("no more here")

    with engine(start, 1, said=said) as machines:
        scattered, turns = machines._scattered, itertools.count()

        def late(data: object, near: Worker) -> object:
            if next(turns) % 2:
                raise TimeoutError
            return scattered(data, near)

        vars(machines)["_scattered"] = late
        found = machines.each(abs, [(number,) for number in range(8)], lambda number: -number,
                              lambda job, answer: answer == job[0])
        assert sorted(answer for _, answer in found) == list(range(8)) and next(turns) > 11
        with pytest.raises(MemoryError):
            list(machines.each(abs, [(0,)], none, lambda *_: True))
    assert not said


def test_a_worker_on_another_machine_gets_nothing_in_the_clear(start: Start) -> None:
    here = [one.address for many in psutil.net_if_addrs().values() for one in many
            if one.family == socket.AF_INET and not one.address.startswith("127.")]
    if not here:
        pytest.skip("this machine has no other address")
    said: list[str] = []
    with engine(start, 0) as machines:
        impatient(machines, said)
        worker(start, machines.address, flags=("--host", here[0]))
        machines.client.wait_for_workers(1, timeout=LIMIT)
        with pytest.raises(Paused, match="no worker"):
            machines.components(ROWS, 0.45)
    assert sum("without TLS photos and faces would travel in the clear" in line for line in said) == 1
    _, address = scheduler(start, "--host", "0.0.0.0")
    with pytest.raises(SettingsError, match="whoever is on the network may run programs"), \
            connect.connected(address, None, FIRST, VERSION, LIMIT):
        pass


def refined(root: Path) -> dict:
    made = json.loads((root / "work" / "immich" / "eva" / "refine.json").read_text())
    return {name: value for name, value in made.items() if name not in ("run", "created")}


def test_a_scheduler_that_goes_away_pauses_it(start: Start) -> None:
    process, address = scheduler(start)
    asked = worker(start, address)
    said: list[str] = []
    ended: list[BaseException] = []

    def cluster(machines: Machines) -> None:
        try:
            machines.components(ROWS, 0.45)
        except Failure as error:
            ended.append(error)

    with Machines(address, None, said.append) as machines:
        machines.client.wait_for_workers(1, timeout=LIMIT)
        wait_until(lambda: ready(machines), "it is proven")
        asked.send_signal(signal.SIGSTOP)               # it gets work, and does none
        task = threading.Thread(target=cluster, args=[machines])
        task.start()
        wait_until(lambda: said, "the work begins")
        process.kill()
        task.join()
    assert isinstance(ended[0], Paused) and "does not answer" in str(ended[0])
    assert "same command again" in str(ended[0])


def test_the_script_proposes_the_same_on_an_engine(start: Start, checkout: Path, tmp_path: Path) -> None:
    _, address = scheduler(start)
    words = ("--user", "eva", "--dry-run")
    made_up_cache(tmp_path / "work" / "cache" / "immich_eva.npz", (90, 70, 40, 1))
    few = run(checkout, tmp_path, *words, "--scheduler", "tcp://127.0.0.1:1")
    assert few.returncode == 0, few.stderr          # nobody is asked
    made_up_cache(tmp_path / "work" / "cache" / "immich_eva.npz", (350,) * 25)
    assert run(checkout, tmp_path, *words).returncode == 0
    ours = refined(tmp_path)
    worker(start, address)
    with Machines(address, None) as machines:
        machines.client.wait_for_workers(1, timeout=LIMIT)
    done = run(checkout, tmp_path, *words, "--scheduler", address)
    assert done.returncode == 0 and f"tasks for the workers of {address}" in done.stderr, done.stderr
    assert refined(tmp_path) == ours


def test_without_a_scheduler_nothing_of_dask_is_imported(checkout: Path, tmp_path: Path) -> None:
    made_up_cache(tmp_path / "work" / "cache" / "immich_eva.npz")
    words = ["--user", "eva", "--dry-run", "--data-root", str(tmp_path / "work"), "--library", str(tmp_path / "lib")]
    code = f"import sys, cluster_immich; print(cluster_immich.main({words}), sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout.startswith("0 ") and not {"'dask'", "'distributed'"} & set(done.stdout.split(",")), done.stderr
