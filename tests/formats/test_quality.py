"""Quality and pose: what they say about faces whose truth is known."""

import numpy as np
import people
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesets.embed import align, decode, packs, pose
from facesets.embed.analyser import Analyser
from facesets.formats import quality
from facesets.formats.cache import FACE


def turned(yaw: float = 0, pitch: float = 0, roll: float = 0) -> np.ndarray:
    """(1, 5, 2) the mean head seen from the front after it was turned by degrees: yaw, then pitch, then roll."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    head = pose.HEAD - pose.HEAD.mean(axis=0)
    return (head @ (about_z @ about_x @ about_y).T)[None, :, :2] * 3 + 200


def test_the_mean_head_looks_straight_ahead_and_arcfaces_template_nearly():
    np.testing.assert_allclose(pose.angles(pose.HEAD[None, :, :2]), 0, atol=1e-4)
    np.testing.assert_allclose(pose.angles(align.TEMPLATE[None]), 0, atol=20)


@pytest.mark.parametrize("degrees", [-50, -20, 5, 35])
def test_each_angle_alone_is_found(degrees):
    np.testing.assert_allclose(pose.angles(turned(yaw=degrees))[0], [degrees, 0, 0], atol=0.01)
    np.testing.assert_allclose(pose.angles(turned(pitch=degrees))[0], [0, degrees, 0], atol=0.01)
    np.testing.assert_allclose(pose.angles(turned(roll=degrees))[0], [0, 0, degrees], atol=0.01)


def test_a_mirrored_face_looks_the_other_way(models_dir):
    bgr = decode.read_upright(people.GROUP)
    analyser = Analyser(packs.open_pack("opencv_zoo", models_dir))
    landmarks = analyser.detect(bgr)[2]
    mirrored = landmarks[:, [1, 0, 2, 4, 3]] * (-1, 1) + (bgr.shape[1], 0)
    here, there = pose.angles(landmarks), pose.angles(mirrored)
    np.testing.assert_allclose(here[:, 0], -there[:, 0], atol=3)
    assert (np.abs(here) < 60).all()     # six people who look at the camera, more or less


@given(st.floats(0.2, 5), st.floats(-3, 3), st.floats(-500, 500), st.floats(-500, 500))
def test_alignment_undoes_any_turn_size_and_shift(scale, angle, x, y):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    landmarks = align.TEMPLATE @ turn.T + (x, y)
    matrix = align.similarity(landmarks)
    np.testing.assert_allclose(landmarks @ matrix[:, :2].T + matrix[:, 2], align.TEMPLATE, atol=1e-6)


def test_alignment_of_one_point_five_times_is_no_error():
    assert np.isfinite(align.similarity(np.full((5, 2), 7.0))).all()


def face(**values) -> np.ndarray:
    one = np.zeros(1, FACE)
    one["landmarks"], one["det_score"], one["face_short"], one["blur"] = align.TEMPLATE, 0.8, 150, 300
    for name, value in values.items():
        one[name] = value
    return one


@pytest.mark.parametrize("better, worse", [
    ({"det_score": 0.9}, {"det_score": 0.6}), ({"face_short": 250}, {"face_short": 60}),
    ({"blur": 800}, {"blur": 30}), ({"yaw": 5}, {"yaw": -40}), ({"pitch": 5}, {"pitch": 40}),
    ({}, {"landmarks": turned(yaw=40)[0]}),
])
def test_each_part_counts_in_the_right_direction(better, worse):
    assert quality.score(face(**better)) > quality.score(face(**worse))


def test_the_parts_weigh_as_the_design_says():
    assert quality.WEIGHTS == {"score": 0.30, "size": 0.20, "sharpness": 0.20, "frontality": 0.15, "symmetry": 0.15}
    one = face(yaw=12)
    values = quality.parts(one)
    assert quality.score(one)[0] == pytest.approx(sum(quality.WEIGHTS[name] * values[name][0] for name in values))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(width=32, allow_nan=True), min_size=16, max_size=16))
def test_quality_is_between_0_and_1_whatever_the_cache_says(numbers):
    one = face(landmarks=np.array(numbers[:10]).reshape(5, 2), det_score=numbers[10], face_short=numbers[11],
               blur=numbers[12], yaw=numbers[13], pitch=numbers[14], roll=numbers[15])
    with np.errstate(all="ignore"):
        assert 0 <= quality.score(one)[0] <= 1


def test_no_faces_give_no_qualities():
    assert quality.score(np.zeros(0, FACE)).shape == (0,)
    assert pose.angles(np.zeros((0, 5, 2))).shape == (0, 3)
