"""Our numbers against InsightFace's own `FaceAnalysis(...).get()`, on the same upright pixels.

FACESETS_ALL_PHOTOS=1 takes all 1,128 labelled photos instead of every sixteenth. Where onnxruntime-openvino is
installed its provider is held to the same.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from facesets.embed import decode, packs, providers
from facesets.embed.analyser import Analyser
from facesets.formats.boxes import pairs

EVERY = 1 if os.environ.get("FACESETS_ALL_PHOTOS") else 16


@pytest.fixture(scope="module")
def photos(shared: Path) -> list[Path]:
    """Portraits and group photos, spread evenly over the labelled ones."""
    return [*sorted(shared.glob("photos/people/*/*.jpg")), *sorted(shared.glob("photos/groups/*.jpg"))][::EVERY]


def reference(folder: Path):
    """InsightFace as its manual says, but with the detection size given."""
    from insightface.app import FaceAnalysis
    faces = FaceAnalysis(str(folder), providers=["CPUExecutionProvider"])
    faces.prepare(0, det_size=(640, 640))
    return faces


@pytest.mark.parametrize("provider", [name for name in providers.available() if name in providers.ON_CPU])
@pytest.mark.parametrize("name", ["insightface_small", "embed_512"])
def test_faces_boxes_landmarks_and_embeddings_are_those_of_insightface(shared, photos, name, provider):
    folder = shared / "models" / name
    ours, theirs = Analyser(packs.open_pack(str(folder), Path()), provider), reference(folder)
    faces, box, landmark, score, cosine = 0, 0.0, 0.0, 0.0, 1.0
    for path in photos:
        bgr = decode.read_upright(path)
        boxes, scores, landmarks = ours.detect(bgr)
        raw = ours.embed(bgr, landmarks)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)      # scikit-image's, about InsightFace's alignment
            expected = theirs.get(bgr)
        assert len(expected) == len(boxes), path
        if not expected:
            continue
        matched = pairs(boxes, np.array([face.bbox for face in expected]), 0.5)
        assert len(matched) == len(boxes), path
        for mine, its in matched:
            faces += 1
            box = max(box, np.abs(boxes[mine] - expected[its].bbox).max())
            landmark = max(landmark, np.abs(landmarks[mine] - expected[its].kps).max())
            score = max(score, abs(scores[mine] - expected[its].det_score))
            a, b = raw[mine], expected[its].embedding
            cosine = min(cosine, a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    print(f"\n{name} on {provider}: {len(photos)} photos, {faces} faces; at worst box {box:.3g} px, "
          f"landmark {landmark:.3g} px, score {score:.3g}, cosine {cosine:.7f}")
    assert faces > len(photos)
    assert box <= 0.5
    assert landmark <= 0.5
    assert score <= 1e-3
    assert cosine >= 0.9999


def test_opencv_zoo_gives_the_numbers_of_opencvs_own_classes(photos, models_dir):
    import cv2

    from facesets.embed import align, detect
    opencv_zoo = packs.open_pack("opencv_zoo", models_dir)
    ours = Analyser(opencv_zoo)
    detector = cv2.FaceDetectorYN.create(str(opencv_zoo.detector.path), "", (640, 640), 0.6, 0.3, 5000)
    recogniser = cv2.FaceRecognizerSF.create(str(opencv_zoo.recogniser.path), "")
    faces = 0
    for path in photos[::5]:
        bgr = decode.read_upright(path)
        boxes, _, landmarks = ours.detect(bgr)
        place = detect.frame(bgr)
        _, found = detector.detect(place.square)
        found = np.zeros((0, 15), np.float32) if found is None else found[np.argsort(-found[:, 14], kind="stable")]
        assert len(found) == len(boxes), path
        corners = np.hstack([found[:, :2], found[:, :2] + found[:, 2:4]]) / place.scale
        np.testing.assert_allclose(boxes, corners, atol=0.01)
        np.testing.assert_allclose(landmarks.reshape(-1, 10), found[:, 4:14] / place.scale, atol=0.01)
        for crop in align.crops(bgr, landmarks):
            mine, its = ours.recognise(crop[None])[0], recogniser.feature(crop).ravel()
            assert mine @ its / np.linalg.norm(mine) / np.linalg.norm(its) > 0.99999
            faces += 1
    assert faces >= 10
