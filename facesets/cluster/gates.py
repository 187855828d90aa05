"""Which faces may form identities, and which clusters are a faceset."""

import numpy as np

from .pool import Pool
from .rules import Rules

DOUBLED = 0.5   # overlap (IoU) of two boxes that are one face seen twice


def reasons(pool: Pool, rules: Rules) -> list[str]:
    """N texts: why a face may not take part in clustering, "" where it may."""
    found = [""] * len(pool)
    gates = ((pool.meta["det_score"], rules.min_score, "the detector is not sure of it"),
             (pool.meta["face_short"], rules.min_short, "too small"),
             (pool.meta["blur"], rules.min_blur, "blurred"))
    for values, least, reason in gates:
        for face in np.flatnonzero(~(values >= least)):
            found[face] = found[face] or reason
    for twice in doubled(pool):
        found[twice] = found[twice] or "the same face, detected twice"
    return found


def doubled(pool: Pool) -> list[int]:
    """Faces whose box lies mostly on that of a surer face of the same photo."""
    order = np.lexsort((np.arange(len(pool)), -pool.meta["det_score"], pool.photo))
    ends = np.flatnonzero(np.diff(pool.photo[order])) + 1
    worse: list[int] = []
    for faces in np.split(order, ends):
        kept: list[int] = []
        for face in faces if len(faces) > 1 else ():
            if any(overlap(pool.meta["box"][face], pool.meta["box"][other]) >= DOUBLED for other in kept):
                worse.append(int(face))
            else:
                kept.append(int(face))
    return worse


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))
