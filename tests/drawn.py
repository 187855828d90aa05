"""Drawn people for tests that need no model: a face is a disc of one colour, and a detector that finds such discs.

The rest is real: photos on disk, caches, unit vectors per person, the whole of the library and the export.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

import sort_faces
from facesets.common import files
from facesets.embed import align
from facesets.export.draft import Options
from facesets.export.embeddings import W600K_R50
from facesets.export.looks import Looks
from facesets.export.run import changing
from facesets.formats import cache
from facesets.formats.proposal import Face, Group, Proposal
from facesets.library.run import Run
from facesets.library.store import Library

MODEL = cache.Model("drawn", W600K_R50, "d" * 64, 512, 0.45, 0.55)
SKIN = (60, 120, 220)       # BGR; nothing else in the drawings comes near it
NEAR = (21, 81, 181), (99, 159, 255)    # less than 40 to each side of it
POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)   # parts of a disc's box
Box = tuple[float, float, float, float]


def detect(bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4), scores (n,), landmarks (n, 5, 2) of the discs in a picture, largest first."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(cv2.inRange(bgr, *NEAR))
    boxes = [(x, y, x + w, y + h) for x, y, w, h, area in stats[1:] if area > 200 and 0.25 < w / h < 4]
    boxes.sort(key=lambda box: box[0] - box[2])
    found = np.array(boxes, np.float32).reshape(-1, 4)
    corner, sides = found[:, None, :2], found[:, None, 2:] - found[:, None, :2]
    return found, np.ones(len(boxes), np.float32), corner + POINTS * sides


LOOKS = Looks((detect,))
OPTIONS = Options(lambda: LOOKS)


def photo(path: Path, boxes: Sequence[Box], seed: int, size: tuple[int, int] = (480, 640)) -> str:
    """Draw a photo with a disc in each box; its SHA-256."""
    pixels = np.empty((*size, 3), np.uint8)
    pixels[:] = (seed % 50, seed // 50 % 50, seed // 2500 % 50)     # no two photos have the same bytes
    for x1, y1, x2, y2 in boxes:
        cv2.ellipse(pixels, (round((x1 + x2) / 2), round((y1 + y2) / 2)), (round((x2 - x1) / 2), round((y2 - y1) / 2)),
                    0, 0, 360, SKIN, -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return files.sha256_of(path)


def person(seed: int, dimension: int = 512) -> np.ndarray:
    """The unit vector that a person's faces lie around."""
    vector = np.random.default_rng(seed).standard_normal(dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def face_of(middle: np.ndarray, seed: int, spread: float = 0.6) -> np.ndarray:
    """A unit vector near `middle`; spread 0.6 puts it at about 0.15 cos-dist, and two of them at about 0.27."""
    noise = np.random.default_rng(seed).standard_normal(len(middle)) / np.sqrt(len(middle))
    vector = middle + spread * noise
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def library_photos(folder: Path, people: Sequence[int], each: int, user: str = "anna", first_year: int = 2010,
                   together: int = 0) -> cache.Cache:
    """A cache of `each` photos of every person, one disc a photo, and of `together` photos that show them all."""
    photos: list[cache.Photo] = []
    rows: list[tuple[int, Box, np.ndarray, int]] = []
    for who in people:
        for number in range(each):
            path = folder / f"p{who:03d}" / f"{number:03d}.png"
            box = (200.0, 120.0, 360.0 + number, 280.0 + number)
            sha256 = photo(path, [box], 1000 * who + number)
            photos.append(cache.Photo(str(path), sha256, "faces", taken_at=f"{first_year + number}-06-01T12:00:00",
                                      width=640, height=480, user=user))
            rows.append((len(photos) - 1, box, face_of(person(who), 1000 * who + number), who))
    for number in range(together):
        path = folder / "together" / f"{number:03d}.png"
        boxes = [(60.0 + 150 * place, 150.0, 180.0 + 150 * place, 270.0) for place in range(len(people))]
        sha256 = photo(path, boxes, 900_000 + number)
        photos.append(cache.Photo(str(path), sha256, "faces", taken_at="2015-01-01T00:00:00", width=640, height=480,
                                  user=user))
        rows += [(len(photos) - 1, box, face_of(person(who), 900_000 + number), who)
                 for box, who in zip(boxes, people, strict=True)]
    return cache_of(photos, rows)


def cache_of(photos: list[cache.Photo], rows: list[tuple[int, Box, np.ndarray, int]]) -> cache.Cache:
    faces = np.zeros(len(rows), cache.FACE)
    faces["photo"] = [row[0] for row in rows]
    faces["box"] = [row[1] for row in rows]
    faces["det_score"], faces["blur"], faces["face_short"] = 0.9, 300, 160
    faces["yaw"] = [5 * (number % 9) - 20 for number in range(len(rows))]
    faces["quality"] = [0.9 - 0.01 * (number % 37) for number in range(len(rows))]
    return cache.Cache(MODEL, photos, faces, np.array([row[2] for row in rows], np.float32),
                       np.full(len(rows), 20, np.float32))


def measured(faces: cache.Cache) -> cache.Cache:
    """The cache with the photos' bytes as they are by now, and with landmarks and sharpness as embed measures them."""
    faces.photos[:] = [replace(photo, sha256=files.sha256_of(photo.path)) for photo in faces.photos]
    for face in faces.faces:
        face["landmarks"] = face["box"][:2] + POINTS * (face["box"][2:] - face["box"][:2])
        crops = align.crops(cv2.imread(faces.photos[face["photo"]].path), face["landmarks"][None])
        face["blur"] = align.blur(crops)[0]
    return faces


def proposal_of(faces: cache.Cache, run: str = "20260101-000000-test") -> Proposal:
    """Everybody in the cache by the folder of the photo, nobody of "together"; made when the library was as it is."""
    groups: dict[str, list[Face]] = {}
    for key, row in zip(cache.face_keys(faces), faces.faces, strict=True):
        who = Path(faces.photos[row["photo"]].path).parent.name
        if who != "together":
            groups.setdefault(who, []).append(Face(key))
    return Proposal(run, "test", "2099-01-01T00:00:00Z", {}, (), facesets=tuple(
        Group(tuple(members), proposed_name=who) for who, members in sorted(groups.items())))


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a library that a person sees, with its bytes."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*"))
            if path.is_file() and not path.relative_to(root).parts[0].startswith(".")}


def command(library: Library, *words: str) -> int:
    """sort_faces.py as the operator types it, on this library, beside which its data root lies."""
    verb, *rest = words
    return sort_faces.main([verb, "--data-root", str(library.root.parent / "work"), "--library", str(library.root),
                            *rest])


def change(library: Library, act: Callable[[Run], object]) -> Run:
    """One run of the library, with everything that the tools read of it."""
    with changing(library, "test") as run:
        act(run)
    return run
