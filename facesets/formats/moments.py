"""Which faces show one moment: clustering counts the moments of a group, the export shows each once."""

import numpy as np

BLOCK = 256     # faces compared at once with all before them: of 20,000 that is 20 MB
NONE = -2.0     # likeness to a face that shows no moment of its own, below any cosine


def again(rows: np.ndarray, similarity: float) -> dict[int, tuple[int, float]]:
    """Those of faces, best first, that nearly equal an earlier one: index -> index of the one most like it, cosine.

    rows (n, D) unit; an earlier one is one that shows a moment of its own. Empty input gives nothing.
    """
    found: dict[int, tuple[int, float]] = {}
    for start in range(0, len(rows), BLOCK):
        likeness = rows[start:start + BLOCK] @ rows[:start + BLOCK].T       # (b, start + b)
        likeness[:, list(found)] = NONE
        for index, row in enumerate(likeness, start):
            if index and (best := row[:index].max()) >= similarity:
                found[index] = int(row[:index].argmax()), float(best)
                likeness[:, index] = NONE
    return found
