"""A stand-in for a graphics card: an onnxruntime session that answers as slowly, and can fail as one.

It knows who calls it, so a test can say that no two threads were inside at once, and which shapes came in.
"""

import threading
import time
from pathlib import Path

import numpy as np

SECONDS = {"detector": 0.010, "recogniser": 0.008}     # a call of det_10g and of w600k_r50 on a Radeon RX Vega
PROVIDERS = {"dml": "DmlExecutionProvider", "cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class Session:
    """What `Card.open` gives in the place of onnxruntime.InferenceSession."""

    def __init__(self, card: "Card", source: str, options, providers: list[str]) -> None:
        self.card, self.options, self.providers = card, options, providers
        self.role = "detector" if isinstance(source, str) and "scrfd" in source else "recogniser"

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"] if self.card.falls_back else self.providers

    def run(self, names, feed) -> list[np.ndarray]:
        card = self.card
        with card.lock:
            card.inside[self.role] = card.inside.get(self.role, 0) + 1
            card.crowd = max(card.crowd, card.inside[self.role])
            number = len(card.calls)
            card.calls.append((self.role, self.providers[0], next(iter(feed.values())).shape, threading.get_ident()))
        try:
            if card.fails and (message := card.fails(self, number)):
                raise RuntimeError(message)
            time.sleep(card.seconds[self.role])
            blob = next(iter(feed.values()))
            return faces_out(card.faces) if self.role == "detector" else [recognised(blob)]
        finally:
            with card.lock:
                card.inside[self.role] -= 1


class Card:
    """A device that finds `faces` faces in every photo. `fails(session, call number)` gives an error message or ""."""

    def __init__(self, faces: int = 2, falls_back: bool = False, fails=None, seconds: dict[str, float] | None = None):
        self.faces, self.falls_back, self.fails = faces, falls_back, fails
        self.seconds = seconds or SECONDS
        self.lock, self.inside, self.crowd = threading.Lock(), {}, 0
        self.calls: list[tuple[str, str, tuple[int, ...], int]] = []
        self.sessions: list[Session] = []

    def open(self, source: str | Path, options=None, providers=()) -> Session:
        self.sessions.append(Session(self, source, options, list(providers)))
        return self.sessions[-1]


def faces_out(count: int) -> list[np.ndarray]:
    """SCRFD's nine outputs for 640 x 640 with `count` faces of 96 pixels in a row."""
    outputs = [np.zeros((1, 2 * (640 // stride) ** 2, width), np.float32)
               for width in (1, 4, 10) for stride in (8, 16, 32)]
    points = np.array([[-.5, -.4], [.5, -.4], [0, .1], [-.4, .5], [.4, .5]]) * 1.5 * 0.6
    for face in range(count):
        anchor = 2 * (3 * 20 + 2 + 4 * face)       # cell row 3, columns 2, 6, 10, … of the coarsest level
        outputs[2][0, anchor] = 0.9 - 0.01 * face
        outputs[5][0, anchor] = 1.5                 # times the stride of 32: 48 pixels to every side
        outputs[8][0, anchor] = points.ravel()
    return outputs


def recognised(blob: np.ndarray) -> np.ndarray:
    """(n, 512) embeddings that depend on the face alone, whatever batch it is in."""
    patches = blob.reshape(len(blob), 3, 16, 7, 16, 7).mean(axis=(3, 5)).reshape(len(blob), -1)[:, :512]
    return (patches + np.linspace(-1, 1, 512)).astype(np.float32)
