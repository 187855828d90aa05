"""Boxes of faces: how much two overlap, and which are one face. `box` = (x1, y1, x2, y2), n and m boxes."""

import numpy as np


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union, 0..1, of boxes (..., 4) and (..., 4), broadcast: a pair, one with many, or a table."""
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    common = np.maximum(sides, 0).prod(axis=-1)
    areas = [np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(axis=-1) for boxes in (one, other)]
    return np.asarray(common / np.maximum(areas[0] + areas[1] - common, 1e-9))


def turned(points: np.ndarray, turn: int, size: tuple[int, int]) -> np.ndarray:
    """Where points (..., 2) of a picture of `size` (width, height) are after `turn` quarter turns clockwise."""
    width, height = size
    for _ in range(turn % 4):
        points = np.stack([height - points[..., 1], points[..., 0]], axis=-1)
        width, height = height, width
    return points


def turned_boxes(boxes: np.ndarray, turn: int, size: tuple[int, int]) -> np.ndarray:
    """The same for boxes (n, 4)."""
    corners = turned(boxes.reshape(-1, 2, 2), turn, size)
    return np.hstack([corners.min(axis=1), corners.max(axis=1)])


def distinct(boxes: np.ndarray, limit: float) -> list[int]:
    """Rows of boxes (n, 4), best first, that overlap no better one by more than `limit`."""
    left, keep = np.arange(len(boxes)), []
    while left.size:
        keep.append(int(left[0]))
        left = left[1:][overlap(boxes[left[0]], boxes[left[1:]]) <= limit]
    return keep


def pairs(ours: np.ndarray, theirs: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Rows (i, j) of boxes ours (n, 4) and theirs (m, 4) that are one face: the best overlap first, each row once."""
    share = overlap(ours[:, None], theirs)      # (n, m)
    found = []
    while share.size and share.max() >= least:
        i, j = np.unravel_index(int(share.argmax()), share.shape)
        found.append((int(i), int(j)))
        share[i, :], share[:, j] = 0, 0
    return found
