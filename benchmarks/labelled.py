"""The labelled photos of ../shared, as they are and spoiled, through the embed worker's pipeline: caches with truth.

    plain       as they lie there
    soft        shrunk until the largest face is 60 to 90 pixels, then blurred: old phones, faces in the background
    turned      30 of 100 turned by a quarter or half, without a mark that says so
    mirrored    10 of 100 beside their own mirror image, 10 of 100 in a collage with another photo
What becomes of a photo depends on its name alone. Caches and truth are kept in a folder, made if they are not there.
"""

import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = CHECKOUT.parent / "shared"
sys.path.insert(0, str(CHECKOUT))

from facesets.common import files  # noqa: E402
from facesets.embed import decode, packs, pipeline  # noqa: E402
from facesets.embed.analyser import Analyser  # noqa: E402
from facesets.formats import cache, distances, queue  # noqa: E402

PACKS = ("insightface_small", "opencv_zoo", "embed_512")
KINDS = ("plain", "soft", "turned", "mirrored")
SAME_FACE = 0.3         # overlap (IoU) from which a detected face is the labelled one
Label = dict[str, Any]  # {"box": (x, y, w, h), "identity": name or None, "ignore": bool}


def labels() -> dict[Path, list[Label]]:
    """Photo -> the faces that somebody named, or said that they are nobody."""
    return {SHARED / "photos" / part / name: label["faces"] for part in ("people", "groups") for name, label in
            sorted(json.loads((SHARED / "photos" / part / "labels.json").read_text()).items()) if "faces" in label}


def spoiled(kind: str) -> Iterator[tuple[Path, np.ndarray, list[Label]]]:
    """Each photo, its pixels (H, W, 3) BGR, and its labels, both as `kind` leaves them."""
    truth = labels()
    names = list(truth)
    for path, faces in truth.items():
        rng = np.random.default_rng(zlib.crc32(f"{kind} {path.relative_to(SHARED)}".encode()))
        bgr = decode.read_upright(path)
        if kind == "soft":
            bgr, faces = soft(bgr, faces, rng)
        elif kind == "turned" and rng.random() < 0.3:
            bgr, faces = turned(bgr, faces, int(rng.integers(1, 4)))
        elif kind == "mirrored" and (chance := rng.random()) < 0.2:
            other = names[rng.integers(len(names))]
            bgr, faces = (beside(bgr, faces, *mirror(bgr, faces)) if chance < 0.1 else
                          beside(bgr, faces, decode.read_upright(other), truth[other]))
        yield path, bgr, faces


def soft(bgr: np.ndarray, faces: list[Label], rng: np.random.Generator) -> tuple[np.ndarray, list[Label]]:
    largest = max((min(face["box"][2:]) for face in faces), default=100)
    scale = min(1.0, rng.uniform(60, 90) / largest)
    small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), rng.uniform(0.5, 1.5)), scaled(faces, scale)


def turned(bgr: np.ndarray, faces: list[Label], quarters: int) -> tuple[np.ndarray, list[Label]]:
    """Anticlockwise, as np.rot90."""
    for _ in range(quarters):
        width = bgr.shape[1]
        bgr = np.ascontiguousarray(np.rot90(bgr))
        faces = [{**face, "box": (y, width - x - w, h, w)} for face in faces for x, y, w, h in [face["box"]]]
    return bgr, faces


def mirror(bgr: np.ndarray, faces: list[Label]) -> tuple[np.ndarray, list[Label]]:
    width = bgr.shape[1]
    return bgr[:, ::-1], [{**face, "box": (width - x - w, y, w, h)} for face in faces for x, y, w, h in [face["box"]]]


def beside(left: np.ndarray, faces: list[Label], right: np.ndarray,
           others: list[Label]) -> tuple[np.ndarray, list[Label]]:
    """One picture of two, of the height of the left one."""
    scale = left.shape[0] / right.shape[0]
    right = cv2.resize(right, (max(1, round(right.shape[1] * scale)), left.shape[0]), interpolation=cv2.INTER_AREA)
    moved = [{**face, "box": (x + left.shape[1], y, w, h)} for face in scaled(others, scale)
             for x, y, w, h in [face["box"]]]
    return np.hstack([left, right]), [*faces, *moved]


def scaled(faces: list[Label], scale: float) -> list[Label]:
    return [{**face, "box": tuple(side * scale for side in face["box"])} for face in faces]


def embedded(pack: str, kind: str, keep: Path) -> cache.Cache:
    """The cache that the embed worker makes of these photos, where `keep` has none."""
    path = keep / f"{pack}-{kind}.npz"
    opened = packs.open_pack(pack if pack in packs.KNOWN else str(SHARED / "models" / pack), keep)
    if not path.exists():
        made = pipeline.run(photos(kind, keep), path, opened.recogniser.sha256, lambda: Analyser(
            opened, "cpu", distances.of(opened.recogniser.sha256)))
        print(f"{path}: {made.faces} faces, {made.noface} photos without, {made.errors} unreadable, "
              f"{made.elapsed:.0f} s", flush=True)
    return cache.read(path)


def photos(kind: str, keep: Path) -> queue.Queue:
    """The photos of a kind in `keep`, with what Immich would know of them; their truth beside them."""
    folder, entries, truth = keep / kind, [], {}
    folder.mkdir(parents=True, exist_ok=True)
    for number, (path, bgr, faces) in enumerate(spoiled(kind)):
        data = path.read_bytes() if kind == "plain" else cv2.imencode(
            ".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()
        place = folder / f"{number:04d}.jpg"
        place.write_bytes(data)
        height, width = bgr.shape[:2]
        boxes = [(x / width, y / height, (x + w) / width, (y + h) / height)
                 for x, y, w, h in (face["box"] for face in faces)]
        sha256 = files.sha256_of(place)
        if sha256 not in truth:
            entries.append(queue.Entry("", str(place), "", sha256, len(data), width=width, height=height,
                                       faces=tuple(map(queue.ImmichFace, boxes))))
        truth[sha256] = faces
    files.write_json(keep / f"{kind}.json", truth)
    return queue.Queue("labelled", "", tuple(entries))


def names_of(made: cache.Cache, kind: str, keep: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N,) name of each face, "" for a face without, and (N,) bool whether it is to be judged at all.

    A face that no label has is not judged: it may be anybody's. One with a label but no name is a bystander.
    """
    truth = json.loads((keep / f"{kind}.json").read_text())
    names, judged = np.full(len(made.faces), "", object), np.zeros(len(made.faces), bool)
    for number, photo in enumerate(made.photos):
        ours = np.flatnonzero(made.faces["photo"] == number)
        boxes = [np.array([x, y, x + w, y + h]) for x, y, w, h in (face["box"] for face in truth[photo.sha256])]
        pairs = sorted(((overlap(made.faces["box"][face], box), face, at) for face in ours
                        for at, box in enumerate(boxes)), key=lambda pair: -pair[0])
        taken: set[object] = set()
        for share, face, at in pairs:
            if share >= SAME_FACE and face not in taken and ("label", at) not in taken:
                taken |= {face, ("label", at)}
                label = truth[photo.sha256][at]
                names[face], judged[face] = label.get("identity") or "", not label.get("ignore")
    return names, judged


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    both = float(sides.prod())
    return both / (float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - both + 1e-9)


if __name__ == "__main__":
    for the_pack, the_kind in [pair.split(":") for pair in sys.argv[2:]]:
        embedded(the_pack, the_kind, Path(sys.argv[1]))
