"""What other tools will see in a picture: a detector at their sizes, a second detector, and the recogniser.

Swap tools detect again: roop-unleashed and ReActor at 640 or 320, FaceFusion at the picture's own scale, others with
OpenCV's YuNet. Each uses whatever face it finds, so a picture is good only if all of them find one, and the same.
Words: n faces, `box` = (x1, y1, x2, y2) in pixels of the picture, a picture is (H, W, 3) uint8 BGR.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..formats.boxes import distinct, overlap

Found = tuple[np.ndarray, np.ndarray, np.ndarray]       # boxes (n, 4), scores (n,), landmarks (n, 5, 2)
Look = Callable[[np.ndarray], Found]
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]  # picture, landmarks (n, 5, 2) -> raw embeddings (n, D)

SEEN = 0.5              # score from which on a tool takes a detection for a face
OVERLAP = 0.4           # intersection over union with the wanted box that makes a detection the wanted face


@dataclass(frozen=True)
class Sight:
    """What was seen first that is not as it should be: the wanted face (None: not found), and who else is there."""

    box: np.ndarray | None          # (4,)
    landmarks: np.ndarray | None    # (5, 2)
    others: np.ndarray              # (n, 4)


@dataclass(frozen=True)
class Looks:
    """Every way to look at a picture, the cheapest first and last the one whose landmarks the recogniser takes."""

    looks: Sequence[Look]
    embed: Embed | None = None

    def see(self, pixels: np.ndarray, wanted: np.ndarray) -> Sight:
        """The wanted face as the last look sees it, alone; or what the first look sees that finds it otherwise."""
        for look in self.looks:
            sight = _sight(look(pixels), wanted)
            if sight.box is None or len(sight.others):
                break
        return sight

    def others(self, pixels: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
        """Boxes of everybody else whom any look sees."""
        found = np.concatenate([_sight(look(pixels), wanted).others for look in self.looks])
        return [found[row] for row in distinct(found, OVERLAP)]

    def cosine(self, pixels: np.ndarray, landmarks: np.ndarray, embedding: np.ndarray) -> float:
        """Similarity of the face at `landmarks` to a unit `embedding` (D,); 1 where nobody can tell."""
        if self.embed is None:
            return 1.0
        raw = self.embed(pixels, landmarks[None])[0]
        return float(raw @ embedding / max(float(np.linalg.norm(raw)), 1e-9))


def _sight(found: Found, wanted: np.ndarray) -> Sight:
    boxes, scores, landmarks = (np.asarray(part) for part in found)
    seen = np.flatnonzero(scores >= SEEN)
    boxes, landmarks = boxes[seen], landmarks[seen]
    mine = overlap(boxes, wanted)
    if not len(mine) or mine.max() < OVERLAP:
        return Sight(None, None, boxes)
    best = int(mine.argmax())
    return Sight(boxes[best], landmarks[best], np.delete(boxes, best, axis=0))

