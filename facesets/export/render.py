"""Pictures of many faces of many photos, each photo decoded once, in bounded memory.

A decoded photo lives as long as its faces are cut out; `workers` photos are in memory at a time.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..common import files, terminal
from ..common.errors import Failure, Paused
from ..common.threads import in_lanes
from ..embed import align, decode
from ..formats import cache
from ..formats.boxes import turned_boxes
from . import crop
from .handwork import Picture
from .looks import Looks

GONE = 0.25         # share of the photos that may be missing because somebody deleted them; of more, the share is away
MISSING = "the photo is not there"
OTHER = "the photo has changed since it was embedded"
ORIENTATION = 0x0112        # EXIF tag
SAME_BLUR = 0.001   # part by which the sharpness of a face may differ that is still the one that was found
PNG_LEVEL = 3       # zlib: level 9 takes eight times as long for 2 % fewer bytes


@dataclass(frozen=True)
class Wish:
    """One face to make a picture of."""

    key: str                                        # begins with the SHA-256 of the photo
    box: tuple[float, float, float, float]
    others: tuple[tuple[float, ...], ...] = ()      # boxes of all faces that are known in the photo
    embedding: np.ndarray | None = None             # (D,) unit, which the picture's face must have
    turn: int = 0                                   # quarter turns clockwise that make the photo upright


def render(wishes: dict[str, list[Wish]], folder: Path, looks: Looks, size: int, padding: float,
           workers: int = 2, read: Callable[[str], np.ndarray] = decode.read_upright) -> dict[str, Picture | str]:
    """Make the pictures of `wishes` (path of a photo -> faces in it) in `folder`.

    Returns face key -> the picture, or the reason why there is none. A full disk raises Failure, and photos that cannot
    be opened raise Paused, but for a few that are plainly deleted: that says nothing about the faces in them.
    """
    files.private_folder(folder)
    cv2.setNumThreads(1)        # a photo is one thread; OpenCV's own would compete with the others, YuNet's most of all
    results: dict[str, Picture | str] = {}

    def work(job: tuple[str, list[Wish]]) -> dict[str, Picture | str]:
        return _photo(*job, folder, looks, size, padding, read)
    with (closing(in_lanes(work, wishes.items(), workers)) as arriving,
          terminal.progress(sum(map(len, wishes.values())), "pictures", "faces") as bar):
        for made in arriving:
            results.update(made)
            bar.update(len(made))
    pause_where_away(list(wishes), [path for path, faces in wishes.items() if results[faces[0].key] == MISSING])
    return results


def pause_where_away(wanted: Sequence[str], missing: Sequence[str] | None = None) -> None:
    """Raise Paused unless the `missing` ones of the photos, all that cannot be read, are plainly deleted, or a few that
    seem to be.

    A photo is plainly deleted where another one in its folder can still be seen, and seems so where one beside that.
    """
    missing = [path for path in wanted if not os.access(path, os.R_OK)] if missing is None else missing
    seen = [Path(path) for path in set(wanted) - set(missing) if os.path.exists(path)]
    folders, around = {path.parent for path in seen}, {path.parent.parent for path in seen}
    away = [path for path in missing if os.path.exists(path) or Path(path).parent not in folders]
    if len(away) > GONE * len(wanted) or any(os.path.exists(path) or Path(path).parent.parent not in around
                                             for path in away):
        raise Paused(f"{len(away)} of {len(wanted)} photos cannot be read, e.g. {terminal.safe(away[0])}; is the share "
                     "with the photos mounted? Nothing was changed; run the same command again")


def _photo(path: str, faces: Sequence[Wish], folder: Path, looks: Looks, size: int, padding: float,
           read: Callable[[str], np.ndarray]) -> dict[str, Picture | str]:
    try:
        photo = read(path)
    except decode.Vanished:
        return {wish.key: MISSING for wish in faces}
    except decode.Unreadable as reason:
        return {wish.key: f"the photo {reason}" for wish in faces}
    made: dict[str, Picture | str] = {}
    for wish in faces:
        upright, (box, *others) = turned_right(photo, [wish.box, *wish.others], wish.turn)
        try:
            picture = crop.cut_out(upright, box, looks, size, padding, others, wish.embedding)
        except crop.Dropped as reason:      # no fault of the face where the photo is another one by now
            made[wish.key] = str(reason) if same_bytes(path, wish.key[:64]) else OTHER
            continue
        place = folder / (hashlib.sha256(wish.key.encode()).hexdigest() + ".png")
        made[wish.key] = place, {"isolation": picture.isolation, "light": list(picture.light), "look": picture.look,
                                "rules": crop.RULES}
        write_png(place, picture.pixels)
    return made


def same_bytes(path: str, sha256: str) -> bool:
    """Whether a photo is there, byte for byte the one in which its faces were found."""
    return os.access(path, os.R_OK) and files.sha256_of(Path(path)) == sha256


def still_shows(pixels: np.ndarray, photo: cache.Photo, faces: np.ndarray) -> bool:
    """Whether a photo of other bytes, as after somebody wrote a date or a title into it, has one of `faces` (n,) of
    dtype cache.FACE where it was found; one that was turned, cropped, edited or replaced has not."""
    if pixels.shape[1::-1] != (photo.width, photo.height):
        return False
    blur = align.blur(align.crops(pixels, faces["landmarks"]))
    return bool((np.abs(blur - faces["blur"]) <= SAME_BLUR * faces["blur"]).any())


def header(path: str) -> tuple[tuple[int, int], int]:
    """Sides of a picture as it is stored, and EXIF's orientation 1..8; no pixel is decoded.

    Raises whatever Pillow and its plug-ins do.
    """
    with decode.header(Path(path)) as picture:
        size, turn = picture.size, int(picture.getexif().get(ORIENTATION, 1))
        if picture.format == "TIFF" and turn >= 5:      # of these alone Pillow says the upright size
            size = size[::-1]
    return size, turn


def read(members: cache.Cache, row: int, changed: list[str]) -> np.ndarray | None:
    """The photo of a face, as `decode.read_upright` gives it, if it shows the face where it was found; else None, and
    it is said or, where it has changed, listed in `changed`."""
    photo = members.photos[members.faces["photo"][row]]
    try:
        pixels = decode.read_upright(photo.path)
    except decode.Unreadable as reason:
        terminal.say(f"{terminal.safe(photo.path)}: the photo {reason}")
        return None
    if same_bytes(photo.path, photo.sha256) or still_shows(pixels, photo, members.faces[row:row + 1]):
        return pixels
    changed.append(photo.path)
    return None


def changed(paths: Sequence[str]) -> list[str]:
    """A line of the photos that are left out for it; none for none."""
    many = "1 photo has" if len(paths) == 1 else f"{len(paths)} photos have"
    return [f"{many} changed since, e.g. {terminal.safe(paths[0])}: stage and embed again"] if paths else []


def turned_right(photo: np.ndarray, boxes: Sequence[Sequence[float]], turn: int) -> tuple[np.ndarray, np.ndarray]:
    """A photo (H, W, 3) and boxes (n, 4) in it after `turn` quarter turns clockwise."""
    size = (photo.shape[1], photo.shape[0])
    return np.ascontiguousarray(np.rot90(photo, -turn)), turned_boxes(np.asarray(boxes, np.float64), turn, size)


def write_png(path: Path, pixels: np.ndarray) -> None:
    good, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not good:
        raise Failure(f"{path.name} could not be encoded as PNG")
    with open(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, files.FILE_MODE), "wb") as file:
        file.write(data.tobytes())
