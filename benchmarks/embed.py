"""How fast photos become faces: the plain loop, the floor, and ours, in one run on the same photos.

Run     python benchmarks/embed.py [--model FOLDER] [--photos 42] [--rounds 3] [--provider openvino]
Photos are made from real ones, always the same: 12 megapixels and 0.8 megapixels, with 0 to 6 faces each.

  a  plain loop: cv2.imread + FaceAnalysis.get (detector and recogniser only), default sessions, one photo at a time
  b  floor: CPU seconds of decoding + bare detector + alignment + bare recogniser, one thread each, over the cores
  c  ours: the worker's whole run after the models are loaded, saving included
Every measurement is a process of its own; a, b and c take turns, and the fastest of the rounds counts.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from facesets.common import files  # noqa: E402
from facesets.embed import align, decode, detect, lanes, packs, pipeline  # noqa: E402
from facesets.embed.analyser import Analyser  # noqa: E402
from facesets.formats import queue as queues  # noqa: E402

SHARED = CHECKOUT.parent / "shared"
SIZES = {"12 MP": (4032, 3024), "0.8 MP": (1024, 768)}
CORES = lanes.default_lanes("cpu")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(SHARED / "models/insightface_small"), help="InsightFace pack")
    parser.add_argument("--photos", type=int, default=42)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--provider", default="cpu", help="of ours; a and b stay on the CPU provider")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--queue", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.part:
        print(json.dumps(PARTS[args.part](args.model, queues.read(args.queue), args.provider)))
        return 0
    print(f"{CORES} cores, {args.photos} photos of each size, {Path(args.model).name}, fastest of {args.rounds} rounds")
    for name, size in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            queue = make_photos(Path(folder), size, args.photos, Analyser(packs.open_pack(args.model, Path(folder))))
            queues.write(Path(folder) / "queue.json", queue)
            flags = ["--model", args.model, "--provider", args.provider]
            compare(name, flags, Path(folder) / "queue.json", args.rounds)
    return 0


def compare(name: str, flags: Sequence[str], queue: Path, rounds: int) -> None:
    """Run a, b and c in turns and print the fastest of each with what follows from them."""
    best: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for part in PARTS:
            command = [sys.executable, __file__, *flags, "--part", part, "--queue", str(queue)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
            if part not in best or found["seconds"] < best[part]["seconds"]:
                best[part] = found
    a, b, c = (best[part] for part in PARTS)
    photos = a["photos"]
    print(f"\n{name}: {photos:.0f} photos, {c['faces']:.0f} faces (plain loop {a['faces']:.0f})")
    for part, found in best.items():
        print(f"  {part} {found['seconds'] / photos * 1000:7.1f} ms a photo {photos / found['seconds']:6.2f} a second  "
              f"CPU {found['cpu'] / photos * 1000:6.1f} ms a photo  {found.get('detail', '')}")
    print(f"  ours is {a['seconds'] / c['seconds']:.2f} times the plain loop; the floor takes "
          f"{b['seconds'] / c['seconds']:.1%} of ours; in CPU seconds {a['cpu'] / c['cpu']:.2f} times and "
          f"{b['cpu'] / c['cpu']:.1%}")


def portraits(analyser: Analyser) -> list[np.ndarray]:
    """Faces with room around them, cut out of the labelled photos, or of the one photo that InsightFace brings."""
    import insightface
    own = [Path(insightface.__file__).parent / "data/images/t1.jpg"]
    found = []
    for path in sorted(SHARED.glob("photos/people/*/*.jpg"))[::40] or own:
        bgr = decode.read_upright(path)
        for x1, y1, x2, y2 in analyser.detect(bgr)[0]:
            room = (x2 - x1) * 0.6
            found.append(bgr[max(int(y1 - room), 0):int(y2 + room), max(int(x1 - room), 0):int(x2 + room)])
    return found


def make_photos(folder: Path, size: tuple[int, int], count: int, analyser: Analyser) -> queues.Queue:
    """`count` JPEG files of `size` with 0 to 6 faces on a grainy background, and the queue that lists them."""
    width, height = size
    random = np.random.default_rng(4)
    faces, entries = portraits(analyser), []
    for number in range(count):
        photo = cv2.resize(random.integers(40, 200, (12, 16, 3), np.uint8), size, interpolation=cv2.INTER_CUBIC)
        cv2.add(photo, random.integers(0, 12, photo.shape, np.uint8), dst=photo)
        side = height // 3
        for place in range(number % 7):
            x, y = (place % 3) * width // 3, (place // 3) * height // 2 + height // 12
            face = faces[random.integers(len(faces))]
            photo[y:y + side, x:x + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
        path = folder / f"{number:04d}.jpg"
        cv2.imwrite(str(path), photo, [cv2.IMWRITE_JPEG_QUALITY, 92])
        entries.append(queues.Entry(f"asset-{number}", str(path), "", files.sha256_of(path), path.stat().st_size))
    return queues.Queue("benchmark", "", tuple(entries))


def plain_loop(model: str, queue: queues.Queue, provider: str) -> dict[str, Any]:
    from insightface.app import FaceAnalysis
    app = FaceAnalysis(model, allowed_modules=["detection", "recognition"], providers=["CPUExecutionProvider"])
    app.prepare(0, det_size=(640, 640))
    warnings.simplefilter("ignore")
    app.get(cv2.imread(queue.entries[-1].path))
    wall, cpu = time.perf_counter(), time.process_time()
    faces = sum(len(app.get(cv2.imread(entry.path))) for entry in queue.entries)
    return result(queue, time.perf_counter() - wall, time.process_time() - cpu, faces)


def floor(model: str, queue: queues.Queue, provider: str) -> dict[str, Any]:
    """Every step alone on one thread: nothing waits, nothing is saved, tensors are prepared outside the clock."""
    cv2.setNumThreads(1)
    analyser = Analyser(packs.open_pack(model, Path()))
    analyser.detect(np.zeros((640, 640, 3), np.uint8))
    spent = dict.fromkeys(("decode", "detect", "align", "recognise"), 0.0)
    faces = 0

    def clocked(step, call):
        started = time.process_time()
        value = call()
        spent[step] += time.process_time() - started
        return value

    for entry in queue.entries:
        bgr = clocked("decode", lambda path=entry.path: cv2.imread(path))
        blob = analyser.kind.blob(detect.frame(bgr).square)
        clocked("detect", lambda blob=blob: analyser.detector.run(blob))
        landmarks = analyser.detect(bgr)[2]
        crops = clocked("align", lambda bgr=bgr, landmarks=landmarks: align.crops(bgr, landmarks))
        for blob in map(analyser.face_blob, crops):
            clocked("recognise", lambda blob=blob: analyser.recogniser.run(blob))
        faces += len(crops)
    detail = ", ".join(f"{step} {seconds / len(queue.entries) * 1000:.1f}" for step, seconds in spent.items())
    return {**result(queue, sum(spent.values()) / CORES, sum(spent.values()), faces), "detail": f"({detail} ms)"}


def ours(model: str, queue: queues.Queue, provider: str) -> dict[str, Any]:
    pack = packs.open_pack(model, Path())
    analyser = Analyser(pack, provider)
    lanes.look(queue.entries[-1], analyser)     # the first call of a session plans its memory; (a) had one as well
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        summary = pipeline.run(queue, Path(folder) / "cache.npz", pack.recogniser.sha256, lambda: analyser)
        found = result(queue, time.perf_counter() - wall, time.process_time() - cpu, summary.faces)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return {**found, "detail": f"({analyser.provider}, {peak} MB at most)"}


def result(queue: queues.Queue, wall: float, cpu: float, faces: int) -> dict[str, Any]:
    return {"photos": len(queue.entries), "seconds": wall, "cpu": cpu, "faces": faces}


PARTS = {"a": plain_loop, "b": floor, "c": ours}

if __name__ == "__main__":
    sys.exit(main())
