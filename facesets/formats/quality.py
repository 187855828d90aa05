"""How good a face is as a source for a swap, 0 to 1, from what the cache keeps; so it can be worked out again any time.

quality = 0.30 detection score + 0.20 size + 0.20 sharpness + 0.15 frontality + 0.15 symmetry
"""

import numpy as np

WEIGHTS = {"score": 0.30, "size": 0.20, "sharpness": 0.20, "frontality": 0.15, "symmetry": 0.15}

FULL_SIZE = 256.0       # pixels; half of the exported 512, of which the face box fills half: larger is scaled down
HALF_SHARP = 200.0      # variance of the Laplacian that counts as half sharp
FULL_TURN = 60.0        # degrees of yaw or pitch where a face shows one side only


def parts(faces: np.ndarray) -> dict[str, np.ndarray]:
    """Each part of the quality, (N,) in 0..1, of faces (N,) of dtype cache.FACE; larger is better."""
    turn = np.maximum(np.abs(faces["yaw"]), np.abs(faces["pitch"]))
    values = {
        "score": faces["det_score"],
        "size": faces["face_short"] / FULL_SIZE,
        "sharpness": faces["blur"] / (faces["blur"] + HALF_SHARP),
        "frontality": 1 - turn / FULL_TURN,
        "symmetry": _symmetry(faces["landmarks"]),
    }
    return {name: np.nan_to_num(value).clip(0, 1).astype(np.float32) for name, value in values.items()}


def score(faces: np.ndarray) -> np.ndarray:
    """(N,) float32 in 0..1 of faces (N,) of dtype cache.FACE."""
    values = parts(faces)
    return sum((WEIGHTS[name] * values[name] for name in WEIGHTS), np.zeros(len(faces))).astype(np.float32)


def worth(quality: np.ndarray, norms: np.ndarray, middle: float) -> np.ndarray:
    """(N,) 0..1, how soon one would choose a face: its quality, and how clear the recogniser finds it.

    norms (N,) of the raw embeddings, middle: their median. The norm alone ranks faces better by how well they are told
    apart than all that the eye sees together (benchmarks/quality.py), and a swap needs both.
    """
    return np.asarray((quality + np.clip(norms / max(middle, 1e-9) - 0.5, 0, 1)) / 2)


def _symmetry(landmarks: np.ndarray) -> np.ndarray:
    """(N,) how alike the left and right halves are: nose to eyes and nose to mouth corners, shorter over longer."""
    points = landmarks.astype(np.float64)
    nose = points[:, 2:3]
    reach = np.linalg.norm(points[:, [0, 1, 3, 4]] - nose, axis=2)     # (N, 4)
    pairs = reach.reshape(-1, 2, 2)
    alike: np.ndarray = (pairs.min(axis=2) / np.maximum(pairs.max(axis=2), 1e-9)).mean(axis=1)
    return alike
