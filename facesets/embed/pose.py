"""Yaw, pitch and roll out of five landmarks, so that no third model has to be loaded.

The landmarks are fitted by a scaled orthographic view of a mean head: least squares gives the two rows of the rotation
times the scale (DeMenthon and Davis 1995, first step of POSIT), their cross product the third.
"""

import numpy as np

# Left eye, right eye, nose, left and right mouth corner of a mean head from the front, and how far each stands towards
# the camera; 37 units between the eyes are about 63 mm. The first two are the median of 900 labelled faces that look
# less than 15 degrees aside, aligned and made symmetric, mean of three detectors (ArcFace's template itself would make
# people look 15 degrees down); a nose tip stands about 30 mm before the eyes, mouth corners about 2 mm.
HEAD = np.array([[37.4, 52.6, 0.0], [74.6, 52.6, 0.0], [56.0, 74.8, 18.0], [39.6, 90.0, 1.0], [72.4, 90.0, 1.0]])
FIT = np.linalg.pinv(HEAD - HEAD.mean(axis=0))     # (3, 5)


def angles(landmarks: np.ndarray) -> np.ndarray:
    """(n, 3) float32 yaw, pitch, roll in degrees of faces with landmarks (n, 5, 2).

    Yaw is positive where the face looks to the right of the picture, pitch where it looks up, roll where the head is
    turned clockwise as one sees it; all three are 0 for HEAD seen from the front.
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
