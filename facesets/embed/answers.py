"""Whether a worker of an engine may be believed: its proof once a process, and each of its answers, against ours."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..common import terminal
from ..common.errors import SettingsError
from ..common.workers import NONE
from ..formats import boxes, cache
from . import decode, doctor, lanes, remote

EQUAL = doctor.EQUAL    # cosine of a worker's embeddings of the sample to ours


def sample() -> bytes:
    """The photo on which a worker is compared with us."""
    paths = doctor.sample_paths()
    if not paths:
        raise SettingsError("--scheduler: insightface, whose photo workers are proven with, is not installed; install "
                            "the lock")
    return decode.read_bytes(paths[0])


def refusal(proof: Any, model: cache.Model, our_boxes: np.ndarray, our_raw: np.ndarray) -> str:
    """Why a worker that gives this for `remote.prove` gets no photos; "" where it is as we are.

    our_boxes (n, 4), our_raw (n, D): the faces of the sample by our `model`.
    """
    if not isinstance(proof, remote.Proof):
        return NONE
    host = f"({terminal.safe(proof.host)})"
    if proof.models != (model.detector_sha256, model.sha256):
        return f"{host} has other models under the name {model.name}"
    if (cosine := _parity(proof, our_boxes, our_raw)) < EQUAL:
        return (f"{host} gives other faces on {terminal.safe(proof.provider)}: cosine {cosine:.4f} to ours, {EQUAL} is "
                "needed; embed_worker.py --doctor there says more")
    return ""


def _parity(proof: remote.Proof, our_boxes: np.ndarray, our_raw: np.ndarray) -> float:
    """The lowest cosine of an embedding to ours of the same face; 0 where the faces are others."""
    if not all(
            isinstance(its, np.ndarray) and its.dtype.kind == "f" and its.shape == mine.shape
            and np.isfinite(its).all() for its, mine in ((proof.boxes, our_boxes), (proof.raw, our_raw))):
        return 0.0
    matched = boxes.pairs(our_boxes, proof.boxes, 0.5)
    if len(matched) != len(our_boxes):
        return 0.0
    ours, theirs = doctor.unit(our_raw), doctor.unit(proof.raw)
    return min((float(ours[mine] @ theirs[its]) for mine, its in matched), default=0.0)


def numbers(raw: np.ndarray) -> bool:
    """Whether raw embeddings (n, D) are some; a card that is broken, or too hot, gives others."""
    norms = np.linalg.norm(raw, axis=1)
    return bool((np.isfinite(norms) & (norms > 0)).all())


def sound(answer: Any, unread: cache.Photo, model: cache.Model) -> bool:
    """Whether this is what `remote.look` gives for that photo, in every field that goes into a cache or a summary."""
    try:
        outcome, provider, losses = answer
        photo, faces, raw = outcome.photo, outcome.faces, outcome.raw
        cache.check(lanes.as_cache([outcome], model))
        return (all(type(value) is kind for value, kind in (
                    (outcome, lanes.Outcome), (photo, cache.Photo), (photo.status, str), (photo.reason, str),
                    (photo.width, int), (photo.height, int), (photo.turn, int), (outcome.second_look, bool),
                    (outcome.suspect, bool), (provider, str), (losses, int)))
                and photo == replace(unread, status=photo.status, reason=photo.reason, width=photo.width,
                                     height=photo.height, turn=photo.turn)
                and photo.reason == terminal.safe(photo.reason) and min(photo.width, photo.height, losses) >= 0
                and len(faces) == len(raw) and (not len(raw) or raw.dtype == np.float32)
                and (photo.status == "faces") == bool(len(faces))
                and all(np.isfinite(faces[name]).all() for name in cache.FACE.names or ())
                and _plausible(faces, max(photo.width, photo.height)))
    except (TypeError, ValueError, AttributeError, IndexError):
        return False


def _plausible(faces: np.ndarray, side: int) -> bool:
    """Whether FACE (n,) can be of a photo whose longer side that is; a face may lie half outside of it."""
    places = np.hstack([faces["box"].reshape(-1, 4), faces["landmarks"].reshape(-1, 10)])
    parts = np.column_stack([faces["det_score"], faces["quality"]])
    return bool(((-side <= places) & (places <= 2 * side)).all() and ((parts >= 0) & (parts <= 1)).all()
                and (faces["box"][:, :2] < faces["box"][:, 2:]).all() and (faces["face_short"] > 0).all()
                and (faces["blur"] >= 0).all())
