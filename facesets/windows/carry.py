"""The steps of finalize_immich.sh that take more than a line of shell: the lock, the checks, the way there and back.

Run     python -m facesets.windows.carry VERB ...     (every verb may be killed at any moment and run again)
    lock FD WHO                         take the lock that the shell holds open as FD, or be refused
    check QUEUE CACHE [--windows PYTHON --there FOLDER --shares X]     before anything is done
    worker CHECKOUT FOLDER              make FOLDER the worker part
    pack PACK FOLDER                    copy a model pack
    forth QUEUE CACHE THERE [--shares X]
    back QUEUE CACHE THERE              bring cache and log home, check the cache, leave nothing there
Exit    0 done · 1 failed · 2 paused, run the same command again · 64 usage · 78 settings

On the Windows side, below WIN_VENV: face-sets/worker/ the worker part · face-sets/models/ packs · face-sets/<user>/
queue.json, immich_<user>.npz, its parts and embed.log while a run lasts. Faces are biometric data, so `back` removes
the last.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..common import files, paths, terminal
from ..common.errors import Failure, Paused, SettingsError, of_lock
from ..formats import queue as queues
from . import copies

BYTES_PER_PHOTO = 16 << 10      # room for its faces: 2 of 2.2 KB (512 float32 and their meta), in the parts, the cache
                                # and the cache that replaces it, and as much again to spare
SOME = 10                       # photos that Windows is asked for before anything starts
SHORT = 240                     # characters of a path that Windows opens as it is; the worker does more for longer ones
SPARE = 64 << 20                # bytes left free on any drive; Windows gets slow without
PROBE = ("import os, sys; sys.stdout.reconfigure(encoding='utf-8'); "       # what Windows cannot see, one path a line
         "print(*[path for path in sys.argv[1:] if not os.path.isfile(path)], sep='\\n')")
PROBE_SECONDS = 120             # a disk that sleeps, a network drive that connects, a virus scanner: all of them once


def lock(descriptor: int, who: str) -> None:
    """Take the lock on the open file `descriptor`, which the shell and all that it starts keep; else Paused."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            with open(f"/dev/fd/{descriptor}", encoding="utf-8", errors="replace") as file:
                holder = file.read(1000).strip()
        except OSError:
            holder = ""
        raise Paused(f"{holder or 'another run'} is at work here, or the worker that it started; wait until it ends, "
                     "then run the same command again") from None
    except OSError as error:
        raise of_lock(error, "finalize.lock") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{who} (process {os.getppid()} on {socket.gethostname()}, since "
                         f"{time.strftime('%Y-%m-%d %H:%M:%S')})\n".encode())


