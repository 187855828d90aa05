"""Contact sheets: the best faces of a faceset, and those least like the others, as one small picture each.

They lie in `_report/` beside the page, named by what is on them, so that a second report makes only what changed and
a page that is open keeps its pictures until the next one has been written.
"""

import hashlib
import os
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..common import files, terminal
from ..common.errors import Failure
from ..common.threads import in_lanes
from .shelf import Set

FOLDER = "_report"      # begins with _, so that it is no faceset
TILE = 128              # pixels; shown at 50 to 90, twice that on a dense screen
COLUMNS = 6             # on a phone a tile is then still wider than a fingertip
BEST, ODD = 12, 6       # faces on the two sheets
CUT = 0.13              # of a picture on each side; half of what surrounds the face, so that one sees the face
WEBP_QUALITY = 78
WORKERS = 2             # at once; the smallest machine has two cores


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


def plan(item: Set) -> tuple[Sheet, Sheet | None]:
    """Which faces go on which sheet: the best in whole rows, then those of the rest farthest from the centroid."""
    count = len(item.faces)
    best = range(next((whole for whole in range(BEST, 0, -COLUMNS) if count >= whole), count))
    rest = sorted(range(len(best), count), key=lambda face: -item.faces[face].distance)[:ODD]
    return _of(item, best), _of(item, rest) if rest else None


def _of(item: Set, faces: Iterable[int]) -> Sheet:
    """The sheet of these faces of a faceset, named by what is on it."""
    chosen = tuple(faces)
    told = "\n".join(f"{item.faces[face].file} {item.faces[face].digest}" for face in chosen)
    digest = hashlib.sha256(f"{TILE} {CUT} {WEBP_QUALITY}\n{told}".encode()).hexdigest()[:8]
    return Sheet(f"{FOLDER}/{item.folder}-{digest}.webp", chosen)


def make(root: Path, sheets: Iterable[tuple[Set, Sheet]]) -> None:
    """Make the sheets that are not there yet."""
    files.private_folder(root / FOLDER)
    wanted = [(item, sheet) for item, sheet in sheets if sheet.faces and not (root / sheet.file).exists()]

    def work(job: tuple[Set, Sheet]) -> None:
        _write(root / job[1].file, _sheet(root / job[0].folder, *job))
    with (closing(in_lanes(work, wanted, WORKERS)) as arriving,
          terminal.progress(len(wanted), "contact sheets", "sheets") as bar):
        for _ in arriving:
            bar.update()


def clear(root: Path, keep: set[str]) -> None:
    """Remove sheets that no page shows any more, and what a kill left half written."""
    names = {Path(name).name for name in keep}
    for path in (root / FOLDER).iterdir():
        if path.suffix in (".webp", ".tmp") and path.name not in names:
            path.unlink(missing_ok=True)


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
