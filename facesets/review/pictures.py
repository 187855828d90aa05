"""What the review shows of a face: 160 pixels cut from the photo, nothing painted; and the whole photo with its box."""

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ..embed import decode
from ..export import crop
from .holdings import Face

TILE = 160          # pixels
CONTEXT = 0.35      # of the face box, around it
LONG = 1600         # pixels of the longer side of a whole photo
WEBP_QUALITY = 82
Pixels = np.ndarray     # (H, W, 3) uint8 BGR


@lru_cache(maxsize=4096)
def tile(face: Face, root: Path) -> bytes:
    """The face as it is in its photo, else its picture. b"" where there is neither any more."""
    try:
        photo = decode.read_upright(face.photo)
        window = crop.around(np.asarray(face.box, np.float64), photo.shape[1::-1], CONTEXT)
        return _encoded(np.rot90(crop.scaled(photo, window, TILE)[0], -face.turn))
    except (decode.Unreadable, OSError, cv2.error):
        picture = cv2.imread(str(root / face.picture)) if face.picture else None
        return b"" if picture is None else _encoded(cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA))


@lru_cache(maxsize=8)
def whole(face: Face, root: Path) -> bytes:
    """The photo, upright, with the box of the face; b"" where it cannot be read any more."""
    try:
        photo = np.ascontiguousarray(decode.read_upright(face.photo))
    except (decode.Unreadable, OSError):
        return b""
    scale = min(1.0, LONG / max(photo.shape[:2]))
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else photo
    x1, y1, x2, y2 = (round(side * scale) for side in face.box)
    for colour, thick in (((20, 20, 20), 6), ((120, 190, 255), 3)):
        cv2.rectangle(small, (x1, y1), (x2, y2), colour, thick)
    return _encoded(np.rot90(small, -face.turn))


def _encoded(pixels: Pixels) -> bytes:
    good, data = cv2.imencode(".webp", np.ascontiguousarray(pixels), [cv2.IMWRITE_WEBP_QUALITY, WEBP_QUALITY])
    return data.tobytes() if good else b""
