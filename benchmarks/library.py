"""How the library holds up: many facesets, many faces.

Makes a library of FACESETS facesets with FACES faces in all (made-up vectors, small pictures), then measures status,
all centroids, a name and its undo, and how time and memory of `extend` and `export-swap` grow with the faces.
Run     python benchmarks/library.py [--facesets 1000] [--faces 100000] [--quick]
Exit    0 all goals met · 1 one is missed
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from facesets.common import files
from facesets.export import swap
from facesets.export.looks import Looks
from facesets.export.run import changing
from facesets.formats import cache, proposal
from facesets.formats.faceset import Contents, write_faces
from facesets.formats.vectors import unit_mean
from facesets.library import folder as folders
from facesets.library.store import Library, Manifest, write_manifest
from facesets.operations import edit, status

DIMENSION = 512
MODEL = cache.Model("made up", "b" * 64, "d" * 64, DIMENSION, 0.45, 0.55)


def people(count: int, each: int, seed: int) -> np.ndarray:
    """(count, each, DIMENSION) float32 unit rows around as many directions."""
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((count, 1, DIMENSION)) / np.sqrt(DIMENSION)
    rows = middle + 0.6 * rng.standard_normal((count, each, DIMENSION)) / np.sqrt(DIMENSION)
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)


def cache_of(rows: np.ndarray, photos: Sequence[Path], seed: int) -> cache.Cache:
    """One photo and one face a row; every photo shares the pixels of one of `photos`."""
    n = len(rows)
    faces = np.zeros(n, cache.FACE)
    faces["photo"], faces["box"], faces["quality"] = np.arange(n), (40, 40, 88, 88), np.linspace(0.9, 0.3, n)
    pictures = [cache.Photo(str(photos[number % len(photos)]), f"{seed:08x}{number:056x}", "faces", user="anna",
                            taken_at=f"{2000 + number % 25}-01-01T00:00:00") for number in range(n)]
    return cache.Cache(MODEL, pictures, faces, rows, np.full(n, 20, np.float32))


def make(root: Path, count: int, each: int, photos: Sequence[Path]) -> Library:
    """A library as a run of export-swap leaves it, written directly."""
    manifest = Manifest(count + 1, asdict(MODEL))
    picture = photos[0].read_bytes()
    for number, rows in enumerate(people(count, each, 1), 1):
        folder, faces = f"faceset_{number:03d}", cache_of(rows, photos, number)
        files.private_folder(root / folder)
        centroid = unit_mean(rows)
        entries = [{"rank": rank, "file": f"{rank:04d}.png", "face": key, "photo": photo.path, "sha256": photo.sha256,
                    "asset_id": "", "user": "anna", "taken_at": photo.taken_at, "quality": 0.5, "distance": 0.1,
                    "isolation": "alone", "light": [0.5, 0.0], "box": [40, 40, 88, 88], "parts": {}}
                   for rank, (key, photo) in enumerate(zip(cache.face_keys(faces), faces.photos, strict=True), 1)]
        for rank in range(1, each + 1):
            (root / folder / f"{rank:04d}.png").write_bytes(picture)
        (root / folder / "NAME.txt").write_text(f"Person {number}\n")
        write_faces(root / folder / "faces.npz", Contents(faces, np.arange(1, each + 1), centroid))
        digest = files.sha256_of(photos[0])
        record = folders.Record(folder, number, spread=0.15, users={"anna": each}, members=each, pictures=each,
                                years=[2000, 2024], faces=entries, model=asdict(MODEL),
                                files={item["file"]: digest for item in entries})
        folders.write_record(root / folder / "manifest.json", record)
        manifest.facesets.append(record)
    write_manifest(root / "manifest.json", manifest)
    return Library(root)


def detect(bgr: np.ndarray) -> tuple[np.ndarray, ...]:
    """The middle of any picture is its face; what a detector costs is measured elsewhere."""
    side = bgr.shape[0]
    box = np.array([[side / 4, side / 4, 3 * side / 4, 3 * side / 4]], np.float32)
    return box, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32)


OPTIONS = swap.Options(lambda: Looks((detect,)))


def seconds(act: Callable[[], object], times: int = 3) -> float:
    best = np.inf
    for _ in range(times):
        started = time.perf_counter()
        act()
        best = min(best, time.perf_counter() - started)
    return float(best)


def peak() -> float:
    """Peak memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def growth(place: Path, photos: Sequence[Path], sizes: Sequence[int]) -> tuple[list[float], list[float]]:
    """Seconds of export-swap, and of an extend by as many faces again, for each number of faces."""
    exported, extended = [], []
    for size in sizes:
        rows = people(size // 25, 50, size)
        faces = cache_of(rows.reshape(-1, DIMENSION), photos, size)
        keys = np.array(cache.face_keys(faces)).reshape(-1, 50)
        made = proposal.Proposal("bench", "bench", "2026-01-01T00:00:00Z", {}, (), facesets=tuple(
            proposal.Group(tuple(map(proposal.Face, mine[:25]))) for mine in keys))
        library = Library(Path(tempfile.mkdtemp(dir=place)))
        exported.append(seconds(lambda: swap.export(library, made, [faces], OPTIONS), 1))    # noqa: B023
        grown = replace(made, run="more", facesets=(), extend={
            f"faceset_{number:03d}": tuple(map(proposal.Face, mine[25:])) for number, mine in enumerate(keys, 1)})
        extended.append(seconds(lambda: swap.export(library, grown, [faces], OPTIONS), 1))  # noqa: B023
        print(f"  {size:6} faces: export-swap {exported[-1]:6.2f} s, extend by as many {extended[-1]:6.2f} s, "
              f"peak {peak():5.0f} MB")
    return exported, extended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facesets", type=int, default=1000)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="a tenth of it, to see that it runs")
    args = parser.parse_args()
    count, each = (args.facesets // 10, 10) if args.quick else (args.facesets, args.faces // args.facesets)
    sizes = (250, 500) if args.quick else (1000, 2000, 4000)
    goals = []
    with tempfile.TemporaryDirectory(prefix="facesets-bench-") as name:
        place = Path(name)
        photos = [place / f"photo{number}.png" for number in range(8)]
        for number, path in enumerate(photos):
            cv2.imwrite(str(path), np.full((128, 128, 3), 20 * number, np.uint8))
        library = make(place / "library", count, each, photos)
        print(f"{count} facesets, {count * each} faces")

        def goal(what: str, value: float, limit: float, unit: str) -> None:
            goals.append(value <= limit)
            print(f"{what:<48} {value:8.2f} {unit:<4} (goal {limit:g})")
        goal("status", seconds(lambda: status.status(place / "work", library)), 1.0, "s")
        goal("centroids of all canonical facesets", seconds(library.canonical), 2.0, "s")
        print(f"{'faces that are settled':<48} {seconds(library.settled, 1):8.2f} s")

        def rename() -> None:
            with changing(library, "name") as run:
                edit.name(run, "faceset_001", "Ada")
            library.undo()
        print(f"{'one name, and its undo':<48} {seconds(rename):8.2f} s")
        growth(place, photos, sizes[:1])    # warms up
        before = peak()
        exported, extended = growth(place, photos, sizes)
        times = sizes[-1] / sizes[0]
        goal(f"export-swap of {times:.0f} times the faces takes", exported[-1] / exported[0], 1.4 * times, "x")
        goal(f"extend by {times:.0f} times the faces takes", extended[-1] / extended[0], 1.4 * times, "x")
        goal("more memory for that", peak() - before, 200, "MB")
    return 0 if all(goals) else 1


if __name__ == "__main__":
    sys.exit(main())
