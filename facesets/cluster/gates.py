"""Which faces may form identities, and why the others may not."""

from collections.abc import Collection

import numpy as np

from ..formats import boxes
from ..formats.cache import short_key
from .pool import Pool
from .rules import Rules

DOUBLED = 0.5   # overlap (IoU) of two boxes that are one face seen twice


def reasons(pool: Pool, rules: Rules, left_out: Collection[str] = ()) -> list[str]:
    """N texts: why a face may not take part in clustering, "" where it may. `left_out`: short keys."""
    found = ["left out by a person" if left_out and short_key(key) in left_out else "" for key in pool.keys]
    gates = ((pool.meta["det_score"], rules.min_score, "the detector is not sure of it"),
             (pool.meta["face_short"], rules.min_short, "too small"),
             (pool.clarity, rules.min_clarity, "too dim: blurred, hidden or turned"))
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
    return [int(face) for faces in np.split(order, ends) if len(faces) > 1
            for face in np.delete(faces, boxes.distinct(pool.meta["box"][faces], DOUBLED))]
