"""Yaw, pitch and roll out of five landmarks, so that no third model has to be loaded.

The landmarks are fitted by a scaled orthographic view of a mean head: least squares gives the two rows of the rotation
times the scale (DeMenthon and Davis 1995, first step of POSIT), their cross product the third.
"""

import numpy as np

from .align import TEMPLATE

# A mean head seen from the front is ArcFace's template; depth towards the camera in the same unit. 35 units between the
# eyes are about 63 mm, and a nose tip stands about 28 mm before the eyes, mouth corners about 2 mm.
HEAD = np.column_stack([TEMPLATE, [0.0, 0.0, 15.5, 1.0, 1.0]])
FIT = np.linalg.pinv(HEAD - HEAD.mean(axis=0))     # (3, 5)


def angles(landmarks: np.ndarray) -> np.ndarray:
    """(n, 3) float32 yaw, pitch, roll in degrees of faces with landmarks (n, 5, 2).

    Yaw is positive where the face looks to the right of the picture, pitch where it looks up, roll where the head is
    turned clockwise as one sees it; all three are 0 for ArcFace's template.
    """
    points = np.asarray(landmarks, np.float64).reshape(-1, 5, 2)
    rows = np.einsum("hk,nkc->nch", FIT, points - points.mean(axis=1, keepdims=True))   # (n, 2, 3)
    rows /= np.maximum(np.linalg.norm(rows, axis=2, keepdims=True), 1e-9)
    x, y = rows[:, 0], rows[:, 1]
    forward = np.cross(x, y)    # (n, 3) the camera's axis in the head's frame, towards the camera
    roll = np.arctan2(rows[:, 1, 0], rows[:, 0, 0])
    yaw = np.arctan2(x[:, 2], np.hypot(x[:, 0], x[:, 1]))
    pitch = -np.arctan2(y[:, 2], np.abs(forward[:, 2]))
    return np.degrees(np.column_stack([yaw, pitch, roll])).astype(np.float32)
