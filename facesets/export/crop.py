"""One face of a photo as a picture that lies inside the photo and shows that face alone to every detector.

Words: box = (x1, y1, x2, y2) in pixels; a `photo` is (H, W, 3) uint8 BGR, upright; a `window` is a box of whole pixels
inside the photo; `padding` is a part of the face box's longer side.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from ..embed import align
from ..formats.boxes import overlap
from . import clean
from .looks import OVERLAP, Looks, Sight

RULES = 4               # of all that is decided here and in clean.py; `refine` makes those of others anew
TIGHTEST = 0.2          # of padding, where the photo's edge leaves no more
TIGHTER = 0.35          # of padding, to keep a neighbour out; at 0.2 many a face is too large for SCRFD at 640
HAIR = 0.2              # of the face's height, more above it that stays where the picture gets narrower
WIDER = (0.8, 1.2)      # of padding, where the face fills the picture and is not seen
SHOWN = 0.1             # share of a neighbour's box inside the picture from which on a detector may see it
WHOLE = 0.85            # share of the face's box that must lie inside the photo
SAME = 0.95             # cosine of the picture's face to the photo's, below which it is not the same face any more
PAINTED = 0.25          # share of a picture that neighbours may take; where more is painted over, the eye stops at it
ROUNDS = 4              # how often neighbours that only a detector sees are taken out as well

See = Callable[[np.ndarray, np.ndarray], Sight]      # picture, wanted box (4,)

NOT_SEEN = "not every detector finds the face in the picture"
NOT_ALONE = "another face cannot be kept out of the picture"
OUTSIDE = "a part of the face lies outside the photo"
CHANGED = "the face in the picture is not the same any more"
NEVER = (NOT_SEEN, NOT_ALONE, OUTSIDE, CHANGED)     # another try gives the same


class Dropped(Exception):
    """No picture of this face alone can be made; the message is the reason."""


@dataclass(frozen=True)
class Picture:
    pixels: np.ndarray      # (h, w, 3) uint8 BGR, the longer side `size`; square where the photo has a square to give
    isolation: str          # "alone", "moved" (shifted or tightened) or "cleaned"
    light: tuple[float, float]  # brightness of the face 0..1; left half minus right half -1..1
    look: str                   # 256 bits in hex, which two pictures of one moment have nearly all in common


def cut_out(photo: np.ndarray, place: Sequence[float], looks: Looks, size: int, padding: float,
            others: Sequence[Sequence[float]] = (), embedding: np.ndarray | None = None) -> Picture:
    """The face at the box `place`, alone, `size` pixels on the longer side. Raises Dropped.

    others      boxes of all faces known in the photo, this one may be among them
    embedding   (D,) unit, of the face in the photo: the picture's must be the same
    """
    box, (height, width) = np.asarray(place, np.float64), photo.shape[:2]
    inside = np.clip(np.minimum(box[2:], (width, height)) - np.maximum(box[:2], 0), 0, None).prod()
    if min(box[2:] - box[:2]) < 2 or inside < WHOLE * (box[2:] - box[:2]).prod():
        raise Dropped(OUTSIDE)
    neighbours = [other for other in np.asarray(others, np.float64).reshape(-1, 4)
                  if overlap(other, box) < OVERLAP]
    reasons, sights = [], dict[bytes, Sight]()

    def see(pixels: np.ndarray, wanted: np.ndarray) -> Sight:
        """What is seen in a picture; several attempts may end in the same one."""
        known = pixels.tobytes()
        return sights[known] if known in sights else sights.setdefault(known, looks.see(pixels, wanted))
    for isolation, window in _attempts(box, neighbours, (width, height), padding):
        try:
            pixels, sight = _isolated(photo, window, box, neighbours, see, size, clean_up=isolation == "cleaned")
        except Dropped as reason:
            reasons.append(str(reason))
            continue
        assert sight.box is not None and sight.landmarks is not None
        if embedding is None or looks.cosine(pixels, sight.landmarks, embedding) >= SAME:
            return Picture(pixels, isolation, _light(pixels, sight.box), _look(pixels, sight.landmarks))
        reasons.append(CHANGED)
    raise Dropped(max(reasons, key=NEVER.index))


def _attempts(box: np.ndarray, neighbours: list[np.ndarray], photo: tuple[int, int],
              padding: float) -> Iterator[tuple[str, np.ndarray]]:
    """Windows to try and what to call a picture of each; `neighbours` may grow while they are tried."""
    wide = around(box, photo, padding)
    if not _shown(neighbours, wide).any():
        yield "alone", wide
    if not neighbours:
        for more in WIDER:
            yield "alone", around(box, photo, max(more, padding))
    yield from (("moved", window) for window in _apart(box, neighbours, photo, padding))
    close = around(box, photo, min(padding, TIGHTER))
    for _ in range(ROUNDS):     # those whom only a detector sees are left out in the next one
        narrow = _narrowed(close, box, neighbours)
        if not _shown(neighbours, narrow).any():
            yield "moved", narrow
    yield from (("cleaned", window) for window in (narrow, close, wide))    # the less is painted, the better it looks


def around(box: np.ndarray, photo: tuple[int, int], padding: float, shift: Sequence[float] = (0, 0)) -> np.ndarray:
    """(4,) int: the square around `box` plus padding, shifted into the photo (width, height).

    Where the photo is smaller, the padding shrinks as far as TIGHTEST, and then the window is no square any more.
    shift   -1..1 across and down: as far as the face grown by a tenth stays in the window
    """
    face, room = float((box[2:] - box[:2]).max()), np.array(photo)
    side = min(face * (1 + 2 * padding), max(float(room.min()), face * (1 + 2 * min(padding, TIGHTEST))))
    sides = np.maximum(np.minimum(round(side), room), 1)
    spared = clean.grown(box, clean.SPARED)
    middle = (box[:2] + box[2:]) / 2 + np.array(shift) * np.maximum(sides - (spared[2:] - spared[:2]), 0) / 2
    corner = np.clip(np.rint(middle - sides / 2), 0, room - sides).astype(int)
    return np.concatenate([corner, corner + sides])


def _apart(box: np.ndarray, neighbours: Sequence[np.ndarray], photo: tuple[int, int],
           padding: float) -> list[np.ndarray]:
    """The widest windows, first those that are shifted least, in which no neighbour is shown; two at most."""
    found: list[np.ndarray] = []
    for part in (padding, min(padding, TIGHTER), TIGHTEST):
        for shift in sorted(product((0.0, -0.5, 0.5, -1.0, 1.0), repeat=2), key=lambda pair: sum(map(abs, pair))):
            window = around(box, photo, part, shift)
            if not _shown(neighbours, window).any() and not any((window == other).all() for other in found):
                found.append(window)
                break
    return found[:2]


def _narrowed(window: np.ndarray, box: np.ndarray, neighbours: Sequence[np.ndarray]) -> np.ndarray:
    """The window with its sides moved in, each neighbour left out by the one that leaves least of him and most of the
    rest; the face keeps what may not be touched, and its hair."""
    inner = clean.grown(box, clean.SPARED) - [0, HAIR * (box[3] - box[1]), 0, 0]
    for other in neighbours:
        ways = np.tile(window, (4, 1))
        limits = np.concatenate([np.minimum(other[2:], inner[:2]), np.maximum(other[:2], inner[2:])])
        np.fill_diagonal(ways, np.concatenate([np.maximum(np.floor(limits[:2]), window[:2]),
                                               np.minimum(np.ceil(limits[2:]), window[2:])]))
        left = [(_shown([other], way).any(), -(way[2:] - way[:2]).prod()) for way in ways]
        window = ways[min(range(4), key=left.__getitem__)] if _shown([other], window).any() else window
    return window


def _shown(neighbours: Sequence[np.ndarray], window: np.ndarray) -> np.ndarray:
    """(n,) bool: neighbours of which enough is inside the window for a detector."""
    boxes = np.asarray(neighbours, np.float64).reshape(-1, 4)
    inside = np.minimum(boxes[:, 2:], window[2:]) - np.maximum(boxes[:, :2], window[:2])
    return np.asarray(np.clip(inside, 0, None).prod(axis=1) > SHOWN * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def _isolated(photo: np.ndarray, window: np.ndarray, box: np.ndarray, neighbours: list[np.ndarray], see: See,
              size: int, clean_up: bool) -> tuple[np.ndarray, Sight]:
    """The picture of a window in which every look finds the wanted face and no other. Raises Dropped.

    Neighbours that a look finds and nobody knew of are added to `neighbours`.
    """
    picture, scale = scaled(photo, window, size)
    corner = np.tile(window[:2], 2)
    wanted, pixels = (box - corner) * scale, picture
    for _ in range(ROUNDS if clean_up else 1):
        if clean_up:
            shown = [other for other, there in zip(neighbours, _shown(neighbours, window), strict=True) if there]
            covered = clean.covered(picture.shape[:2], [(other - corner) * scale for other in shown], wanted)
            if covered.mean() > PAINTED:
                break
            pixels = clean.without(picture, covered)
        sight = see(pixels, wanted)
        if sight.alone:
            return pixels, sight
        if sight.box is None:
            raise Dropped(NOT_SEEN)
        neighbours += [other / scale + corner for other in sight.others]
    raise Dropped(NOT_ALONE)


def scaled(photo: np.ndarray, window: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """The pixels of a window with its longer side at `size`, and the scale."""
    x1, y1, x2, y2 = window
    scale = size / max(x2 - x1, y2 - y1)
    shape = (max(round((x2 - x1) * scale), 1), max(round((y2 - y1) * scale), 1))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(photo[y1:y2, x1:x2], shape, interpolation=how), scale


def _look(pixels: np.ndarray, landmarks: np.ndarray) -> str:
    """Where the aligned face grows brighter from left to right, at 16 x 16 places: a difference hash."""
    grey = cv2.cvtColor(align.crops(pixels, landmarks[None])[0], cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (17, 16), interpolation=cv2.INTER_AREA).astype(int)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def _light(pixels: np.ndarray, face: np.ndarray) -> tuple[float, float]:
    x1, y1 = np.maximum(np.round(face[:2]), 0).astype(int)
    x2, y2 = np.minimum(np.round(face[2:]), pixels.shape[1::-1]).astype(int)
    grey = cv2.cvtColor(pixels[y1:y2, x1:x2], cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
    half = max(grey.shape[1] // 2, 1)
    left, right = grey[:, :half], grey[:, half:] if grey.shape[1] > 1 else grey
    return round(float(grey.mean()), 3), round(float(left.mean() - right.mean()), 3)
