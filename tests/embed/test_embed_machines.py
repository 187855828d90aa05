"""embed_worker.py --scheduler as the operator runs it: the cache of one machine, whatever becomes of the others."""

import functools
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import people
import psutil
import pytest
from busy import LIMIT, slowness, steady, wait_until
from engine import CHECKOUT, Engine, in_the_clear

import config
from facesets.common import connect
from facesets.common.errors import Paused, SettingsError
from facesets.embed import answers, lanes, machines, packs, pipeline, remote
from facesets.embed.parts import Parts
from facesets.formats import cache
from facesets.formats import queue as queues
from facesets.windows import copies

KILLS = int(os.environ.get("FACESETS_KILLS", "2"))
SAVE = 4        # photos a part
SETTINGS = partial(config.load, config.Embedding)       # of each worker
(CERTIFICATES,) = re.findall(r"^ +(openssl req .+)$", (CHECKOUT / "docs/cluster.md").read_text(), re.M)
SAMPLE = people.GROUP.read_bytes()


class Library:
    """A queue of photos, embedded here first."""

    def __init__(self, folder: Path, checkout: Path, models_dir: Path) -> None:
        self.folder, self.checkout, self.models_dir = folder, checkout, models_dir
        self.paths = people.photos(folder / "photos", 40)
        for path in self.paths[1:12]:           # lie on their side and do not say so
            cv2.imwrite(str(path), cv2.rotate(cv2.imread(str(path)), cv2.ROTATE_90_CLOCKWISE))
        queue = people.queue(self.paths)
        self.paths[20].write_bytes(self.paths[20].read_bytes()[:-1])
        self.paths[21].unlink()
        queues.write(folder / "queue.json", queue)
        self.queue, self.scheduler = queue, ""
        status, summary, said = finish(self.run("clean"))
        assert (status, summary["errors"]) == (0, 2) and summary["turned"] > 2, said
        self.clean = (folder / "clean/cache.npz").read_bytes()

    def run(self, out: str, *flags: str) -> subprocess.Popen:
        """Start embed_worker.py; it writes `out`/cache.npz."""
        command = [sys.executable, str(self.checkout / "embed_worker.py"), "--queue", str(self.folder / "queue.json"),
                   "--out", str(self.folder / out / "cache.npz"), "--model", "opencv_zoo", "--models-dir",
                   str(self.models_dir), "--provider", "cpu", "--save-photos", str(SAVE), "--json", *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def saved(self, out: str) -> int:
        return len(steady(lambda: Parts(self.folder / out / "cache.npz").processed()))

    def is_clean(self, out: str) -> bool:
        return (self.folder / out / "cache.npz").read_bytes() == self.clean


def finish(process: subprocess.Popen) -> tuple[int, dict, str]:
    stdout, stderr = process.communicate(timeout=1.5 * LIMIT)      # in one of them workers begin anew six times
    assert "Traceback" not in stderr, stderr
    return process.returncode, json.loads(stdout) if stdout else {}, stderr


def until(happened: Callable[[], bool], photos: Sequence[queues.Entry], said: Sequence[str]) -> Iterator[queues.Entry]:
    """These, again and again."""
    end = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < end, said
        yield from photos


def beside(library: Library, engine: Engine, photos: Sequence[queues.Entry], silent: float,
           struck: Callable[[], object] = lambda: None) -> tuple[set[str], list[str]]:
    """Which of `photos` come back once two workers are ready and one is `struck`, and what is said."""
    said: list[str] = []

    def entries():
        yield from until(lambda: sum(" takes " in line for line in said) == 2, library.queue.entries[:4], said)
        struck()
        yield from photos

    with machines.Machines(engine.address, None, "opencv_zoo", SETTINGS, 60, said.append) as there:
        there.silent = silent
        return {outcome.photo.sha256 for outcome in
                there.outcomes(entries(), ours(library), others=library.queue.entries)}, said


@pytest.fixture(scope="module")
def library(tmp_path_factory, checkout, models_dir) -> Library:
    return Library(tmp_path_factory.mktemp("library"), checkout, models_dir)


@pytest.fixture
def engine(tmp_path, models_dir):
    """A scheduler without workers."""
    engine = Engine(tmp_path / "engine", models_dir)
    yield engine
    engine.close()


def test_the_cache_is_that_of_one_machine_though_no_worker_sees_the_photos(library, engine):
    engine.worker(threads=2, BLIND=str(library.folder / "photos"))
    status, summary, said = finish(library.run("sent", "--scheduler", engine.address))
    assert status == 0 and library.is_clean("sent"), said
    assert "takes 2 at a time on cpu, sent to it" in said
    assert summary["provider"] == "cpu" and summary["turned"] > 2
    everyone = [psutil.Process(process.pid) for process in engine.processes] + engine.at_work()
    assert {at.laddr.ip for one in everyone for at in one.net_connections() if at.status == psutil.CONN_LISTEN} \
        == {"127.0.0.1"}
    (machine,) = summary["machines"]
    assert machine["photos"] >= 38 and f"{machine['photos']} photos, " in said


def test_workers_that_are_killed_cost_only_what_they_had_in_their_hands(library, engine):
    for _ in range(2):
        engine.worker()
    chance, out = random.Random(1), "killed"
    run = library.run(out, "--scheduler", engine.address)
    for kill in range(KILLS):
        wait_until(lambda kill=kill: run.poll() is not None or library.saved(out) >= 4 * SAVE * kill + SAVE, "parts")
        while not (there := engine.at_work()) and run.poll() is None:
            time.sleep(0.05)
        if run.poll() is None:
            chance.choice(there).kill()
    status, _, said = finish(run)
    assert status == 0, said
    assert library.is_clean(out)


def test_a_client_that_is_stopped_or_killed_goes_on_where_it_was(library, engine):
    engine.worker(threads=2, alone=True)
    for number in [signal.SIGINT] + [signal.SIGKILL] * KILLS:
        before = library.saved("client")
        run = library.run("client", "--scheduler", engine.address)
        wait_until(lambda before=before, run=run: run.poll() is not None or library.saved("client") > before, "a part")
        run.send_signal(number)
        said = run.communicate()[1]
        assert number == signal.SIGKILL or run.returncode == 0 or (run.returncode == 2 and "same command" in said), said
    status, summary, said = finish(library.run("client", "--scheduler", engine.address))
    assert status == 0 and summary["done_before"] >= SAVE, said
    assert library.is_clean("client")


def test_a_scheduler_that_goes_away_pauses_the_run_and_the_same_command_goes_on(library, engine):
    engine.worker(SLOW="0.3")
    run = library.run("scheduler", "--scheduler", engine.address)
    wait_until(lambda: library.saved("scheduler") >= SAVE, "a part is saved")
    engine.scheduler.kill()
    status, _, said = finish(run)
    assert status == 2 and "same command" in said and "scheduler" in said
    assert len([line for line in said.splitlines() if "distributed" in line or "tornado" in line]) == 0, said
    before = library.saved("scheduler")
    engine.start_scheduler()
    engine.worker()
    status, summary, said = finish(library.run("scheduler", "--scheduler", engine.address))
    assert status == 0 and summary["done_before"] == before >= SAVE, said
    assert library.is_clean("scheduler")


def test_a_photo_that_ends_three_workers_is_an_error_and_one_that_hangs_goes_elsewhere(library, engine):
    fatal, hangs = [str(path) for path in library.paths[25:27]], str(library.paths[30])      # two side by side
    Path(hangs + ".once").touch()
    for _ in range(2):
        engine.worker(FATAL=":".join(fatal), HANGS=hangs)
    status, _, said = finish(library.run("fatal", "--scheduler", engine.address,
                                               "--photo-timeout", str(5 * slowness())))
    assert status == 0 and Path(hangs + ".hung").exists(), said
    errors = {photo.path: photo.reason for photo in cache.read(library.folder / "fatal/cache.npz").photos
              if photo.status == "error"}
    assert [errors.pop(path) for path in fatal] == [machines.REASON] * 2
    assert set(errors) == {str(library.paths[20]), str(library.paths[21])}
    status, _, said = finish(library.run("fatal", "--retry-errors"))
    assert status == 0 and library.is_clean("fatal"), said


def test_a_photo_that_ends_whoever_opens_it_at_its_proof_holds_nobody_back(library, engine):
    first, *_ = library.paths
    engine.worker(FATAL=str(first))
    status, _, said = finish(library.run("first", "--scheduler", engine.address))
    assert status == 0 and library.is_clean("first") and "sent to it" in said, said


BROKEN = {
    "other numbers": "gives other faces on cpu: cosine",
    "no answers": "gives answers that are none",
    "another version": "has another version of face-sets; give it this one and start it again",
    "no numbers": "fails at 3 photos in a row, the last gives embeddings that are no numbers",
}


def test_a_worker_that_is_not_as_we_are_is_refused_in_words_and_the_others_do_its_work(library, engine, tmp_path):
    """Photos come until all of them are known."""
    (tmp_path / "broken.py").write_text("""
import os
from facesets.embed import analyser, lanes, remote
kind = os.environ["BROKEN"]
if kind == "other numbers" and analyser.Analyser.recognise.__name__ == "recognise":     # Dask loads this twice
    recognise = analyser.Analyser.recognise
    analyser.Analyser.recognise = lambda self, faces: recognise(self, faces) + 0.2
if kind == "no answers":
    lanes.recognised = lambda outcomes, analyser: iter(["who knows?"])
if kind == "another version":
    remote.VERSION = "0" * 64
if kind == "no numbers" and remote.look.__name__ == "look":
    look = remote.look
    def broken(*args):
        found = look(*args)
        for outcome, *_ in found:
            outcome.raw = outcome.raw * float("nan")
        return found
    remote.look = broken
""")
    engine.worker(alone=True)
    for kind in BROKEN:
        engine.worker("--preload", str(tmp_path / "broken.py"), alone=True, BROKEN=kind)
    said: list[str] = []
    entries = until(lambda: all(any(words in line for line in said) for words in BROKEN.values()),
                    library.queue.entries[:10], said)
    with machines.Machines(engine.address, None, "opencv_zoo", SETTINGS, 60, said.append) as there:
        found = list(there.outcomes(entries, ours(library), others=library.queue.entries))
    assert sum(line.endswith(": refused") for line in said) == len(BROKEN), said
    clean = {photo.sha256: photo.status for photo in cache.read(library.folder / "clean/cache.npz").photos}
    assert all(outcome.photo.status == clean[outcome.photo.sha256] for outcome in found)


def test_a_worker_that_the_scheduler_does_not_reach_is_told_so_and_asked_again(library, engine):
    engine.worker_flags = [word for word in engine.worker_flags if word not in ("--host", "127.0.0.1")]
    engine.worker("--listen-address", "tcp://127.0.0.1:0", "--contact-address", "tcp://127.0.0.1:9")
    said = in_vain(library, engine, "it is asked again", r"is ready \(1 there\)", arrival=1)
    assert sum("the scheduler must reach it at that address" in line for line in said) == 1, said


MODEL = cache.Model("opencv_zoo", "a" * 64, "b" * 64, 128, 0.6, 0.7)


def an_answer(photo: cache.Photo) -> tuple[lanes.Outcome, str, int]:
    faces = np.zeros(1, cache.FACE)
    faces["box"], faces["face_short"] = (1, 2, 3, 4), 2
    outcome = lanes.Outcome(replace(photo, status="faces", width=9, height=8), faces, raw=np.ones((1, 128), "f4"))
    return outcome, "cpu", 0


def changed(answer, **photo):
    answer[0].photo = replace(answer[0].photo, **photo)


WRONG = {
    "a status that is none": lambda it: changed(it, status="bogus"),
    "faces in a photo without": lambda it: changed(it, status="noface"),
    "a width that is no number": lambda it: changed(it, width="wide"),
    "a negative height": lambda it: changed(it, height=-1),
    "a turn that is none": lambda it: changed(it, turn=4),
    "another user's": lambda it: changed(it, user="mallory"),
    "another asset": lambda it: changed(it, asset_id="other"),
    "another source": lambda it: changed(it, source="sneaky"),
    "a reason that steers the terminal": lambda it: changed(it, reason="x\x1b[31m"),
    "a reason without end": lambda it: changed(it, reason="x" * 1000),
    "embeddings in words": lambda it: setattr(it[0], "raw", it[0].raw.astype("U20")),
    "embeddings of another width": lambda it: setattr(it[0], "raw", it[0].raw[:, :9]),
    "more embeddings than faces": lambda it: setattr(it[0], "raw", np.ones((2, 128), "f4")),
    "faces that are no array": lambda it: setattr(it[0], "faces", [1]),
    "faces of another layout": lambda it: setattr(it[0], "faces", np.zeros(1, "i4")),
    "a box that is no number": lambda it: it[0].faces["box"].fill(np.nan),
    "a yaw without end": lambda it: it[0].faces["yaw"].fill(np.inf),
    "a box inside out": lambda it: it[0].faces["box"].__setitem__(0, (3, 2, 1, 4)),
    "a box far away": lambda it: it[0].faces["box"].__setitem__(0, (1, 2, 1e7, 4)),
    "a score of 7": lambda it: it[0].faces["det_score"].fill(7),
    "a quality below 0": lambda it: it[0].faces["quality"].fill(-3),
    "a look that is no number": lambda it: setattr(it[0], "second_look", "yes"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_answer_is_taken_only_if_every_field_of_it_may_go_into_a_cache(wrong):
    photo = cache.Photo("/photos/a.jpg", "c" * 64, user="peter")
    answer = an_answer(photo)
    assert answers.sound(answer, photo, MODEL)
    WRONG[wrong](answer)
    assert not answers.sound(answer, photo, MODEL)
    assert not answers.sound((*an_answer(photo)[:2], "no losses"), photo, MODEL)


def test_what_one_worker_s_share_shows_in_place_of_a_photo_is_not_taken_for_it(library, engine, tmp_path):
    (tmp_path / "stale.py").write_text("""
import os
from facesets.embed import decode
if decode.read_bytes.__name__ == "read_bytes":
    read_bytes = decode.read_bytes
    def stale(path, *rest):
        if str(path).endswith("5.jpg"):
            raise decode.Unreadable("is empty")
        return read_bytes(path, *rest) + (b"cut" if str(path).endswith("4.jpg") else b"")
    decode.read_bytes = stale
""")
    engine.worker("--preload", str(tmp_path / "stale.py"), threads=2, alone=True)
    status, _, said = finish(library.run("stale", "--scheduler", engine.address))
    assert status == 0 and "sent to it" not in said, said
    assert library.is_clean("stale")


def test_a_good_worker_that_ends_is_waited_for_beside_one_that_is_refused(library, engine, tmp_path):
    (tmp_path / "broken.py").write_text("from facesets.embed import remote\nremote.VERSION = '0' * 64\n")
    good = engine.worker()
    said: list[str] = []

    def entries():
        yield from until(lambda: any("takes 1" in line for line in said), library.queue.entries[25:30], said)
        engine.worker("--preload", str(tmp_path / "broken.py"), alone=True)
        yield from until(lambda: any("refused" in line for line in said), library.queue.entries[25:30], said)
        for child in psutil.Process(good.pid).children():
            child.kill()
        good.kill()
        threading.Timer(5, engine.worker).start()
        yield from library.queue.entries[30:35]

    with machines.Machines(engine.address, None, "opencv_zoo", SETTINGS, 60, said.append) as there:
        found = list(there.outcomes(entries(), ours(library), others=library.queue.entries))
    assert {outcome.photo.status for outcome in found} <= {"faces", "noface"}, said
    assert {outcome.photo.sha256 for outcome in found} == {entry.sha256 for entry in library.queue.entries[25:35]}


def test_a_photo_for_which_one_worker_has_too_little_memory_goes_to_another(library, engine, tmp_path):
    (tmp_path / "small.py").write_text("""
from facesets.embed import decode, remote
def none(*_):
    raise MemoryError
if remote.look.__name__ == "look":
    def look(*words, look=remote.look):
        decode._decode = none
        return look(*words)
    remote.look = look
""")
    engine.worker("--preload", str(tmp_path / "small.py"), alone=True)
    engine.worker(alone=True)
    status, _, said = finish(library.run("small", "--scheduler", engine.address))
    assert status == 0 and library.is_clean("small"), said


def test_a_worker_that_ends_at_each_proof_is_refused_in_words(library, engine, tmp_path):
    (tmp_path / "ends.py").write_text("""
import os
from facesets.embed import remote
remote.prove = lambda *_: os._exit(1)
""")
    engine.worker("--preload", str(tmp_path / "ends.py"))
    said = in_vain(library, engine)
    assert sum("ended 3 times in a row, whatever it was to do" in line for line in said) == 1, said


def test_machines_that_end_at_every_photo_are_refused_and_condemn_none(library, engine, tmp_path):
    (tmp_path / "ends.py").write_text("""
import os
from facesets.embed import remote
remote.look = lambda *_: os._exit(1)
""")
    for _ in range(2):
        engine.worker("--preload", str(tmp_path / "ends.py"))
    run = library.run("ends", "--scheduler", engine.address)
    time.sleep(slowness())
    engine.worker(alone=True)
    status, _, said = finish(run)
    assert status == 0 and library.is_clean("ends"), said


def test_a_worker_that_breaks_and_is_there_first_condemns_no_photo(library, engine, tmp_path):
    (tmp_path / "breaks.py").write_text("""
from facesets.embed import remote
def look(*_):
    raise type("It\\x1b[2J\\nbroke", (RuntimeError,), {})("gave up")
remote.look = look
""")
    (tmp_path / "late.py").write_text("""
import time
from facesets.embed import remote
if remote.prove.__name__ == "prove":
    def late(*words, prove=remote.prove):
        time.sleep(5)
        return prove(*words)
    remote.prove = late
""")
    for what in ("breaks", "late"):
        engine.worker("--preload", str(tmp_path / f"{what}.py"), alone=True)
    said: list[str] = []
    entries = until(lambda: any("refused" in line for line in said), library.queue.entries[25:35], said)
    with machines.Machines(engine.address, None, "opencv_zoo", SETTINGS, 60, said.append) as there:
        found = there.outcomes(entries, ours(library), others=library.queue.entries)
        assert {outcome.photo.status for outcome in found} <= {"faces", "noface"}, said
    assert sum("fails at 3 photos in a row" in line and "\x1b" not in line for line in said) == 1, said


def test_all_modules_that_look_at_photos_make_the_version(checkout, tmp_path):
    def version(folder: Path) -> str:
        return subprocess.run([sys.executable, "-c", "from facesets.embed import remote; print(remote.VERSION)"],
                              cwd=folder, check=True, capture_output=True, text=True, timeout=LIMIT).stdout
    part = [path for path in copies.worker_part(checkout) if path.parts[1:2] in (("common",), ("formats",))]
    assert {f"facesets/{name}.py" for name in remote.BELOW} == {str(path) for path in part if path.stem != "__init__"}
    copies.carry_worker(checkout, tmp_path)
    assert version(tmp_path) == version(checkout)
    with (tmp_path / "facesets/formats/quality.py").open("a") as module:
        module.write("# a line more\n")
    assert version(tmp_path) != version(checkout)
    late = ("import pathlib; from facesets.embed import remote; was = remote.VERSION; "
            "pathlib.Path(remote.__file__).with_name('pose.py').open('a').write('# another line'); "
            "print(eval(remote.FIRST) == was)")
    run = subprocess.run([sys.executable, "-c", late], cwd=tmp_path, check=True, capture_output=True, text=True,
                         timeout=LIMIT)
    assert run.stdout == "True\n"      # an update does not change what runs since before it


def test_two_models_with_one_recogniser_are_two(library, tmp_path):
    """As buffalo_l and buffalo_m."""
    pack = packs.open_pack("opencv_zoo", library.models_dir)
    for weights in (pack.detector, pack.recogniser):
        shutil.copy(weights.path, tmp_path)
    with (tmp_path / pack.detector.path.name).open("ab") as file:
        file.write(b"\x32\x00")        # an empty producer_version: another file, the same network
    models = [remote.prove(partial(config.Embedding, provider="cpu", models_dir=library.models_dir), model, SAMPLE,
                           []).models for model in ("opencv_zoo", str(tmp_path))]
    assert models[0][0] != models[1][0] and models[0][1] == models[1][1]


@pytest.mark.parametrize("fails", ["one", "all"])
def test_a_photo_that_a_worker_cannot_analyse_is_an_error_and_a_worker_that_can_analyse_none_is_refused(
        library, engine, tmp_path, fails):
    (tmp_path / "fails.py").write_text("""
import os
from facesets.embed import lanes
if lanes.recognised.__name__ == "recognised":
    recognised = lanes.recognised
    def failing(outcomes, analyser):
        for outcome in outcomes:
            if os.environ["FAILS"] in (outcome.photo.path, "all"):
                raise RuntimeError("gave up")
            yield from recognised([outcome], analyser)
    lanes.recognised = failing
""")
    bad = str(library.paths[30]) if fails == "one" else fails
    engine.worker("--preload", str(tmp_path / "fails.py"), alone=True, FAILS=bad)
    if fails == "all":
        said = in_vain(library, engine)
        words = "fails at 3 photos in a row, the last cannot be analysed (RuntimeError: gave up)"
        assert sum(words in line for line in said) == 1, said
    else:
        with machines.Machines(engine.address, None, "opencv_zoo", SETTINGS, 60) as there:
            arriving = there.outcomes(library.queue.entries[25:35], ours(library), others=library.queue.entries)
            errors = {outcome.photo.path: outcome.photo.reason for outcome in arriving
                      if outcome.photo.status == "error"}
        assert errors == {bad: "cannot be analysed (RuntimeError: gave up)"}


def test_the_photos_of_a_worker_that_stands_still_go_to_the_others(library, engine):
    for _ in range(2):
        engine.worker()
    photos = library.queue.entries[:18]
    found, said = beside(library, engine, photos, 10 + slowness(),
                         lambda: engine.at_work()[0].send_signal(signal.SIGSTOP))
    assert found == {entry.sha256 for entry in photos}
    assert sum("has given no sign" in line for line in said) == 1, said


def test_the_photos_of_a_worker_that_is_paused_for_want_of_memory_go_to_the_others(library, engine, tmp_path):
    (tmp_path / "full.py").write_text("""
from distributed import get_worker
from distributed.core import Status
from facesets.embed import remote
if remote.look.__name__ == "look":
    def look(*words, look=remote.look):
        get_worker().loop.add_callback(setattr, get_worker(), "status", Status.paused)     # as its memory monitor does
        return look(*words)
    remote.look = look
""")
    for flags in ((), ("--preload", str(tmp_path / "full.py"))):
        engine.worker(*flags)
    silent = round(10 + slowness())
    found, said = beside(library, engine, library.queue.entries, silent)
    assert found == {entry.sha256 for entry in library.queue.entries}
    assert sum(f"has had too little memory to go on for {silent} s" in line for line in said) == 1, said


def test_a_worker_that_grows_slow_is_given_no_more_than_it_holds(library, engine, tmp_path):
    """It holds bundles for the pace that it had."""
    (tmp_path / "slow.py").write_text("""
import time
from itertools import count
from facesets.embed import lanes
if lanes.recognised.__name__ == "recognised":
    recognised, seen = lanes.recognised, count()
    def slower(outcomes, analyser):
        time.sleep(1.2 * (12 < next(seen) <= 20))
        yield from recognised(outcomes, analyser)
    lanes.recognised = slower
""")
    engine.worker("--preload", str(tmp_path / "slow.py"))
    with machines.Machines(engine.address, None, "opencv_zoo", SETTINGS, 60) as there:
        found = [outcome.photo.sha256 for outcome in
                 there.outcomes(library.queue.entries[:32], ours(library), others=library.queue.entries)]
    assert sorted(found) == sorted(entry.sha256 for entry in library.queue.entries[:32])


def test_a_slow_worker_has_two_photos_in_its_hands_and_the_fast_one_does_all_others(library, engine, tmp_path):
    (tmp_path / "slow.py").write_text("""
import os, pathlib, socket, time
from facesets.embed import lanes
socket.gethostname = lambda: "slow"
if lanes.recognised.__name__ == "recognised":
    recognised = lanes.recognised
    def slower(outcomes, analyser):
        while not pathlib.Path(os.environ["ENOUGH"]).exists():
            time.sleep(0.05)
        yield from recognised(outcomes, analyser)
    lanes.recognised = slower
""")
    engine.worker("--preload", str(tmp_path / "slow.py"), ENOUGH=str(tmp_path / "enough"))
    engine.worker()
    said: list[str] = []
    given: list[str] = []

    def entries():
        for entry in until(lambda: sum(" takes " in line for line in said) == 2, library.queue.entries[:4], said):
            given.append(entry.path)
            yield entry
        for entry in library.queue.entries:
            given.append(entry.path)
            yield entry

    with machines.Machines(engine.address, None, "opencv_zoo", SETTINGS, LIMIT, said.append) as there:
        found = []
        for outcome in there.outcomes(entries(), ours(library), others=library.queue.entries):
            found.append(outcome.photo.path)
            if len(found) == len(given) - machines.AHEAD:
                (tmp_path / "enough").touch()
        there.tell(summary := pipeline.Summary())
    assert sorted(found) == sorted(given)
    assert {one["photos"] for one in summary.machines if one["host"] == "slow"} == {machines.AHEAD}


def test_a_scheduler_or_a_worker_that_was_not_started_in_a_checkout_is_told_so(library, tmp_path, models_dir):
    (tmp_path / "elsewhere").mkdir()
    engine = Engine(tmp_path / "engine", models_dir, home=tmp_path / "elsewhere")
    try:
        with pytest.raises(SettingsError, match=r"the scheduler .* was not started in a checkout of face-sets"), \
                connect.connected(engine.address, None, remote.FIRST, remote.VERSION):
            pass
        engine.close()
        engine.home = CHECKOUT
        engine.start_scheduler()
        with pytest.raises(SettingsError, match="runs another version of face-sets"), \
                connect.connected(engine.address, None, remote.FIRST, "0" * 64):
            pass
        engine.home = tmp_path / "elsewhere"
        engine.worker(alone=True)
        said = in_vain(library, engine)
        assert sum("not started in a checkout of face-sets (No module named 'config')" in line for line in said) == 1
    finally:
        engine.close()


def test_without_a_worker_the_run_pauses(library, engine):
    said = in_vain(library, engine, "docs/cluster.md starts them", r"no worker of tcp://.* is ready \(0 there")
    assert len(said) == 1 and "is ready yet (0 there): waiting up to 300 s" in said[0]


def test_a_dry_run_says_how_many_workers_there_are(engine, checkout):
    run = subprocess.run([sys.executable, "-m", "facesets.embed.machines", engine.address, ""], cwd=checkout,
                         capture_output=True, text=True, timeout=LIMIT)
    assert (run.returncode, run.stderr) == (0, f"0 workers at {engine.address}\n")


@functools.cache
def ours(library: Library):
    return pipeline.load("opencv_zoo", library.models_dir, "cpu")


def in_vain(library: Library, engine: Engine, end: str = "refused",
            words: str = "1 there, 1 of them refused, see above", **options: float) -> list[str]:
    """What is said of the only worker, until a line ends so; then nobody is waited for."""
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        there.patience = 1 if line.endswith(end) else there.patience

    with machines.Machines(engine.address, None, "opencv_zoo", SETTINGS, 60, say) as there, \
            pytest.raises(Paused, match=words):
        vars(there).update(options)
        list(there.outcomes(library.queue.entries[25:], ours(library), others=library.queue.entries))
    return said


def test_a_slow_consumer_holds_the_workers_back(library, engine):
    engine.worker(threads=2, alone=True)
    with machines.Machines(engine.address, None, "opencv_zoo", SETTINGS, 60) as there:
        arriving = there.outcomes(library.queue.entries[:20], ours(library), others=library.queue.entries)
        first = next(arriving)
        there.tell(summary := pipeline.Summary())
        assert summary.machines[0]["photos_per_second"] < 100       # of one photo, too
        given = sum(len(bundle) for machine in there.ready for bundle in machine.hands.values())
        assert given <= 2 * machines.AHEAD * machines.BUNDLE and isinstance(first, lanes.Outcome)
        assert len(list(arriving)) == 19


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """Made by the command of docs/cluster.md."""
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(shlex.split(CERTIFICATES), cwd=folder, check=True, capture_output=True)
    assert (folder / "key.pem").stat().st_mode & 0o077 == 0
    return folder


def test_over_tls_only_who_holds_the_key_is_let_in(library, certificates, tmp_path, models_dir):
    engine = Engine(tmp_path / "engine", models_dir, certificates)
    try:
        assert engine.address.startswith("tls://")
        engine.worker(threads=2)
        status, _, said = finish(library.run("tls", "--scheduler", engine.address, "--scheduler-tls",
                                             str(certificates)))
        assert status == 0 and library.is_clean("tls"), said
        everyone = [psutil.Process(process.pid) for process in engine.processes]
        assert in_the_clear([*everyone, *engine.at_work()]) == []
        loopback = f"tcp://127.0.0.1:{engine.address.rpartition(':')[2]}"
        subprocess.run(shlex.split(CERTIFICATES), cwd=tmp_path, check=True, capture_output=True)
        status, _, said = finish(library.run("other", "--scheduler", engine.address, "--scheduler-tls", str(tmp_path)))
        assert status == 78 and "the certificates do not fit" in said, said
        (tmp_path / "cert.pem").write_text("nonsense")
        (tmp_path / "key.pem").chmod(0o644)
        with pytest.raises(SettingsError, match=r"key\.pem can be read by others; run: chmod 600"):
            connect.check(engine.address, tmp_path)
        (tmp_path / "key.pem").chmod(0o600)
        status, _, said = finish(library.run("none", "--scheduler", engine.address, "--scheduler-tls", str(tmp_path)))
        assert status == 78 and "the certificates do not fit" in said, said
        status, _, said = finish(library.run("clear", "--scheduler", loopback))
        assert status == 2 and "does not answer" in said
    finally:
        engine.close()


@pytest.mark.parametrize(("flags", "words"), [
    (["--scheduler", "10.0.0.7:8786"], "an address is tls://host:8786"),
    (["--scheduler", "tcp://10.0.0.7:8786"], "without TLS only 127.0.0.1"),
    (["--scheduler", "tls://10.0.0.7:8786"], "--scheduler-tls names the folder"),
    (["--scheduler", "tls://10.0.0.7:8786", "--scheduler-tls", "/nowhere"], ": cert.pem and key.pem missing"),
    (["--scheduler", "tcp://127.0.0.1:99999"], "an address is tls://host:8786"),
])
def test_an_address_that_is_none_or_not_safe_is_refused_in_one_line(library, flags, words):
    status, _, said = finish(library.run("address", *flags))
    assert status == 78 and words in said.splitlines()[-1]
    assert len([line for line in said.splitlines() if "embed_worker" in line]) == 1
    assert "on cpu" not in said         # at once


@pytest.mark.parametrize("rest", ["127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:\u0661\u0662", "127.0.0.1:1:8786",
                                  "[::1:8786", "me@127.0.0.1:8786", ":8786", "127.0.0.1"])
def test_an_address_nobody_can_have_is_none(rest):
    connect.check("tcp://127.0.0.1:8786", None)
    connect.check("tcp://[::1]:8786", None)
    with pytest.raises(SettingsError, match="an address is tls://host:8786"):
        connect.check(f"tcp://{rest}", None)


@pytest.mark.parametrize(("says", "seconds", "kind", "words"), [
    (b"", 2, Paused, "does not answer .not within 2 s"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n<html>", LIMIT, SettingsError, "is no scheduler of Dask"),
    (b"\0\0\0\0\0\1\0\0\1\0\0\0\0\0\0\0" + b"x" * 1000, LIMIT, SettingsError, "is no scheduler of Dask"),
])
def test_what_is_no_scheduler_is_told_in_one_line_and_in_time(says, seconds, kind, words):
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    held.append(server.accept()[0])
                    held[-1].sendall(says)

        threading.Thread(target=serve, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(kind, match=words), connect.connected(address, None, "1", "1", seconds):
            pass


def test_without_the_engine_s_packages_it_is_said_which_are_needed(certificates, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SettingsError, match=r"requirements-cluster\.txt"), \
            connect.connected("tls://127.0.0.1:8786", certificates, "1", "1"):
        pass


def test_nothing_of_dask_is_imported_unless_an_engine_is_named(library, checkout):
    code = ("import sys, embed_worker; status = embed_worker.main(sys.argv[1:]);"
            "print({name.split('.')[0] for name in sys.modules} & {'dask', 'distributed', 'tornado'}, status)")
    run = subprocess.run([sys.executable, "-c", code, "--queue", library.folder / "queue.json", "--out",
                          library.folder / "alone/cache.npz", "--model", "opencv_zoo", "--models-dir",
                          library.models_dir], capture_output=True, text=True, cwd=checkout, timeout=LIMIT)
    assert run.stdout.strip() == "set() 0", run.stderr
