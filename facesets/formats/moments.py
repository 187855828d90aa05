"""Which faces show one moment: clustering counts the moments of a group, the export shows each once."""

import numpy as np


def again(rows: np.ndarray, similarity: float) -> dict[int, tuple[int, float]]:
    """Those of faces, best first, that nearly equal an earlier one: index -> index of the one most like it, cosine.

    rows (n, D) unit; an earlier one is one that shows a moment of its own. Empty input gives nothing.
    """
    found: dict[int, tuple[int, float]] = {}
    first = np.empty_like(rows)     # (m,) of them are of faces with a moment of their own
    own: list[int] = []             # (m,) their indices
    for index, row in enumerate(rows):
        likeness = first[:len(own)] @ row       # (m,)
        if len(own) and likeness.max() >= similarity:
            found[index] = own[int(likeness.argmax())], float(likeness.max())
        else:
            first[len(own)] = row
            own.append(index)
    return found
