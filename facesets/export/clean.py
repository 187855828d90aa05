"""A neighbour taken out of a picture: what surrounds him, diffused over him, with a soft edge and the photo's grain.

Words: box = (x1, y1, x2, y2) in pixels of the picture; a picture is (H, W, 3) uint8 BGR.
"""

from collections.abc import Sequence

import cv2
import numpy as np

REACH = 0.45            # part of a neighbour's box that goes with it on every side: hair, ears, chin
UPWARDS = 0.25          # and so much more above, since a detector's box begins at the forehead
SPARED = 0.1            # part of the wanted box around it that nothing may touch
OWN = 0.3               # as REACH, of the wanted face: its own hair stays, but for what is on a neighbour's face
SOFT = 0.3              # width of a soft edge, as part of the half side of a box
COARSEST = 4            # pixels a side where diffusion ends


def covered(shape: tuple[int, ...], neighbours: Sequence[np.ndarray], wanted: np.ndarray) -> np.ndarray:
    """(H, W) 0..1: where the neighbours are, but for what of them reaches into the spared box around `wanted`."""
    found = np.zeros(shape, np.float32)
    own = head(shape, wanted, OWN)
    for box in neighbours:
        found = np.maximum(found, np.maximum(head(shape, box, REACH) * (1 - own), head(shape, box, 0.0)))
    away = _away(shape, grown(wanted, SPARED), SOFT / 4 * float((wanted[2:] - wanted[:2]).max()))
    return np.asarray(found * away)


def without(pixels: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """The picture without what is covered."""
    if not covered.any():
        return pixels
    filled = _grain(_diffused(pixels, covered), pixels, covered)
    mixed = pixels * (1 - covered[..., None]) + filled * covered[..., None]
    return np.asarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))


def grown(box: np.ndarray, part: float) -> np.ndarray:
    """The box with `part` of its sides added on every side."""
    reach = part * (box[2:] - box[:2])
    return np.concatenate([box[:2] - reach, box[2:] + reach])


def head(shape: tuple[int, ...], box: np.ndarray, reach: float) -> np.ndarray:
    """(H, W) 0..1: an ellipse around the head of a face box, 1 within, falling to 0 over a soft edge outside."""
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    lift = UPWARDS * half[1] * bool(reach)
    middle, outer = middle - [0, lift], half * (1 + 2 * reach) + [0, lift]
    y, x = np.ogrid[:shape[0], :shape[1]]
    far = np.sqrt(((x - middle[0]) / outer[0]) ** 2 + ((y - middle[1]) / outer[1]) ** 2)
    return np.asarray(np.clip(1 + (1 - far) * float(outer.mean() / half.mean()) / SOFT, 0, 1).astype(np.float32))


def _away(shape: tuple[int, ...], box: np.ndarray, ramp: float) -> np.ndarray:
    """(H, W) 0..1: 0 in the box, rising to 1 over `ramp` pixels outside."""
    y, x = np.ogrid[:shape[0], :shape[1]]
    across = np.maximum(np.maximum(box[0] - x, x + 1 - box[2]), 0)
    down = np.maximum(np.maximum(box[1] - y, y + 1 - box[3]), 0)
    return np.asarray(np.clip(np.hypot(across, down) / max(ramp, 1), 0, 1).astype(np.float32))


def _diffused(pixels: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """(H, W, 3) float32: what is not covered, averaged into what is, from the nearest outwards (pull and push)."""
    weight = (covered == 0).astype(np.float32)
    levels = [(pixels.astype(np.float32) * weight[..., None], weight)]
    while min(levels[-1][1].shape) > COARSEST:
        size = tuple(max(side // 2, 1) for side in levels[-1][1].shape[::-1])
        levels.append(tuple(cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in levels[-1]))
    filled = levels[-1][0] / np.maximum(levels[-1][1], 1e-6)[..., None]
    for colour, weight in reversed(levels[:-1]):
        coarse = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        filled = colour + coarse * (1 - weight)[..., None]
    return np.asarray(filled)


def _grain(filled: np.ndarray, pixels: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """`filled` with as much noise as the picture has where nothing is covered, so that it does not look painted."""
    fine = pixels.astype(np.float32) - cv2.GaussianBlur(pixels, (0, 0), 1.5).astype(np.float32)
    open_ = covered == 0
    spread = float(np.median(np.abs(fine[open_]))) * 1.4826 if open_.any() else 0.0
    noise = np.random.default_rng(0).standard_normal(filled.shape[:2]).astype(np.float32)
    return np.asarray(filled + cv2.GaussianBlur(noise, (0, 0), 0.7)[..., None] * 1.9 * spread)
