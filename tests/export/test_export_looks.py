"""What looks at a picture before it is exported are the detectors of the tools, at their sizes."""

import sys
from dataclasses import replace

import cv2
import numpy as np
from drawn import MODEL

from facesets.embed import packs
from facesets.export.looks import opener


def test_a_picture_is_looked_at_as_every_tool_will(checkout, shared, models_dir, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [str(checkout / "benchmarks"), *sys.path])
    import pictures
    model = shared / "models" / "insightface_small"
    theirs, _ = pictures.looks(model, models_dir)
    made_with = replace(MODEL, sha256=packs.recogniser_sha256(str(model)))
    ours = opener(made_with, str(model), models_dir, "cpu")()
    looks = {"YuNet": ours.looks[0], "SCRFD at 640": ours.looks[1], "SCRFD at 320": ours.in_doubt[0],
             "SCRFD at its own scale": ours.in_doubt[1]}
    assert len(ours.looks) == len(ours.in_doubt) == 2 and set(theirs) == set(looks)
    photo = cv2.imread(str(sorted((shared / "photos" / "groups").glob("*.jpg"))[0]))
    scale = 512 / max(photo.shape[:2])
    picture = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    counts = set()
    for name, look in looks.items():
        boxes, scores, _ = look(picture)
        seen, wanted = boxes[scores >= pictures.SCORE], theirs[name](picture)[0]
        assert len(seen) == len(wanted) > 1, name
        assert np.abs(seen[np.argsort(seen[:, 0])] - wanted[np.argsort(wanted[:, 0])]).max() < 1, name
        counts.add(round(float(np.sort(boxes[:, 0])[0]), 2))
    assert len(counts) == 4         # no two of them are the same
