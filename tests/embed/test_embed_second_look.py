"""Tight close-ups, which a detector at 640 pixels does not see: found at the second look, and only there."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import people
import pytest

from facesets.embed import decode, lanes, packs
from facesets.embed.analyser import Analyser
from facesets.formats import queue as queues
from facesets.formats.boxes import pairs

WHOLE = (queues.ImmichFace((0.0, 0.0, 1.0, 1.0)),)        # what Immich says of a close-up


@pytest.fixture(scope="module")
def analyser(shared) -> Analyser:
    return Analyser(packs.open_pack(str(shared / "models/insightface_small"), Path()))


@pytest.fixture(scope="module")
def close_ups(analyser, shared, tmp_path_factory) -> list[Path]:
    """Faces of labelled portraits, cut along the middle of forehead and chin and made 700 pixels wide."""
    folder, paths = tmp_path_factory.mktemp("close"), []
    for number, source in enumerate(sorted(shared.glob("photos/people/*/*.jpg"))[::35]):
        bgr = decode.read_upright(source)
        boxes = analyser.detect(bgr)[0]
        if len(boxes) != 1:
            continue
        x1, y1, x2, y2 = boxes[0]
        cut = 0.1 * (y2 - y1)
        face = bgr[max(int(y1 + cut), 0):int(y2 - cut), max(int(x1), 0):int(x2)]
        paths.append(folder / f"{number}.jpg")
        cv2.imwrite(str(paths[-1]), cv2.resize(face, (700, 700 * face.shape[0] // face.shape[1])))
    return paths


def test_close_ups_that_immich_saw_are_found_at_the_second_look(analyser, close_ups):
    first = [len(analyser.detect(decode.read_upright(path))[0]) for path in close_ups]
    looked = [lanes.look(people.entry(path, faces=WHOLE), analyser) for path in close_ups]
    missed = [outcome for outcome, seen in zip(looked, first, strict=True) if not seen]
    found = [outcome for outcome in missed if outcome.photo.status == "faces"]
    print(f"\n{len(close_ups)} close-ups, {len(missed)} without a face at the first look, {len(found)} of them found")
    assert len(missed) >= 5
    assert len(found) >= 0.8 * len(missed)
    assert all(outcome.second_look for outcome in found)
    for outcome in found:
        box = outcome.faces["box"][:1]
        picture = np.array([[0, 0, outcome.photo.width, outcome.photo.height]])
        assert pairs(box, picture, 0.5), "the face of a close-up fills it"


def test_photos_with_a_face_are_looked_at_once(analyser, shared, monkeypatch):
    margins = []
    real = analyser.detect
    monkeypatch.setattr(analyser, "detect", lambda bgr, margin=0.0, **_: (margins.append(margin), real(bgr, margin))[1])
    for path in sorted(shared.glob("photos/groups/*.jpg"))[::40]:
        outcome = lanes.look(people.entry(path, faces=WHOLE), analyser)
        boxes, scores, landmarks = real(decode.read_upright(path))
        assert not outcome.second_look
        np.testing.assert_array_equal(outcome.faces["box"], boxes)
        np.testing.assert_array_equal(outcome.faces["det_score"], scores)
        np.testing.assert_array_equal(outcome.faces["landmarks"], landmarks)
    assert set(margins) == {0.0} and margins


def test_without_a_big_face_in_immich_nobody_looks_again_but_in_folders_of_the_operators_own(analyser, close_ups):
    unseen = [path for path in close_ups if not len(analyser.detect(decode.read_upright(path))[0])]
    small = (queues.ImmichFace((0.4, 0.4, 0.5, 0.5)),)     # 70 pixels
    for faces in ((), small):
        assert lanes.look(people.entry(unseen[0], faces=faces), analyser).photo.status == "noface"
    assert lanes.look(replace(people.entry(unseen[0]), asset_id=""), analyser).photo.status == "faces"


def test_a_margin_keeps_boxes_and_landmarks_where_they_are(analyser):
    """The same faces, seen smaller: within what a detector at half the size is off."""
    bgr = decode.read_upright(people.GROUP)
    boxes, _, landmarks = analyser.detect(bgr)
    wide, _, points = analyser.detect(bgr, 0.3)
    matched = pairs(boxes, wide, 0.6)
    assert len(matched) == len(boxes)
    for a, b in matched:
        assert np.abs(landmarks[a] - points[b]).max() < 0.1 * (boxes[a, 2] - boxes[a, 0])
