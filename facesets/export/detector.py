"""Everything that looks at a picture before it is exported, opened only when a picture has to be made."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..common import terminal
from ..common.errors import SettingsError
from ..formats import cache
from .looks import HINT, Found, Looks

SMALL, CANVAS = 320, 640    # roop's small setting, and FaceFusion's square, in which a picture keeps its own scale


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
