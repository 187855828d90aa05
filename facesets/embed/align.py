"""The five-point alignment of ArcFace: every face the same way up, the same size, 112 x 112."""

import cv2
import numpy as np

SIDE = 112      # pixels of an aligned face; what ArcFace, MobileFaceNet and SFace were trained on

# Where the landmarks go, pixels of the 112² crop: left eye, right eye, nose, left and right mouth corner as one sees
# them. From insightface/utils/face_align.py.
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366],
                     [41.5493, 92.3655], [70.7299, 92.2041]])


def similarity(landmarks: np.ndarray) -> np.ndarray:
    """(2, 3) rotation, scale and shift that bring landmarks (5, 2) nearest to TEMPLATE by least squares.

    In the plane a rotation with scale is one complex factor, so the fit of Umeyama (1991), which InsightFace takes from
    scikit-image, is a quotient: sum(conj(source) * target) / sum(|source|²) on centred points.
    """
    points = np.asarray(landmarks, np.float64)
    source = (points - points.mean(axis=0)) @ (1, 1j)           # (5,) complex
    target = (TEMPLATE - TEMPLATE.mean(axis=0)) @ (1, 1j)
    factor = np.vdot(source, target) / max(np.vdot(source, source).real, 1e-12)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    shift = TEMPLATE.mean(axis=0) - turn @ points.mean(axis=0)
    return np.column_stack([turn, shift])


def crops(bgr: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(n, 112, 112, 3) uint8 aligned faces of a photo (H, W, 3), for landmarks (n, 5, 2); black outside the photo."""
    faces = np.empty((len(landmarks), SIDE, SIDE, 3), np.uint8)
    for face, points in zip(faces, landmarks, strict=True):
        cv2.warpAffine(bgr, similarity(points), (SIDE, SIDE), dst=face)
    return faces


def blur(faces: np.ndarray) -> np.ndarray:
    """(n,) float32 variance of the Laplacian of aligned faces (n, 112, 112, 3); larger is sharper."""
    values = [cv2.Laplacian(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), cv2.CV_32F).var() for face in faces]
    return np.array(values, np.float32)
