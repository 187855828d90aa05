"""A worker without models: the bytes of a photo say what becomes of it.

    face ...    one face            noface ...      none            slow ...    a face, after half a second
    hold ...    a face, once the file `release` lies among the parts; `holding` says that it waits
    sigint ...  waits for Ctrl-C, the first time only, and ends as a Windows program without a handler does
    exit N ...  status N            kill ...        SIGKILL, the first time only; a face the second
    crash ...   a memory fault, the first two times; a face the third
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import config
from facesets.common import files, terminal
from facesets.formats import cache
from facesets.formats import queue as queues

MODEL = cache.Model("stub", "0" * 64, "1" * 64, 4, 0.45, 0.55)
WINDOWS = os.environ.get("OS") == "Windows_NT"


def outcome(entry: queues.Entry, parts: Path) -> str:
    with open(entry.win_path if WINDOWS else entry.path, "rb") as file:
        word, _, rest = file.read().decode().partition(" ")
    if word == "exit":
        sys.exit(int(rest.split()[0]))
    if word == "kill" and not (parts / "killed").exists():
        files.write_bytes(parts / "killed", b"")
        os.kill(os.getpid(), signal.SIGKILL)
    for fault in ("first fault", "second fault"):
        if word == "crash" and not (parts / fault).exists():
            files.write_bytes(parts / fault, b"")
            os._exit(0xC0000005 & 0xFF) if WINDOWS else os.kill(os.getpid(), signal.SIGSEGV)
    if word == "sigint" and not (parts / "interrupted").exists():
        signal.signal(signal.SIGINT, lambda *_: os._exit(0xC000013A & 0xFF))
        files.write_bytes(parts / "interrupted", b"")
        time.sleep(300)
    if word == "hold":
        files.write_bytes(parts / "holding", b"")
        deadline = time.monotonic() + 300       # a test that failed leaves nobody behind
        while not (parts / "release").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    time.sleep(0.5 if word == "slow" else 0.0)
    return "noface" if word == "noface" else "faces"


def fold(out: Path, entries: Sequence[queues.Entry], statuses: dict[str, str]) -> None:
    photos = [cache.Photo(entry.path, entry.sha256, statuses[entry.sha256]) for entry in entries]
    faces = np.zeros(sum(photo.status == "faces" for photo in photos), cache.FACE)
    faces["photo"] = [index for index, photo in enumerate(photos) if photo.status == "faces"]
    rows = np.tile(np.eye(1, 4, dtype=np.float32), (len(faces), 1))
    cache.write(out, cache.Cache(MODEL, photos, faces, rows, np.ones(len(faces), np.float32)))


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--queue")
    parser.add_argument("--out")
    config.add_flags(parser, config.Embedding)
    parser.add_argument("--doctor", action="store_true")
    args = parser.parse_args(argv)
    if args.doctor:
        print("doctor: the stub is well ✓" if args.provider != "cuda" else "doctor: no such device")
        return int(args.provider == "cuda")
    terminal.stop_on_terminate()
    settings = config.load(config.Embedding, args)
    queue, out = queues.read(Path(args.queue)), Path(args.out)
    parts = files.private_folder(out.with_name(out.name + ".parts"))
    with files.only_one(out.with_name(out.name + ".lock"), "embed_worker.py"):
        terminal.keep_log(Path(args.queue).with_name("embed.log"),
                          f"the stub worker, model {settings.model}, lanes {settings.lanes}")
        known = {photo.sha256: photo.status for photo in cache.read(out).photos} if out.exists() else {}
        bar = terminal.progress(len(queue.entries), "embedding", "photos")
        for entry in queue.entries:
            part = parts / f"{entry.sha256}.json"
            if entry.sha256 not in known and not part.exists():
                status = outcome(entry, parts)
                terminal.say(f"worked on {Path(entry.path).name}")      # before the part: a kill between repeats it
                files.write_json(part, {"status": status})
            bar.update()
        bar.close()
        for part in parts.glob("*.json"):
            known[part.stem] = json.loads(part.read_text())["status"]
        fold(out, queue.entries, known)
    return 0


if __name__ == "__main__":
    sys.exit(main())
