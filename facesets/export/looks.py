"""What other tools will see in a picture: a detector at their sizes, a second detector, and the recogniser.

Swap tools detect again: roop-unleashed and ReActor at 640 or 320, FaceFusion at the picture's own scale, others with
OpenCV's YuNet. Each uses whatever face it finds, so a picture is good only if all of them find one, and the same.
Words: n faces, `box` = (x1, y1, x2, y2) in pixels of the picture, a picture is (H, W, 3) uint8 BGR.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..common import terminal
from ..common.errors import SettingsError
from ..formats import cache
from ..formats.boxes import overlap

Found = tuple[np.ndarray, np.ndarray, np.ndarray]       # boxes (n, 4), scores (n,), landmarks (n, 5, 2)
Look = Callable[[np.ndarray], Found]
Embed = Callable[[np.ndarray, np.ndarray], np.ndarray]  # picture, landmarks (n, 5, 2) -> raw embeddings (n, D)

SEEN = 0.5              # score from which on a tool takes a detection for a face
HINT, SURE = 0.3, 0.7   # scores of nobody else, and of the wanted face, of a look that leaves no doubt to another size
OVERLAP = 0.4           # intersection over union with the wanted box that makes a detection the wanted face
SMALL, CANVAS = 320, 640    # roop's small setting, and FaceFusion's square, in which a picture keeps its own scale


@dataclass(frozen=True)
class Sight:
    """What a look sees: the wanted face (None: not found), and who else is there."""

    box: np.ndarray | None          # (4,)
    landmarks: np.ndarray | None    # (5, 2)
    others: np.ndarray              # (n, 4)
    score: float = 0.0              # of the wanted face
    hint: float = 0.0               # the best score of anybody else

    @property
    def alone(self) -> bool:
        return self.box is not None and not len(self.others)

    @property
    def sure(self) -> bool:
        """Far from seeing anything else."""
        return self.score >= SURE and self.hint < HINT


@dataclass(frozen=True)
class Looks:
    """Every way to look at a picture, the cheapest first and last the one whose landmarks the recogniser takes.

    in_doubt    looks at other sizes: one far from the last of `looks`, which sees what they see unless one is unsure,
                then one in between, which sees the face if both do, and nobody else unless one of them has a hint
                of somebody (benchmarks/pictures.py)
    """

    looks: Sequence[Look]
    embed: Embed | None = None
    in_doubt: Sequence[Look] = ()

    def see(self, pixels: np.ndarray, wanted: np.ndarray) -> Sight:
        """The wanted face as the last of `looks` sees it, alone; or the first sight that is otherwise."""
        sights: list[Sight] = []
        for look in self.looks:
            sights.append(_sight(look(pixels), wanted))
            if not sights[-1].alone:
                return sights[-1]
        last = sights[-1]
        for look in () if all(sight.sure for sight in sights) else self.in_doubt:
            sights.append(_sight(look(pixels), wanted))
            if not sights[-1].alone:
                return sights[-1]
            if max(sight.hint for sight in sights[-2:]) < HINT:
                break
        return last

    def cosine(self, pixels: np.ndarray, landmarks: np.ndarray, embedding: np.ndarray) -> float:
        """Similarity of the face at `landmarks` to a unit `embedding` (D,); 1 where nobody can tell."""
        if self.embed is None:
            return 1.0
        raw = self.embed(pixels, landmarks[None])[0]
        return float(raw @ embedding / max(float(np.linalg.norm(raw)), 1e-9))


def _sight(found: Found, wanted: np.ndarray) -> Sight:
    boxes, scores, landmarks = (np.asarray(part) for part in found)
    seen = np.flatnonzero(scores >= SEEN)
    mine = overlap(boxes[seen], wanted)
    if not len(mine) or mine.max() < OVERLAP:
        return Sight(None, None, boxes[seen])
    best = seen[mine.argmax()]
    hint = float(np.delete(scores, best).max(initial=0))
    return Sight(boxes[best], landmarks[best], boxes[seen[seen != best]], float(scores[best]), hint)


def opener(made_with: cache.Model, model: str, models_dir: Path, provider: str = "auto") -> Callable[[], Looks]:
    """What `swap.export` opens: the pack that the cache was made with, at every size, and OpenCV's YuNet.

    A pack with a name is known by it; a folder has to be what the setting `model` names. Raises SettingsError else.
    """
    def load() -> Looks:
        from ..embed import analyser, packs  # onnxruntime takes a second, which a run without pictures saves
        known = made_with.name in packs.KNOWN and packs.recogniser_sha256(made_with.name) == made_with.sha256
        if not known and packs.recogniser_sha256(model) != made_with.sha256:
            raise SettingsError(f"the cache was made with {terminal.safe(made_with.name)}, not with {model}; name that "
                                "pack with --model or FACESETS_MODEL")
        pack = analyser.Analyser(packs.open_pack(made_with.name if known else model, models_dir), provider)
        pack.kind.threshold = HINT
        yunet = Yunet(packs.open_pack("opencv_zoo", models_dir).detector.path)

        def own_scale(pixels: np.ndarray) -> Found:
            below, beside = (max(CANVAS - side, 0) for side in pixels.shape[:2])
            return pack.detect(cv2.copyMakeBorder(pixels, 0, below, 0, beside, cv2.BORDER_CONSTANT))
        return Looks((yunet, pack.detect), pack.embed, (lambda pixels: pack.detect(pixels, side=SMALL), own_scale))
    return load


class Yunet:
    """OpenCV's own detector at the picture's own scale; one a thread, since it keeps the size of its picture.

    In the network of `embed`, which takes 640 x 640, the border around a smaller picture would hide faces at its edge.
    """

    def __init__(self, weights: Path) -> None:
        self._weights, self._own = weights, threading.local()

    def __call__(self, pixels: np.ndarray) -> Found:
        detector: Any = getattr(self._own, "detector", None)
        if detector is None:
            detector = self._own.detector = cv2.FaceDetectorYN.create(str(self._weights), "", (320, 320), HINT)
        detector.setInputSize(pixels.shape[1::-1])
        found = detector.detect(pixels)[1]
        found = np.zeros((0, 15), np.float32) if found is None else found
        corner = found[:, :2]
        return np.hstack([corner, corner + found[:, 2:4]]), found[:, 14], found[:, 4:14].reshape(-1, 5, 2)
