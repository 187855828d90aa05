"""The stage against the way it replaces, on the same local server: requests, bytes, time, photos.

The old way pages `/search/metadata` by offset, asks `/faces` once an asset, downloads whatever has a face that is big
enough and hashes it afterwards. The library is made up: 5 % videos, bursts of one second, a block of scans of one date,
45 % with faces, and files in an external library whose bytes were uploaded as well. Every answer comes after --delay.

Run     python benchmarks/stage.py [--assets 54000] [--workers 8] [--delay 0.01]
        python benchmarks/stage.py --assets 1000000 --list-only       memory and own time of a listing
        python benchmarks/stage.py --assets 8000 --saturation         requests in flight while each answer takes long
Exit    0 the new way saw every image with fewer requests and bytes, or kept its workers busy · 1 it did not
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import requests  # noqa: E402
from immich_lab.library_bulk import fill  # noqa: E402
from immich_lab.request_log import Request  # noqa: E402
from immich_lab.server import LabServer  # noqa: E402
from PIL import Image  # noqa: E402

from facesets.common import terminal  # noqa: E402
from facesets.immich import boxes  # noqa: E402

KEEP_LOG = 100_000      # assets up to which each request is kept, to know how many were in flight


def photo(number: int, side: int) -> bytes:
    image = Image.frombytes("RGB", (side, side), random.Random(number).randbytes(3 * side * side))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return out.getvalue()


def serve(pipe: Connection, args: argparse.Namespace) -> None:
    """Be the server: answer "clear" and "report" on the pipe until it closes."""
    small, large = [photo(number, 130) for number in range(20)], photo(99, 480)
    with LabServer((2, 7, 2)) as server:
        user = server.add_user("bench")
        key = server.add_key(user)
        copies = min(1000, args.assets // 50)
        fill(server.library, user, args.assets - 2 * copies, photos=() if args.list_only else small,
             faces=0.05 if args.list_only else 0.45)
        for number in range(copies):
            data = large + number.to_bytes(16, "big") + bytes(number % 100)
            for external in (False, True):
                path = f"/mnt/archive/{number}.jpg" if external else None
                asset = server.add_asset(user, data, name=f"SCAN_{number:04}.jpg", external=external, path=path,
                                         taken=1_600_000_000_000 + number * 10_000)
                server.library.add_face(asset, server.face((10, 10, 300, 300), 480, 480))
        if args.delay:
            server.faults.add("delay", seconds=args.delay)
        server.log.keep = args.assets <= KEEP_LOG
        images = sum(asset.type == "IMAGE" for asset in server.library.assets.values())
        pipe.send({"url": server.url, "key": key, "images": images})
        while pipe.recv() == "report":
            asked = list(server.log)
            files = [one for one in asked if one.path.endswith("/original")]
            pipe.send({"requests": len(asked), "bytes": sum(one.sent for one in asked), "files": len(files),
                       "in flight": in_flight(files), "in flight, whole run": in_flight(asked),
                       "cpu": time.process_time()})
            server.log.clear()


def in_flight(asked: Sequence[Request]) -> float:
    """How many of these requests were being answered on average, from the first to the end of the last."""
    if not asked:
        return 0.0
    span = max(one.began + one.seconds for one in asked) - min(one.began for one in asked)
    return sum(one.seconds for one in asked) / span


def saturation(args: argparse.Namespace, root: Path) -> int:
    """Stage the same library with each number of workers and each delay; 0 if nine tenths of them were kept busy."""
    print(f"{args.assets} assets; load before: {os.getloadavg()[0]:.2f}\n\n| delay, ms | workers | downloads | seconds "
          "| in flight, downloads | in flight, whole run | own CPU s | server's CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    busy = True
    for delay, workers in ((0.1, 8), (0.1, 32), (0.2, 8), (0.2, 32)):
        about, report = started(argparse.Namespace(**{**vars(args), "delay": delay}))
        before = report()["cpu"]
        run = timed(stage_command(workers), environment(about, root / f"{delay} {workers}"))
        saw = report()
        share, whole = saw["in flight"] / workers, saw["in flight, whole run"] / workers
        print(f"| {1000 * delay:.0f} | {workers} | {saw['files']} | {run['seconds']:.1f} | {share:.1%} | {whole:.1%} | "
              f"{run['cpu']:.1f} | {saw['cpu'] - before:.1f} |", flush=True)
        busy = busy and share >= 0.9
    return 0 if busy else 1


def old_way(url: str, key: str, folder: Path, workers: int) -> dict[str, Any]:
    """What the design before this one did, without its mistakes of counting."""
    local = threading.local()

    def session() -> requests.Session:
        if not hasattr(local, "session"):
            local.session = requests.Session()
            local.session.headers["x-api-key"] = key
        found: requests.Session = local.session
        return found
    items: dict[str, Any] = {}
    page: Any = 1
    while page:
        found = session().post(f"{url}/api/search/metadata", json={
            "size": 1000, "page": int(page), "type": "IMAGE", "withExif": True}).json()["assets"]
        items |= {item["id"]: item for item in found["items"]}
        page = found["nextPage"]
    hashes: set[str] = set()
    counts = {"downloaded": 0, "duplicates": 0}
    lock = threading.Lock()

    def one(item: dict[str, Any]) -> None:
        faces = session().get(f"{url}/api/faces", params={"id": item["id"]}).json()
        if boxes.measure(faces, boxes.upright_size(item))[0] < 90:
            return
        path = folder / f"{item['id']}.jpg"
        path.write_bytes(session().get(f"{url}/api/assets/{item['id']}/original").content)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with lock:
            counts["downloaded"] += 1
            if digest in hashes:
                counts["duplicates"] += 1
                path.unlink()
            hashes.add(digest)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, items.values()))
    return {"seen": len(items), "photos": len(hashes), "found twice after the download": counts["duplicates"]}


def timed(command: list[str], extra: dict[str, str]) -> dict[str, Any]:
    """Run it; its JSON, with wall time, own CPU time and peak memory."""
    began = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, **extra}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[1]} ended with {os.waitstatus_to_exitcode(status)}")
    return {**json.loads(out), "seconds": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime,
            "megabytes": usage.ru_maxrss / 1024}


def started(args: argparse.Namespace) -> tuple[dict[str, Any], Callable[[], dict[str, Any]]]:
    """A server in a process of its own: what it serves, and a function that says what it was asked since."""
    pipe, end = multiprocessing.Pipe()
    multiprocessing.Process(target=serve, args=(end, args), daemon=True).start()
    about: dict[str, Any] = pipe.recv()

    def report() -> dict[str, Any]:
        pipe.send("report")
        value: dict[str, Any] = pipe.recv()
        return value
    return about, report


def environment(about: dict[str, Any], root: Path) -> dict[str, str]:
    return {"IMMICH_URL": about["url"], "IMMICH_API_KEY": about["key"], "FACESETS_DATA_ROOT": str(root)}


def stage_command(workers: int) -> list[str]:
    return [sys.executable, str(ROOT / "immich_stage.py"), "--user", "bench", "--json", "--workers", str(workers)]


def compare(args: argparse.Namespace, root: Path) -> int:
    about, report = started(args)
    stage = stage_command(args.workers) + (["--dry-run"] if args.list_only else [])
    print(f"{about['images']} images, {args.workers} workers, {args.delay * 1000:.0f} ms to each answer; load before: "
          f"{os.getloadavg()[0]:.2f}\n")
    rows = []
    if not args.list_only:
        (root / "old").mkdir(parents=True)
        command = [sys.executable, __file__, "--old", about["url"], about["key"], str(root / "old"), str(args.workers)]
        rows.append(("old way", timed(command, {}), report()))
    new = timed(stage, environment(about, root))
    rows.append(("stage", new, report()))
    rows.append(("stage again, unchanged", timed(stage, environment(about, root)), report()))
    print("| | images seen | photos | requests | MB sent | seconds | own CPU s | CPU ms an asset | peak MB "
          "| downloads in flight |\n|---|---|---|---|---|---|---|---|---|---|")
    for name, run, server_saw in rows:
        asked = server_saw["requests"] or run.get("requests", 0)
        seen, photos = run.get("total_assets_seen", run.get("seen")), run.get("staged_count", run.get("photos"))
        print(f"| {name} | {seen} | {photos} | {asked} | {server_saw['bytes'] / 1e6:.1f} | {run['seconds']:.1f} | "
              f"{run['cpu']:.1f} | {1000 * run['cpu'] / about['images']:.3f} | {run['megabytes']:.0f} | "
              f"{server_saw['in flight']:.2f} of {args.workers} |")
    print(f"\nbefore the first download: {new['requests_before_downloads']} requests; gate held: {new['gate_held']}; "
          f"known before: {new['deduped_against_staged']}, {new['bytes_saved'] / 1e6:.1f} MB saved")
    good = new["total_assets_seen"] == about["images"] and new["gate_held"]
    if not args.list_only:
        good = good and rows[1][2]["requests"] < rows[0][2]["requests"] and rows[1][2]["bytes"] < rows[0][2]["bytes"]
    return 0 if good else 1


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    parser = terminal.Parser(__doc__, prog="stage.py")
    parser.add_argument("--assets", type=int, default=54_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--delay", type=float, default=0.01, help="seconds before each answer")
    parser.add_argument("--list-only", action="store_true", help="no downloads, no old way")
    parser.add_argument("--saturation", action="store_true", help="8 and 32 workers, 100 and 200 ms to each answer")
    parser.add_argument("--old", nargs=4, metavar=("URL", "KEY", "FOLDER", "WORKERS"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.old:
        url, key, folder, workers = args.old
        print(json.dumps(old_way(url, key, Path(folder), int(workers))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return (saturation if args.saturation else compare)(args, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
