"""Contact sheets: the best faces of a faceset, and those least like the others, as one small picture each.

They lie in `_report/` beside the page, named by what is on them, so that a second report makes only what changed and
a page that is open keeps its pictures until the next one has been written.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..common import files, terminal
from ..common.errors import Failure
from ..embed import decode
from ..export import crop
from .shelf import Set

FOLDER = "_report"      # begins with _, so that it is no faceset
TILE = 128              # pixels; shown at 50 to 90, twice that on a dense screen
COLUMNS = 6             # on a phone a tile is then still wider than a fingertip
BEST, ODD = 12, 6       # faces on the two sheets
CUT = 0.13              # of a picture on each side; half of what surrounds the face, so that one sees the face
WEBP_QUALITY = 78
CONTEXT = 0.35          # part of the face box around the cut-out of a face without a picture of its own


@dataclass(frozen=True)
class Sheet:
    """A picture of tiles, row by row."""

    file: str               # relative to the page
    faces: tuple[int, ...]  # of each tile: index into Set.faces

    @property
    def rows(self) -> int:
        return -(-len(self.faces) // COLUMNS)

    @property
    def columns(self) -> int:
        return min(len(self.faces), COLUMNS)


@dataclass(frozen=True)
class Sheets:
    best: Sheet
    odd: Sheet | None


@dataclass(frozen=True)
class Cutting:
    """A face to cut out of its photo."""

    path: str                                   # of the photo
    box: tuple[float, float, float, float]
    name: str                                   # file, relative to the page
    turn: int = 0                               # quarter turns clockwise that make it upright


def plan(item: Set) -> Sheets:
    """Which faces go on which sheet: the best in whole rows, then those of the rest farthest from the centroid."""
    count = len(item.faces)
    best = range(next((whole for whole in range(BEST, 0, -COLUMNS) if count >= whole), count))
    rest = sorted(range(len(best), count), key=lambda face: -item.faces[face].distance)[:ODD]
    return Sheets(of(item, best), of(item, rest) if rest else None)


def of(item: Set, faces: Iterable[int]) -> Sheet:
    """The sheet of these faces of a faceset."""
    chosen = tuple(faces)
    return Sheet(_name(item, chosen), chosen)


def make(root: Path, sheets: Iterable[tuple[Set, Sheet]], workers: int = 2) -> int:
    """Make the sheets that are not there yet; how many those were."""
    files.private_folder(root / FOLDER)
    wanted = [(item, sheet) for item, sheet in sheets if sheet.faces and not (root / sheet.file).exists()]
    return _each(wanted, lambda job: _write(root / job[1].file, _sheet(root / job[0].folder, *job)), workers,
                 "contact sheets", "sheets")


def cut(root: Path, faces: Sequence[Cutting], workers: int = 2) -> set[str]:
    """Cut out faces that have no picture of their own; the files that could be made. Each photo is decoded once."""
    files.private_folder(root / FOLDER)
    by_photo: dict[str, list[Cutting]] = {}
    for face in faces:
        if not (root / face.name).exists():
            by_photo.setdefault(face.path, []).append(face)

    def one(job: tuple[str, list[Cutting]]) -> None:
        try:
            photo = decode.read_upright(job[0])
        except decode.Unreadable:
            return
        for face in job[1]:
            box = np.asarray(face.box, np.float64)
            if (box[2:] - box[:2]).min() >= 2:
                window = crop.around(box, photo.shape[1::-1], CONTEXT)
                _write(root / face.name, np.rot90(crop.scaled(photo, window, TILE)[0], -face.turn))
    _each(list(by_photo.items()), one, workers, "examples", "photos")
    return {face.name for face in faces if (root / face.name).exists()}


def cutting(path: str, face_key: str, box: tuple[float, float, float, float], turn: int = 0) -> Cutting:
    digest = hashlib.sha256(face_key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Cutting(path, box, f"{FOLDER}/face-{digest}.webp", turn)


def clear(root: Path, keep: set[str]) -> None:
    """Remove sheets that no page shows any more, and what a kill left half written."""
    names = {Path(name).name for name in keep}
    for path in (root / FOLDER).iterdir():
        if path.suffix in (".webp", ".tmp") and path.name not in names:
            path.unlink(missing_ok=True)


def _name(item: Set, faces: tuple[int, ...]) -> str:
    told = "\n".join(f"{item.faces[face].file} {item.digests.get(item.faces[face].file, '')}" for face in faces)
    digest = hashlib.sha256(f"{TILE} {CUT} {WEBP_QUALITY}\n{told}".encode()).hexdigest()[:8]
    return f"{FOLDER}/{item.folder}-{digest}.webp"


def _sheet(folder: Path, item: Set, sheet: Sheet) -> np.ndarray:
    canvas = np.full((sheet.rows * TILE, sheet.columns * TILE, 3), 128, np.uint8)
    for place, face in enumerate(sheet.faces):
        y, x = place // COLUMNS * TILE, place % COLUMNS * TILE
        picture = cv2.imread(str(folder / item.faces[face].file), cv2.IMREAD_COLOR)
        if picture is not None:
            edge_y, edge_x = (round(side * CUT) for side in picture.shape[:2])
            inner = picture[edge_y:picture.shape[0] - edge_y, edge_x:picture.shape[1] - edge_x]
            canvas[y:y + TILE, x:x + TILE] = cv2.resize(inner, (TILE, TILE), interpolation=cv2.INTER_AREA)
    return canvas


def _write(path: Path, pixels: np.ndarray) -> None:
    good, data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])
    if not good:
        raise Failure(f"{path.name} could not be encoded")
    temporary = path.with_name(f".{path.name}.tmp")     # no fsync: a lost sheet is made again
    with open(os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, files.FILE_MODE), "wb") as file:
        file.write(data.tobytes())
    os.replace(temporary, path)


def _each(jobs: Sequence[object], work: Callable[..., None], workers: int, what: str, unit: str) -> int:
    with ThreadPoolExecutor(workers) as pool, terminal.progress(len(jobs), what, unit) as bar:
        try:
            for _ in pool.map(work, jobs):
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return len(jobs)
