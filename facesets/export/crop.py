"""One face of a photo as a square picture in which a detector finds exactly that face.

Words: box = (x1, y1, x2, y2) in pixels; a `photo` is (H, W, 3) uint8 BGR, upright.
Swap tools detect again at 640 and use every face that they find, so the picture is tried as they will see it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..formats.boxes import overlap

Detect = Callable[[np.ndarray], tuple[Any, ...]]     # photo -> boxes (n, 4), scores (n,), landmarks (n, 5, 2), ...

TIGHTER = (0.7, 0.45, 0.2)  # of the padding, when others cannot be masked
WIDER = (1.6, 2.4)          # of the padding, when the face fills the picture and is not seen
OVERLAP = 0.4               # intersection over union with the wanted box that makes a detection the wanted face
MASK_MARGIN = 0.35          # part of another face's box that is covered around it, hair and chin included
COVERED = 0.25              # share of the wanted face that a mask may take
SHOWN = 0.3                 # share of another face's box inside the picture from which on some detector may see it

NOT_SEEN = "the detector finds no face in the cut-out"
NOT_ALONE = "another face cannot be kept out of the cut-out"
OUTSIDE = "the box lies outside the photo"
NEVER = (NOT_SEEN, NOT_ALONE, OUTSIDE)      # another try gives the same


class Dropped(Exception):
    """No picture of this face alone can be made; the message is the reason."""


@dataclass(frozen=True)
class Picture:
    pixels: np.ndarray      # (size, size, 3) uint8 BGR
    isolation: str          # "alone", "masked" or "tightened"
    light: tuple[float, float]  # brightness of the face 0..1; left half minus right half -1..1


def cut_out(photo: np.ndarray, place: Sequence[float], detect: Detect, size: int, padding: float,
            others: Sequence[Sequence[float]] = ()) -> Picture:
    """The face at the box `place`, alone, `size` pixels square, `padding` of the box on every side. Raises Dropped.

    `others`: boxes of all faces known in the photo, this one may be among them. They are masked even where `detect`
    does not see them in the picture: the detector of a swap tool may.
    """
    box = np.asarray(place, np.float64)
    height, width = photo.shape[:2]
    if box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0 or box[2] - box[0] < 2 or box[3] - box[1] < 2:
        raise Dropped(OUTSIDE)
    known = np.asarray(others, np.float64).reshape(-1, 4)
    known = known[overlap(known, box) < OVERLAP]
    seen = False
    for part in (1.0, *TIGHTER):
        pixels, wanted, scale = square(photo, box, size, padding * part)
        alone, masked = _isolate(pixels, wanted, detect, _moved(known, box, wanted, scale))
        seen = seen or alone is not None or masked
        if alone is not None:
            isolation = "masked" if masked else "alone" if part == 1.0 else "tightened"
            return Picture(alone, isolation, _light(alone, wanted))
        if not seen:
            break       # tightening does not help a face that is not seen at all
    for part in () if seen else WIDER:
        pixels, wanted, scale = square(photo, box, size, padding * part)
        alone, masked = _isolate(pixels, wanted, detect, _moved(known, box, wanted, scale))
        if alone is not None:
            return Picture(alone, "masked" if masked else "alone", _light(alone, wanted))
    raise Dropped(NOT_ALONE if seen else NOT_SEEN)


def square(photo: np.ndarray, box: np.ndarray, size: int, padding: float) -> tuple[np.ndarray, np.ndarray, float]:
    """The square around `box` plus padding, black beyond the photo, at `size` pixels; the box in it; the scale."""
    side = max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * padding)
    left, top = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
    x1, y1 = round(left), round(top)
    edge = max(round(side), 2)
    canvas = np.zeros((edge, edge, 3), np.uint8)
    inside = photo[max(y1, 0):max(y1 + edge, 0), max(x1, 0):max(x1 + edge, 0)]
    canvas[max(-y1, 0):max(-y1, 0) + inside.shape[0], max(-x1, 0):max(-x1, 0) + inside.shape[1]] = inside
    scale = size / edge
    resized = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return resized, (box - [x1, y1, x1, y1]) * scale, scale


def _moved(known: np.ndarray, box: np.ndarray, wanted: np.ndarray, scale: float) -> np.ndarray:
    """Boxes of the photo as they lie in the picture, those of which enough is shown."""
    moved = (known - np.tile(box[:2], 2)) * scale + np.tile(wanted[:2], 2)      # (n, 4)
    size = (wanted[0] + wanted[2])                                             # the wanted face is in the middle
    inside = np.clip(np.minimum(moved[:, 2:], size) - np.maximum(moved[:, :2], 0), 0, None).prod(axis=1)
    return moved[inside >= SHOWN * (moved[:, 2:] - moved[:, :2]).prod(axis=1)]


def _isolate(pixels: np.ndarray, wanted: np.ndarray, detect: Detect,
             known: np.ndarray) -> tuple[np.ndarray | None, bool]:
    """The picture with one detectable face, the wanted one, and whether others had to be masked.

    None, False: the wanted face is not seen; None, True: others remain.
    """
    boxes = np.asarray(detect(pixels)[0]).reshape(-1, 4)
    mine = overlap(boxes, wanted)
    if not len(boxes) or mine.max() < OVERLAP:
        return None, False
    target = boxes[mine.argmax()]
    seen = [other for index, other in enumerate(boxes) if index != mine.argmax()]
    for cover in ([*seen, *known], seen) if len(known) else (seen,):
        if not cover:
            return pixels, False
        masked = pixels.copy()
        for other in cover:
            _mask(masked, other, target)
        left = np.asarray(detect(masked)[0]).reshape(-1, 4)
        if len(left) == 1 and overlap(left, wanted)[0] >= OVERLAP and _kept(pixels, masked, target):
            return masked, True
    return None, True


def _mask(pixels: np.ndarray, other: np.ndarray, target: np.ndarray) -> None:
    """Cover the box of another face with the mean colour around it, sparing the wanted one."""
    grow = MASK_MARGIN * np.array([other[0] - other[2], other[1] - other[3], other[2] - other[0], other[3] - other[1]])
    size = pixels.shape[0]
    x1, y1, x2, y2 = np.clip(np.round(other + grow), 0, size).astype(int)
    if x2 <= x1 or y2 <= y1:
        return
    tx1, ty1, tx2, ty2 = np.clip(np.round(target), 0, size).astype(int)
    spared = pixels[ty1:ty2, tx1:tx2].copy()
    pixels[y1:y2, x1:x2] = pixels[y1:y2, x1:x2].reshape(-1, 3).mean(axis=0)
    ox1, oy1, ox2, oy2 = np.clip(np.round(other), 0, size).astype(int)
    if overlap(target, other) == 0 or min(tx2, ox2) <= max(tx1, ox1) or min(ty2, oy2) <= max(ty1, oy1):
        pixels[ty1:ty2, tx1:tx2] = spared       # only the margin touches the wanted face: spare all of it


def _kept(before: np.ndarray, after: np.ndarray, target: np.ndarray) -> bool:
    x1, y1, x2, y2 = np.clip(np.round(target), 0, before.shape[0]).astype(int)
    changed = (before[y1:y2, x1:x2] != after[y1:y2, x1:x2]).any(axis=2)
    return bool(changed.size) and float(changed.mean()) <= COVERED


def _light(pixels: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    x1, y1, x2, y2 = np.clip(np.round(wanted), 0, pixels.shape[0]).astype(int)
    grey = cv2.cvtColor(pixels[y1:y2, x1:x2], cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
    half = max(grey.shape[1] // 2, 1)
    left, right = grey[:, :half], grey[:, half:] if grey.shape[1] > 1 else grey
    return round(float(grey.mean()), 3), round(float(left.mean() - right.mean()), 3)
