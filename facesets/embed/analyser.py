"""A pack at work: photos to boxes and landmarks, faces to embeddings. InsightFace's `FaceAnalysis`, detector and
recogniser only."""

import functools
import threading
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import onnxruntime

from ..common.errors import Failure
from ..formats import cache
from . import align, detect, graph, providers
from .packs import Pack

GPU_BATCH = 8       # faces a call on a device; a fixed shape, so that DirectML compiles its kernels once
CPU_BATCH = 1       # on the CPU a batch gains nothing, see benchmarks/embed_more.py


class Analyser:
    """`provider` is the one at work; `model` goes into the cache. Safe to call from many threads."""

    def __init__(self, pack: Pack, provider: str = "cpu", thresholds: tuple[float, float] = (0.45, 0.55),
                 threads: int = 1, say: Callable[[str], None] = lambda line: None,
                 opener: providers.Opener = onnxruntime.InferenceSession) -> None:
        """Load the pack on `provider`; with `auto` on the first that starts. Raises Failure or SettingsError."""
        providers.check(provider)
        for name, why in providers.plugins().items() if provider == "auto" else ():
            if why:
                say(f"{name} is not used: {why}")
        for name in providers.available() if provider == "auto" else (provider,):
            detector, recogniser = (graph.read(weights.path, for_cpu=name == "cpu")
                                    for weights in (pack.detector, pack.recogniser))
            if not detector.is_detector or not recogniser.is_recogniser:
                raise Failure(f"{pack.name}: {pack.detector.path} is no detector with landmarks, or "
                              f"{pack.recogniser.path} no recogniser for 112 x 112")
            if any(isinstance(side, int) and side != detect.SIDE for side in detector.shape[2:]):
                raise Failure(f"{pack.detector.path} is made for {detector.shape[3]} x {detector.shape[2]} pixels "
                              f"only; take one for {detect.SIDE} x {detect.SIDE} or for any size")
            self.batch = recogniser.shape[0] if isinstance(recogniser.shape[0], int) else (
                CPU_BATCH if name in providers.ON_CPU else GPU_BATCH)
            try:
                self._at = functools.cache(partial(_at_side, detector, name, threads, say, opener))
                self.detector = self._at(detect.SIDE)
                self.recogniser = providers.Session(recogniser, name, threads, {0: self.batch}, say, opener)
                break
            except Exception as error:      # a provider without its driver raises kinds of its own
                if provider != "auto" or name == "cpu":
                    raise error if isinstance(error, Failure) else Failure(
                        f"{name} cannot run {pack.name}: {str(error).splitlines()[0]}") from None
                say(f"{name} does not start ({str(error).splitlines()[0]}); trying the next provider")
        self._opening = threading.Lock()
        self.kind = detect.Yunet() if "cls_8" in detector.outputs else detect.Scrfd()
        self._mean, self._divisor = (0.0, 1.0) if recogniser.normalises else (127.5, 127.5)
        dimension = self.recognise(np.zeros((1, align.SIDE, align.SIDE, 3), np.uint8)).shape[1]
        self.model = cache.Model(pack.name, pack.recogniser.sha256, pack.detector.sha256, dimension, *thresholds)

    @property
    def provider(self) -> str:
        return self.recogniser.provider if self.recogniser.losses else self.detector.provider

    def detect(self, bgr: np.ndarray, margin: float = 0.0, side: int = detect.SIDE, turn: int = 0) -> detect.Faces:
        """Boxes (n, 4), scores (n,), landmarks (n, 5, 2) of a photo (H, W, 3), best first, pixels of the photo.

        margin  looks at the photo with that part of its longer side added on every side: for faces too large to see
        side    of the square that the detector gets, a multiple of 32; a detector made for 640 only gets a border
        turn    looks at the photo after so many quarter turns clockwise
        """
        session = self._session(side)
        if session is self.detector:
            margin, side = max(margin, (detect.SIDE / side - 1) / 2), detect.SIDE
        place = detect.frame(bgr, margin, side, turn)
        outputs = session.run(self.kind.blob(place.square))
        return detect.in_photo(self.kind.faces(outputs, side), place, self.kind.overlap)

    def _session(self, side: int) -> providers.Session:
        with self._opening:     # one at a time, each once
            return self.detector if isinstance(self.detector.network.shape[2], int) else self._at(side)

    def embed(self, bgr: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(n, D) float32 raw embeddings of the faces at landmarks (n, 5, 2) of a photo (H, W, 3)."""
        return self.recognise(align.crops(bgr, landmarks))

    def recognise(self, faces: np.ndarray) -> np.ndarray:
        """(n, D) float32 raw embeddings of aligned faces (n, 112, 112, 3); a call is filled up with its last face."""
        if not len(faces):
            return np.zeros((0, self.model.dimension), np.float32)
        rows = []
        for start in range(0, len(faces), self.batch):
            part = faces[start:start + self.batch]
            blob = self.face_blob(*part, *[part[-1]] * (self.batch - len(part)))
            rows.append(self.recogniser.run(blob)[0][:len(part)].reshape(len(part), -1))
        return np.concatenate(rows)

    def face_blob(self, *faces: np.ndarray) -> np.ndarray:
        """(n, 3, 112, 112) float32, the recogniser's input, of aligned faces (112, 112, 3)."""
        return cv2.dnn.blobFromImages(faces, 1 / self._divisor, (align.SIDE, align.SIDE),
                                      (self._mean, self._mean, self._mean), swapRB=True)


def _at_side(detector: graph.Network, provider: str, threads: int, say: Callable[[str], None],
             opener: providers.Opener, side: int) -> providers.Session:
    return providers.Session(detector, provider, threads, {2: side, 3: side}, say, opener)