def check(queue: Path, here: Path, windows: Path | None, there: Path | None, shares: dict[str, str]) -> int:
    """Raise unless the queue is one, there is room for the work, and Windows sees the photos. Returns the photos."""
    entries = queues.read(queue).entries
    size = here.stat().st_size if here.exists() else 0
    needed = SPARE + 3 * size + 2 * queue.stat().st_size + BYTES_PER_PHOTO * len(entries)
    for folder in (here.parent, there):
        if folder is not None:
            _room(folder, needed, len(entries))
    if windows is not None:
        some = _translated(entries, shares)[::len(entries) // SOME + 1]
        _seen(windows, [entry.win_path for entry in some if len(entry.win_path) < SHORT and Path(entry.path).exists()])
    return len(entries)


def forth(queue: Path, here: Path, there: Path, shares: dict[str, str]) -> int:
    """Bring queue and cache to the folder `there`; work that an interrupted run left there is kept.

    `here` is the cache on this side, which may not exist yet. It wins over what lies there if it changed since it was
    carried (a `forget`, a --local run): nobody may come back from the other side. Returns the number of photos.
    """
    content = queues.read(queue)
    base, now = there / "carried.sha256", _state(here)
    if _carried(base) != now:
        if _carried(base) and _state(there / here.name) != now:     # not so where only `back` was interrupted
            terminal.say(f"{here} changed since it was carried, so Windows starts from it again")
        _clear(there, queue)
        if here.exists():
            copies.copy(here, there / here.name)
    with copies.in_words(there / "queue.json"):
        files.write_bytes(base, now.encode("ascii"))
        queues.write(there / "queue.json", replace(content, entries=_translated(content.entries, shares)))
    return len(content.entries)


def back(queue: Path, here: Path, there: Path) -> int:
    """Bring the cache home once it is complete, and remove the folder there. Returns the photos of the queue.

    Windows exit statuses reach WSL modulo 256, so that a crash can look like 0: an outcome of every photo is the proof.
    """
    from ..formats import cache  # numpy takes longer to import than the other verbs to run

    with files.only_one(cache.lock_of(here), "finalize_immich.sh"):      # nobody forgets a person meanwhile
        if _carried(there / "carried.sha256") != _state(here):
            raise Paused(f"{here} changed while Windows was at work; the same command starts from it again")
        result = there / here.name
        wanted = {entry.sha256 for entry in queues.read(queue).entries}
        missing = wanted - ({photo.sha256 for photo in cache.read(result).photos} if result.exists() else set())
        if missing:
            raise Failure(f"the worker ended, but {len(missing)} of {len(wanted)} photos have no outcome in {result}; "
                          "run the same command again")
        if result.exists():
            copies.copy(result, here)
    _clear(there, queue)
    return len(wanted)


def _room(folder: Path, needed: int, photos: int) -> None:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Paused(f"{folder} has {free >> 20} MB free, {photos} photos need {needed >> 20} MB; make room, then run "
                     "the same command again")


def _translated(entries: Sequence[queues.Entry], shares: dict[str, str]) -> tuple[queues.Entry, ...]:
    """The entries, each with the path by which Windows sees it; SettingsError where there is none."""
    known = tuple(replace(entry, win_path=paths.wsl_to_win(entry.path, shares=shares) or entry.win_path)
                  for entry in entries)
    unseen = [entry.path for entry in known if not entry.win_path]
    if unseen:
        raise SettingsError(f"Windows cannot see {len(unseen)} of {len(known)} photos, such as "
                            f"{terminal.safe(unseen[0])}; set FACESETS_WINDOWS_SHARES=FOLDER=X: "
                            "(docs/windows.md), or embed here with --local")
    return known


def _seen(python: Path, win_paths: Sequence[str]) -> None:
    """Raise unless the Python of the other side starts and sees these photos."""
    try:
        run = subprocess.run([python, "-X", "utf8", "-c", PROBE, *win_paths],
                             stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        raise Paused(f"Windows did not answer for {PROBE_SECONDS} s; look at it, then run the same command "
                     "again") from None
    except OSError as error:
        raise SettingsError(f"{python} cannot be started ({error.strerror}); if other .exe files cannot either: "
                            "wsl --shutdown in a Windows terminal; else bash finalize_immich.sh "
                            "--setup-windows") from None
    if run.returncode:
        last = (run.stderr.decode("utf-8", "replace").split("\n") or [""])[0].strip()
        raise SettingsError(f"{python} does not run ({terminal.safe(last) or f'status {run.returncode}'}); "
                            "bash finalize_immich.sh --setup-windows")
    unseen = run.stdout.decode("utf-8", "replace").strip()
    if unseen:
        raise Paused(f"Windows cannot see {terminal.safe(unseen.splitlines()[0])}; is that drive connected for your "
                     "Windows user, and not only as administrator? FACESETS_WINDOWS_SHARES names other letters")


def _state(path: Path) -> str:
    return files.sha256_of(path) if path.exists() else "none"


def _carried(base: Path) -> str:
    """The state of our cache when it was carried; "" where nothing was, or the carrying did not end."""
    return base.read_text(encoding="ascii", errors="replace").strip() if base.exists() else ""


def _clear(folder: Path, queue: Path) -> None:
    """Leave nothing there; what the worker said comes home, if it can, and once."""
    with contextlib.suppress(OSError):
        said, home = (folder / "embed.log").read_bytes(), queue.with_name("embed.log")
        if not (home.exists() and home.read_bytes().endswith(said)):    # so it is where the removal did not end
            with files.open_log(home) as log:
                log.write(said)
    with copies.in_words(folder):
        (folder / "carried.sha256").unlink(missing_ok=True)     # first: what a killed removal leaves is void
        if folder.exists():
            shutil.rmtree(folder)


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    parser = terminal.Parser(__doc__, prog="facesets.windows.carry")
    parser.add_argument("verb", choices=("lock", "check", "worker", "pack", "forth", "back"))
    parser.add_argument("operands", nargs="+")
    parser.add_argument("--windows", type=Path, metavar="PYTHON")
    parser.add_argument("--there", type=Path, metavar="FOLDER")
    parser.add_argument("--shares", default="", metavar="X")
    args = parser.parse_args(argv)
    if len(args.operands) != (3 if args.verb in ("forth", "back") else 2):
        parser.error(f"{args.verb}: wrong number of operands")
    shares = paths.parse_shares(args.shares)
    first, second, *third = map(Path, args.operands)
    if args.verb == "lock":
        lock(int(args.operands[0]), args.operands[1])
    elif args.verb == "check":
        terminal.say(f"{check(first, second, args.windows, args.there, shares)} photos in {first}")
    elif args.verb == "forth":
        forth(first, second, third[0], shares)
    elif args.verb == "back":
        terminal.say(f"{back(first, second, third[0])} photos have an outcome in {second}")
    else:
        (copies.carry_worker if args.verb == "worker" else copies.carry_pack)(first, second)
    return 0


if __name__ == "__main__":
    sys.exit(main())
