"""The worker as the operator runs it: every photo gets its outcome, stops and kills cost next to nothing.

FACESETS_KILLS=50 kills at that many random moments instead of four.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import people
import pytest
from busy import LIMIT, wait_until
from corpus import make
from killing import killed
from memory import peak_of
from PIL import Image

from facesets.embed.parts import Parts
from facesets.formats import cache
from facesets.formats import queue as queues

KILLS = int(os.environ.get("FACESETS_KILLS", "4"))
SAVE = 4        # photos a part


@pytest.fixture
def worker(checkout, models_dir, tmp_path):
    """Start embed_worker.py on tmp_path/queue.json; `opened.log` there lists every file it opens. Each photo takes
    `slow` seconds to open, and the process is killed before its part number `dies` has its name."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(
        "import os, signal, sys, time\n"
        "log = os.open(os.environ['OPENED'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
        "slow, dies = float(os.environ['SLOW']), f\"/{int(os.environ['DIES']):06}.npz\"\n"
        "def hook(event, args):\n"
        "    if event == 'open':\n"
        "        os.write(log, f'{args[0]}\\n'.encode())\n"
        "        time.sleep(slow * str(args[0]).endswith('.jpg'))\n"
        "    if event == 'os.rename' and str(args[1]).endswith(dies):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(hook)\n")

    def start(*flags: str, out: str = "out/cache.npz", slow: float = 0, dies: int = 0) -> subprocess.Popen:
        command = [sys.executable, str(checkout / "embed_worker.py"), "--queue", str(tmp_path / "queue.json"),
                   "--out", str(tmp_path / out), "--model", "opencv_zoo", "--models-dir", str(models_dir),
                   "--lanes", "2", "--save-photos", str(SAVE), "--json", *flags]
        environment = {**os.environ, "PYTHONPATH": str(hooks), "OPENED": str(tmp_path / "opened.log"),
                       "SLOW": str(slow), "DIES": str(dies)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    return start


def finish(process: subprocess.Popen) -> tuple[int, dict, str]:
    stdout, stderr = process.communicate(timeout=LIMIT)
    assert "Traceback" not in stderr, stderr
    return process.returncode, json.loads(stdout) if stdout else {}, stderr


def times_opened(log: Path, paths: list[Path]) -> int:
    wanted = {str(path) for path in paths}
    return sum(line in wanted for line in log.read_text().splitlines())


def test_a_killed_run_ends_in_the_same_cache_and_repeats_at_most_a_batch(worker, tmp_path):
    paths = people.photos(tmp_path / "photos", 40)
    queues.write(tmp_path / "queue.json", people.queue(paths))
    started = time.monotonic()
    assert finish(worker(out="clean.npz"))[0] == 0
    whole_run = time.monotonic() - started
    (tmp_path / "opened.log").unlink()

    chance, kills, before = random.Random(4), 0, 0
    while kills < KILLS:
        process, started = worker(), time.monotonic()
        try:
            process.communicate(timeout=chance.uniform(0.2, 1) * whole_run)
            whole_run = whole_run if before else time.monotonic() - started     # others are not at work here any more
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        kills += process.returncode == -signal.SIGKILL
        done = 0 if not (tmp_path / "out").exists() else len(saved(tmp_path / "out"))
        assert done >= before, "a kill took back what was saved"
        before = done
        if (tmp_path / "out/cache.npz").exists():
            for file in sorted((tmp_path / "out").glob("**/*.npz")):    # all done: begin anew
                file.unlink()
            before = 0
    opened = times_opened(tmp_path / "opened.log", paths)
    status, summary, _ = finish(worker())
    assert status == 0
    assert (tmp_path / "out/cache.npz").read_bytes() == (tmp_path / "clean.npz").read_bytes()
    assert not (tmp_path / "out/cache.npz.parts").exists()
    assert summary["done_before"] == before
    print(f"{kills} kills, {opened} photos opened in them")


def saved(folder: Path) -> set[str]:
    return set().union(*(cache.processed(path) for path in folder.glob("**/*.npz")))


def test_a_kill_costs_at_most_one_batch_and_what_is_in_the_lanes(worker, tmp_path):
    paths = people.photos(tmp_path / "photos", 60)
    queues.write(tmp_path / "queue.json", people.queue(paths))
    process = worker(slow=0.2)
    log = tmp_path / "opened.log"
    wait_until(lambda: log.exists() and times_opened(log, paths) >= 20, "twenty photos are opened")
    process.kill()
    process.communicate()
    opened, kept = times_opened(tmp_path / "opened.log", paths), len(saved(tmp_path / "out"))
    assert kept < 60, "the kill came too late to show anything"
    assert opened - kept <= SAVE + 3 * 2      # a batch not yet saved; two in the lanes, two waiting, two on their way
    assert finish(worker())[1]["done_before"] == kept
    assert times_opened(tmp_path / "opened.log", paths) == 60 + opened - kept


def test_a_run_killed_while_it_looks_at_photos_from_other_sides_ends_in_the_same_cache(worker, tmp_path):
    paths = people.photos(tmp_path / "photos", 45)
    for number, path in enumerate(paths):
        if number % 3 == 1:
            cv2.imwrite(str(path), np.rot90(cv2.imread(str(path)), 2 * (number % 2) + 1))
    queue, seen = people.queue(paths), (queues.ImmichFace((0.2, 0.2, 0.9, 0.9)),)
    queues.write(tmp_path / "queue.json", replace(queue, entries=tuple(
        replace(entry, faces=seen) for entry in queue.entries)))
    status, summary, _ = finish(worker(out="clean.npz"))
    assert status == 0 and summary["turned"] >= 2 * SAVE, "several parts of turned photos are needed"
    first = -(-45 // SAVE)      # parts of the first look, after which come those of turned photos
    process = worker(dies=first + 2)
    process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGKILL
    status, rest, _ = finish(worker())
    assert (status, rest["done_before"]) == (0, 45) and 0 < rest["turned"] < summary["turned"]
    assert (tmp_path / "out/cache.npz").read_bytes() == (tmp_path / "clean.npz").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_says_so_and_goes_on(worker, tmp_path, number):
    paths = people.photos(tmp_path / "photos", 80)
    queues.write(tmp_path / "queue.json", people.queue(paths))
    process = worker(slow=0.2)
    wait_until(lambda: list((tmp_path / "out").glob("*.parts/*.npz")), "a part is saved")
    process.send_signal(number)
    status, summary, said = finish(process)
    assert (status, summary["paused"]) == (2, True)
    assert "same command" in said
    assert not (tmp_path / "out/cache.npz").exists()
    status, rest, _ = finish(worker())
    assert status == 0
    assert rest["done_before"] == summary["with_faces"] + summary["noface"] > 0
    assert len(cache.read(tmp_path / "out/cache.npz").photos) == 80


def test_a_photo_that_hangs_does_not_hold_a_run_that_is_stopped(worker, tmp_path, monkeypatch):
    """A decoder or a share that never answers, here by a hook where the photo is opened: one Ctrl-C is enough."""
    paths = people.photos(tmp_path / "photos", 12)
    queues.write(tmp_path / "queue.json", people.queue(paths))
    assert finish(worker(out="clean.npz"))[0] == 0
    with open(tmp_path / "hooks/sitecustomize.py", "a") as hook:
        hook.write("import time\n"
                   "sys.addaudithook(lambda event, args: event == 'open' and args[0] == os.environ.get('HANGS')\n"
                   "                 and time.sleep(3600))\n")
    monkeypatch.setenv("HANGS", str(paths[5]))
    process = worker()
    wait_until(lambda: (tmp_path / "out").exists() and len(saved(tmp_path / "out")) >= 2 * SAVE, "the others go on")
    process.send_signal(signal.SIGINT)
    try:
        status, summary, _ = finish(process)
    finally:
        process.kill()
    assert (status, summary["paused"]) == (2, True)
    monkeypatch.delenv("HANGS")
    assert finish(worker())[1]["done_before"] == summary["with_faces"] + summary["noface"] >= 2 * SAVE
    assert (tmp_path / "out/cache.npz").read_bytes() == (tmp_path / "clean.npz").read_bytes()


def test_a_fold_that_is_killed_anywhere_leaves_no_older_outcome_in_force(tmp_path):
    """A photo that was an error and was tried again, in a later part; of these, the last counts."""
    model, entry = cache.Model("m", "0" * 64, "1" * 64, 4, 0.45, 0.55), queues.Entry("", "/a.jpg", "", "a" * 64, 1)
    queue = queues.Queue("", "", (entry,))

    def folded(out: Path) -> None:
        Parts(out).fold(queue, model)

    for at in range(1, 40):
        out = tmp_path / str(at) / "cache.npz"
        parts = Parts(out)
        for status in ["error"] * 11 + ["noface"]:
            parts.add(cache.Cache(model, [cache.Photo("/a.jpg", entry.sha256, status)]))
        more = killed(partial(folded, out), at)
        folded(out)
        assert [photo.status for photo in cache.read(out).photos] == ["noface"], f"killed before event {at}"
        if not more:
            return
    raise AssertionError("a fold has no end")


def test_a_photo_that_ends_the_program_is_met_three_times_and_then_is_an_error(worker, tmp_path, monkeypatch):
    """Memory faults of a decoder, here by a hook that sends SIGSEGV when the photo is opened."""
    paths = people.photos(tmp_path / "photos", 12)
    queues.write(tmp_path / "queue.json", people.queue(paths))
    assert finish(worker(out="clean.npz"))[0] == 0
    with open(tmp_path / "hooks/sitecustomize.py", "a") as hook:
        hook.write("import signal\n"
                   "sys.addaudithook(lambda event, args: event == 'open' and args[0] == os.environ.get('FATAL')\n"
                   "                 and os.kill(os.getpid(), signal.SIGSEGV))\n")
    monkeypatch.setenv("FATAL", str(paths[5]))
    for run in range(3):
        (tmp_path / "opened.log").unlink()
        process = worker()
        process.communicate(timeout=LIMIT)
        assert process.returncode == -signal.SIGSEGV
        assert not run or times_opened(tmp_path / "opened.log", paths) <= 3     # those of the lanes, one by one
    status, summary, said = finish(worker())
    assert (status, summary["reasons"]) == (0, {"ended the program 3 times while it was read": 1}), said
    monkeypatch.delenv("FATAL")
    unread = [photo.path for photo in cache.read(tmp_path / "out/cache.npz").photos if photo.status == "error"]
    assert unread == [str(paths[5])]
    assert finish(worker("--retry-errors"))[0] == 0
    assert (tmp_path / "out/cache.npz").read_bytes() == (tmp_path / "clean.npz").read_bytes()


def test_a_second_run_with_nothing_new_opens_no_model_and_no_photo(worker, tmp_path):
    paths = people.photos(tmp_path / "photos", 6)
    queues.write(tmp_path / "queue.json", people.queue(paths))
    assert finish(worker())[0] == 0
    first = (tmp_path / "out/cache.npz").read_bytes()
    (tmp_path / "opened.log").unlink()
    status, summary, _ = finish(worker())
    assert (status, summary["done_before"], summary["with_faces"]) == (0, 6, 0)
    opened = (tmp_path / "opened.log").read_text()
    assert ".onnx" not in opened and ".jpg" not in opened
    assert "onnxruntime" not in opened and "/cv2/" not in opened      # what takes the time is not even imported
    assert (tmp_path / "out/cache.npz").read_bytes() == first


def test_names_and_paths_of_a_newer_queue_are_taken_over_without_a_model(worker, tmp_path):
    paths = people.photos(tmp_path / "photos", 3)
    queue = people.queue(paths)
    queues.write(tmp_path / "queue.json", queue)
    assert finish(worker())[0] == 0
    before = cache.read(tmp_path / "out/cache.npz")
    assert {person.name for person in before.persons} == {""}
    face, photo = before.faces[0], before.photos[before.faces[0]["photo"]]
    box = tuple(float(side) for side in face["box"] / (photo.width, photo.height, photo.width, photo.height))
    moved = [path.rename(path.with_name(f"moved-{path.name}")) for path in paths]
    entries = [replace(item, path=str(new), taken_at="2001-02-03T04:05:06", asset_id="other", source="preview")
               for item, new in zip(queue.entries, moved, strict=True)]
    entries = [queues.Entry(**{**item.__dict__, "faces": (queues.ImmichFace(box, "id-1", "Ada"),),
                                "aliases": (queues.Alias("asset-9", "/library/copy.jpg"),)})
               if item.sha256 == photo.sha256 else item for item in entries]
    known = (queues.Known("asset-8", "/library/known.jpg", "0" * 64),)
    queues.write(tmp_path / "queue.json", queues.Queue(queue.user, queue.server, tuple(entries), known))
    os.utime(tmp_path / "queue.json", (1, 1))       # the clock of the machine that wrote it may be behind
    (tmp_path / "opened.log").unlink()
    assert finish(worker())[0] == 0
    after = cache.read(tmp_path / "out/cache.npz")
    assert [person.name for person in after.persons] == ["Ada"] + [""] * (len(after.persons) - 1)
    assert after.path_aliases == {"/library/copy.jpg": photo.sha256, "/library/known.jpg": "0" * 64}
    assert [photo.path for photo in after.photos] == list(map(str, moved))
    assert {(photo.taken_at, photo.asset_id, photo.source) for photo in after.photos} == {
        ("2001-02-03T04:05:06", "other", "preview")}
    assert ".onnx" not in (tmp_path / "opened.log").read_text()


def test_errors_are_listed_and_tried_again_only_when_asked(worker, tmp_path):
    paths = people.photos(tmp_path / "photos", 4)
    whole = paths[2].read_bytes()
    queue = people.queue(paths)
    paths[2].write_bytes(whole[:-1])
    paths[3].unlink()
    queues.write(tmp_path / "queue.json", queue)
    status, summary, said = finish(worker())
    assert (status, summary["errors"]) == (0, 2)
    assert "has changed since it was staged" in said and "not there any more" in said
    paths[2].write_bytes(whole)
    assert finish(worker())[1]["errors"] == 0       # not tried
    status, summary, _ = finish(worker("--retry-errors"))
    assert (summary["done_before"], summary["with_faces"], summary["errors"]) == (2, 1, 1)
    result = cache.read(tmp_path / "out/cache.npz")
    assert [photo.status for photo in result.photos] == ["noface", "faces", "faces", "error"]
    assert [photo.sha256 for photo in result.photos] == [item.sha256 for item in queue.entries]


def test_a_share_that_went_away_pauses_the_run_and_spoils_nothing(worker, tmp_path):
    queues.write(tmp_path / "queue.json", people.queue(people.photos(tmp_path / "photos", 120)))
    process = worker(slow=0.1)
    wait_until(lambda: list((tmp_path / "out").glob("*.parts/*.npz")), "a part is saved")
    (tmp_path / "photos").rename(tmp_path / "away")
    status, _, said = finish(process)
    assert status == 2, said
    assert "in a row" in said and "same command" in said
    before = len(saved(tmp_path / "out"))
    (tmp_path / "away").rename(tmp_path / "photos")
    status, summary, _ = finish(worker())
    assert (status, summary["errors"], summary["done_before"]) == (0, 0, before) and SAVE <= before < 120


def test_photos_that_vanished_are_errors_of_their_own_and_do_not_pause_the_others(worker, tmp_path):
    """A hundred in a row, at the beginning, and nothing but them when they are asked for again."""
    paths = people.photos(tmp_path / "photos", 105)
    queues.write(tmp_path / "queue.json", people.queue(paths))
    for path in paths[:100]:
        path.unlink()
    for flags, faces in (((), 4), (("--retry-errors",), 0)):
        status, summary, said = finish(worker(*flags))
        assert (status, summary["errors"], summary["with_faces"]) == (0, 100, faces), said
        assert summary["reasons"] == {"is not there any more": 100}


def test_every_kind_of_file_gets_its_outcome_and_the_run_goes_on(worker, tmp_path):
    group = Image.open(people.GROUP).resize((160, 111))
    cases = make(tmp_path / "corpus", group)
    entries = []
    for number, case in enumerate(cases):
        entry = people.entry(case.path, number) if "\0" not in str(case.path) else people.entry(tmp_path / "no", number)
        entries.append(replace(entry, path=str(case.path), sha256=f"{number:064x}" if any(
            entry.sha256 == other.sha256 for other in entries) else entry.sha256))
    twins = [entry for number, entry in enumerate(entries) if entry.sha256 == f"{number:064x}"]
    queues.write(tmp_path / "queue.json", queues.Queue("peter", "", tuple(entries)))
    status, summary, said = finish(worker("--save-photos", "64"))
    assert status == 0, said
    result = cache.read(tmp_path / "out/cache.npz")
    assert [photo.sha256 for photo in result.photos] == [entry.sha256 for entry in entries]
    for case, photo in zip(cases, result.photos, strict=True):
        if photo.sha256 in {twin.sha256 for twin in twins}:
            assert photo.status == "error"      # the same bytes as another case, or no file
        elif case.outcome == "pixels":
            assert photo.status in ("faces", "noface"), (case, photo)
        else:
            assert photo.status == "error" and re.search(case.outcome, photo.reason), (case, photo)
    assert summary["with_faces"] > 50       # the group in all its formats and rotations
    assert all(line.isprintable() for line in said.splitlines())


def test_another_model_is_refused_in_words(worker, tmp_path, checkout):
    queues.write(tmp_path / "queue.json", people.queue(people.photos(tmp_path / "photos", 2)))
    assert finish(worker())[0] == 0
    status, _, said = finish(worker("--model", "buffalo_l"))
    assert status == 1
    assert "do not mix" in said and "--model" in said


def test_two_runs_at_once_are_refused(worker, tmp_path):
    queues.write(tmp_path / "queue.json", people.queue(people.photos(tmp_path / "photos", 60)))
    first = worker(slow=0.2)
    wait_until(lambda: list((tmp_path / "out").glob("*.parts/*.npz")), "a part is saved")
    first.send_signal(signal.SIGSTOP)       # or it might be done first
    status, _, said = finish(worker())
    first.send_signal(signal.SIGCONT)
    assert status == 2
    assert "embed_worker.py" in said and "process" in said
    assert finish(first)[0] == 0


def test_memory_does_not_grow_with_the_queue(worker, tmp_path):
    """The resident set of a run over 120 photos is that of a run over 24, give or take a tenth."""
    peaks = []
    for count in (24, 120):
        queues.write(tmp_path / "queue.json", people.queue(people.photos(tmp_path / f"photos{count}", count)))
        process = worker(out=f"{count}.npz")
        peak = peak_of(process)
        assert finish(process)[0] == 0
        peaks.append(peak())
    assert peaks[1] < peaks[0] * 1.1


def test_what_the_cache_holds_of_a_face(worker, tmp_path):
    queues.write(tmp_path / "queue.json", people.queue(people.photos(tmp_path / "photos", 10)))
    status, summary, _ = finish(worker())
    result = cache.read(tmp_path / "out/cache.npz")
    assert (status, summary["faces"], result.model.name) == (0, len(result.faces), "opencv_zoo")
    assert len(result.faces) > 10
    assert [photo.status for photo in result.photos] == ["noface", "faces", "faces", "faces", "faces"] * 2
    np.testing.assert_allclose(np.linalg.norm(result.embeddings, axis=1), 1, atol=1e-5)
    assert (result.norms > 1).all()
    faces = result.faces
    short = (faces["box"][:, 2:] - faces["box"][:, :2]).min(axis=1)
    np.testing.assert_allclose(faces["face_short"], short)
    assert (faces["blur"] > 0).all() and (np.abs(faces["yaw"]) < 90).all() and (faces["quality"] > 0.2).all()
    assert (faces["landmarks"][:, 0, 0] < faces["landmarks"][:, 1, 0]).all()        # left eye first, as one sees it
    assert (tmp_path / "out/cache.npz").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("flags", "status", "words"), [
    (["--queue", "q.json"], 64, "--out"),
    (["--queue", "absent.json", "--out", "x/c.npz", "--model", "opencv_zoo"], 1, "immich_stage.py"),
    (["--doctor", "--provider", "warp"], 78, "auto, cuda, dml"),
    (["--doctor", "--model", "no/such/pack"], 78, "neither a pack"),
])
def test_what_is_wrong_is_said_in_one_line(checkout, models_dir, tmp_path, flags, status, words):
    done = subprocess.run([sys.executable, str(checkout / "embed_worker.py"), "--models-dir", str(models_dir), *flags],
                          capture_output=True, text=True, cwd=tmp_path, timeout=LIMIT)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_doctor_says_what_works_here(checkout, models_dir):
    done = subprocess.run([sys.executable, str(checkout / "embed_worker.py"), "--doctor", "--model", "opencv_zoo",
                           "--models-dir", str(models_dir), "--provider", "cpu"], capture_output=True, text=True,
                          timeout=LIMIT, env={**os.environ, "PYTHONUNBUFFERED": ""})
    assert done.returncode == 0, done.stderr
    for words in ("onnxruntime ", "providers ", "sha256 fb143eea", "terms ", "proven", "ms a face",
                  "insightface does not know these models"):
        assert words in done.stdout


def test_doctor_proves_our_numbers_against_insightfaces_own(checkout, shared):
    done = subprocess.run([sys.executable, str(checkout / "embed_worker.py"), "--doctor", "--provider", "cpu",
                           "--model", str(shared / "models/insightface_small")], capture_output=True, text=True,
                          timeout=LIMIT)
    assert done.returncode == 0, done.stdout
    found = re.search(r"insightface (\d+) faces of its FaceAnalysis: boxes (\S+) px apart at worst, cosine (\S+)\n",
                      done.stdout)
    assert found and int(found[1]) >= 6 and float(found[2]) <= 0.5 and float(found[3]) >= 0.9999
