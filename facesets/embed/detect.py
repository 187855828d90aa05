"""What goes into a detector and what its outputs mean: InsightFace's SCRFD and OpenCV Zoo's YuNet.

A photo is scaled into the upper left corner of 640 x 640, as InsightFace does it; boxes and landmarks come back in
pixels of the photo, unclipped. Words: n faces, `box` = (x1, y1, x2, y2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..formats.boxes import distinct, turned, turned_boxes

SIDE = 640          # det_size; always passed, since InsightFace 2.x otherwise mixes 128 and 640
STRIDES = (8, 16, 32)
INCLUSIVE = np.array([0, 0, 1, 1], np.float32)   # a box counts its last pixels, where InsightFace compares two
Faces = tuple[np.ndarray, np.ndarray, np.ndarray]      # boxes (n, 4), scores (n,), landmarks (n, 5, 2), all float32


@dataclass(frozen=True)
class Frame:
    """Where a photo lies in the detector's square: photo = (square - offset) / scale, turned back."""

    square: np.ndarray          # (side, side, 3) uint8 BGR
    scale: float
    offset: tuple[int, int]
    turn: int                   # quarter turns clockwise of the photo in the square
    size: tuple[int, int]       # its (width, height) there


def frame(bgr: np.ndarray, margin: float = 0.0, side: int = SIDE, turn: int = 0) -> Frame:
    """Scale a photo (H, W, 3) into the square of `side`, with `margin` of its longer side left black on every side.

    Without margin and turn these are exactly the pixels that insightface/model_zoo/scrfd.py makes, rounding included.
    """
    height, width = bgr.shape[:2]
    inner = int(side / (1 + 2 * margin))
    if height > width:
        new_height, new_width = inner, int(inner / (height / width))
    else:
        new_height, new_width = int(inner * (height / width)), inner
    new_height, new_width = max(new_height, 1), max(new_width, 1)
    small = np.rot90(cv2.resize(bgr, (new_width, new_height)), -turn)
    square, (rows, columns) = np.zeros((side, side, 3), np.uint8), small.shape[:2]
    x, y = ((side - columns) // 2, (side - rows) // 2) if margin else (0, 0)
    square[y:y + rows, x:x + columns] = small
    return Frame(square, new_height / height, (x, y), turn, (columns, rows))


class Scrfd:
    """insightface/model_zoo/scrfd.py: distances from anchor centres, two anchors a cell; scores, boxes, then points."""

    threshold = 0.5
    overlap = 0.4

    def blob(self, square: np.ndarray) -> np.ndarray:
        """(1, 3, side, side) float32, the input, of a square photo (side, side, 3)."""
        return cv2.dnn.blobFromImage(square, 1 / 128, square.shape[:2], (127.5, 127.5, 127.5), swapRB=True)

    def faces(self, outputs: Sequence[np.ndarray], side: int = SIDE) -> Faces:
        """Faces in pixels of the square, best first, before overlaps are removed."""
        found: list[Faces] = []
        for level, stride in enumerate(STRIDES):
            scores = outputs[level].reshape(-1)
            hits = np.flatnonzero(scores >= self.threshold)
            cells = side // stride
            centres = np.column_stack([hits // 2 % cells, hits // 2 // cells]).astype(np.float32) * stride  # (n, 2)
            sides = outputs[level + 3].reshape(-1, 4)[hits] * stride
            points = outputs[level + 6].reshape(-1, 5, 2)[hits] * stride + centres[:, None]
            found.append((np.hstack([centres - sides[:, :2], centres + sides[:, 2:]]), scores[hits], points))
        return _best_first(found)


class Yunet:
    """OpenCV's face_detect.cpp: one anchor a cell, score = sqrt(class * object), log sizes.

    It names the eyes by the person's side and lists the right one first, which is the left one as one sees them, so its
    order of landmarks is ours already.
    """

    threshold = 0.6
    overlap = 0.3

    def blob(self, square: np.ndarray) -> np.ndarray:
        return cv2.dnn.blobFromImage(square)    # BGR, 0..255

    def faces(self, outputs: Sequence[np.ndarray], side: int = SIDE) -> Faces:
        found: list[Faces] = []
        for level, stride in enumerate(STRIDES):
            classes, objects = (outputs[level + kind].reshape(-1).clip(0, 1) for kind in (0, 3))
            scores = np.sqrt(classes * objects)
            hits = np.flatnonzero(scores >= self.threshold)
            cells = side // stride
            corners = np.column_stack([hits % cells, hits // cells]).astype(np.float32)     # (n, 2)
            raw = outputs[level + 6].reshape(-1, 4)[hits]
            middles, sizes = (corners + raw[:, :2]) * stride, np.exp(raw[:, 2:]) * stride
            points = (outputs[level + 9].reshape(-1, 5, 2)[hits] + corners[:, None]) * stride
            found.append((np.hstack([middles - sizes / 2, middles + sizes / 2]), scores[hits], points))
        return _best_first(found)


def in_photo(faces: Faces, place: Frame, overlap: float) -> Faces:
    """Bring faces from the square into the photo and keep the best of those that overlap more than `overlap`."""
    boxes, scores, points = faces
    offset = np.array(place.offset, np.float32)
    boxes = turned_boxes(boxes - np.tile(offset, 2), -place.turn, place.size)
    points = turned(points - offset, -place.turn, place.size)
    boxes, points = (boxes / place.scale).astype(np.float32), (points / place.scale).astype(np.float32)
    keep = distinct(boxes + INCLUSIVE, overlap)
    return boxes[keep], scores[keep].astype(np.float32), points[keep]


def _best_first(found: list[Faces]) -> Faces:
    boxes, scores, points = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.argsort(-scores, kind="stable")
    return boxes[order], scores[order], points[order]
