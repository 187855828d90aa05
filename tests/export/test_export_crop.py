"""A picture lies inside its photo and shows exactly one face to every look, or there is no picture and a reason."""

import cv2
import numpy as np
import pytest
from drawn import LOOKS, SKIN, detect, photo

from facesets.embed.decode import read_upright
from facesets.export import clean, crop
from facesets.export.looks import Looks

NEAR = [(200, 150, 300, 250), (315, 150, 375, 210)]


def drawn(tmp_path, boxes, size=(480, 640)):
    photo(tmp_path / "photo.png", boxes, 1, size)
    return read_upright(tmp_path / "photo.png")


def skin(pixels: np.ndarray) -> np.ndarray:
    return (np.abs(pixels.astype(int) - SKIN).max(axis=2) < 40)


def test_a_face_alone_is_cut_out_with_half_its_box_around(tmp_path) -> None:
    made = crop.cut_out(drawn(tmp_path, NEAR[:1]), NEAR[0], LOOKS, 512, 0.5)
    assert made.pixels.shape == (512, 512, 3) and made.isolation == "alone"
    (x1, y1, x2, y2), = detect(made.pixels)[0]
    assert np.allclose([x1, y1, x2, y2], [128, 128, 384, 384], atol=6)      # the box takes the middle half


@pytest.mark.parametrize("box", [(0, 0, 100, 100), (540, 380, 640, 480), (-5, 200, 95, 300)])
def test_a_face_at_the_edge_is_shifted_into_the_photo(tmp_path, box) -> None:
    pixels = drawn(tmp_path, [box])
    pixels[pixels.sum(axis=2) < 100] = (90, 110, 70)        # anything but black
    made = crop.cut_out(pixels, box, LOOKS, 512, 0.5)
    assert made.pixels.shape == (512, 512, 3) and len(detect(made.pixels)[0]) == 1
    assert (made.pixels.max(axis=2) > 50).all()             # nothing that is not of the photo


def test_a_face_that_fills_its_photo_gets_less_around_it_and_then_a_picture_that_is_no_square(tmp_path) -> None:
    tight = crop.cut_out(drawn(tmp_path, [(40, 40, 240, 240)], (280, 280)), (40, 40, 240, 240), LOOKS, 512, 0.5)
    assert tight.pixels.shape == (512, 512, 3)
    high = crop.cut_out(drawn(tmp_path, [(10, 30, 190, 270)], (300, 200)), (10, 30, 190, 270), LOOKS, 512, 0.5)
    assert high.pixels.shape == (512, 341, 3)       # 300 of the 336 that 0.2 of padding would take, and all of the 200


@pytest.mark.parametrize("box", [(700, 10, 800, 90), (-90, -90, -10, -10), (50, 50, 51, 51), (-40, 100, 60, 200)])
def test_a_face_that_lies_outside_the_photo_or_half_is_a_reason(tmp_path, box) -> None:
    with pytest.raises(crop.Dropped, match="outside"):
        crop.cut_out(drawn(tmp_path, [box]), box, LOOKS, 512, 0.5)


def test_a_box_without_a_face_is_a_reason(tmp_path) -> None:
    with pytest.raises(crop.Dropped, match="finds the face"):
        crop.cut_out(drawn(tmp_path, []), (100, 100, 200, 200), LOOKS, 512, 0.5)


def test_a_neighbour_is_left_out_by_a_shift_before_anything_is_painted(tmp_path) -> None:
    made = crop.cut_out(drawn(tmp_path, NEAR), NEAR[0], LOOKS, 512, 0.5, NEAR)
    assert made.isolation == "moved" and len(detect(made.pixels)[0]) == 1
    unknown = crop.cut_out(drawn(tmp_path, NEAR), NEAR[0], LOOKS, 512, 0.5)        # only the look finds it
    assert unknown.isolation == "moved" and (unknown.pixels == made.pixels).all()


def test_where_the_photo_leaves_no_room_to_shift_a_narrower_picture_comes_before_anything_is_painted(tmp_path) -> None:
    wanted, beside = (20, 150, 120, 270), (140, 150, 240, 270)      # at the left edge of the photo
    pixels = drawn(tmp_path, [wanted, beside])
    made = crop.cut_out(pixels, wanted, LOOKS, 512, 0.5, [wanted, beside])
    height, width = made.pixels.shape[:2]
    assert made.isolation == "moved" and height == 512 and 256 < width < 512 and len(detect(made.pixels)[0]) == 1
    wanted = (250, 150, 350, 270)
    pixels = drawn(tmp_path, [wanted, (135, 150, 232, 270), (368, 150, 460, 270)])
    between = crop.cut_out(pixels, wanted, LOOKS, 512, 0.5)     # nobody knew of them, the look finds them
    assert between.isolation == "moved" and between.pixels.shape[0] == 512 > between.pixels.shape[1] > 256
    part = cv2.resize(between.pixels, None, fx=(scale := 120 * 1.7 / 512), fy=scale, interpolation=cv2.INTER_AREA)
    assert cv2.matchTemplate(pixels, part, cv2.TM_CCOEFF_NORMED).max() > 0.99       # of the photo as it is


def test_an_attempt_that_ends_in_a_picture_that_was_seen_is_not_looked_at_again(tmp_path) -> None:
    asked: list[bytes] = []

    def nobody(bgr: np.ndarray):
        asked.append(bgr.tobytes())
        return tuple(part[:0] for part in detect(bgr))
    small = drawn(tmp_path, [(20, 20, 120, 120)], (140, 140))       # no padding makes it larger
    with pytest.raises(crop.Dropped, match="not every"):
        crop.cut_out(small, (20, 20, 120, 120), Looks((nobody,)), 512, 0.5)
    assert len(asked) == len(set(asked))


def test_neighbours_on_all_sides_are_taken_out_and_the_face_is_not_touched(tmp_path) -> None:
    wanted = (250, 150, 370, 290)
    around = [wanted, (150, 150, 240, 250), (380, 150, 470, 250), (260, 300, 360, 400), (260, 30, 360, 140)]
    pixels = drawn(tmp_path, around)
    made = crop.cut_out(pixels, wanted, LOOKS, 512, 0.5, around)
    assert made.isolation == "cleaned" and len(detect(made.pixels)[0]) == 1
    window = crop._narrowed(crop.around(np.array(wanted, float), (640, 480), crop.TIGHTER), np.array(wanted, float),
                            np.array(around[1:], float))
    before, scale = crop.scaled(pixels, window, 512)
    x1, y1, x2, y2 = (clean.grown((np.array(wanted) - np.tile(window[:2], 2)) * scale, clean.SPARED)).astype(int)
    assert (before[y1 + 1:y2 - 1, x1 + 1:x2 - 1] == made.pixels[y1 + 1:y2 - 1, x1 + 1:x2 - 1]).all()
    assert skin(before).sum() > skin(made.pixels).sum() > 0


def test_where_more_than_a_quarter_would_be_painted_over_there_is_no_picture(tmp_path) -> None:
    wanted = (250, 150, 370, 290)
    around = [wanted, (187, 150, 247, 290), (373, 150, 433, 290), (250, 87, 370, 147), (250, 293, 370, 353)]
    with pytest.raises(crop.Dropped, match="another face cannot be kept out"):
        crop.cut_out(drawn(tmp_path, around), wanted, LOOKS, 512, 0.5, around)


def test_nothing_painted_is_flat_or_ends_in_an_edge(tmp_path) -> None:
    rng = np.random.default_rng(0)
    pixels = np.clip(120 + 12 * rng.standard_normal((512, 512, 3)), 0, 255).astype(np.uint8)
    wanted, other = np.array([190, 190, 320, 330.0]), np.array([360, 180, 470, 310.0])
    pixels[180:310, 360:470] = SKIN
    made = clean.without(pixels, clean.covered(pixels.shape[:2], [other], wanted))
    inside = made[200:290, 380:450].astype(int)
    assert inside.std(axis=(0, 1)).min() > 3                        # the grain of the photo
    assert np.abs(inside.mean(axis=(0, 1)) - 120).max() < 25        # and its colour, not the face's
    changed = (made != pixels).any(axis=2)
    soft = np.abs(made.astype(int) - pixels)[:, 330:360][changed[:, 330:360]]
    assert soft.size and np.median(soft) < 60                       # what lies around the box fades in


def test_a_neighbour_in_front_of_the_face_is_a_reason(tmp_path) -> None:
    def two(bgr: np.ndarray):
        outer = detect(bgr)[0][:1]
        inner = outer.copy()
        inner[:, :2] += 0.55 * (inner[:, 2:] - inner[:, :2])
        return np.vstack([outer, inner]), np.ones(2 * len(outer)), np.zeros((2 * len(outer), 5, 2))
    with pytest.raises(crop.Dropped, match="another face"):
        crop.cut_out(drawn(tmp_path, NEAR[:1]), NEAR[0], Looks((two,)), 512, 0.5)


def test_every_look_must_find_the_face_and_nobody_else(tmp_path) -> None:
    pixels = drawn(tmp_path, NEAR[:1])

    def nobody(bgr: np.ndarray):
        return tuple(part[:0] for part in detect(bgr))
    with pytest.raises(crop.Dropped, match="not every"):
        crop.cut_out(pixels, NEAR[0], Looks((nobody, detect)), 512, 0.5)

    def unsure(bgr: np.ndarray):        # below the score from which tools believe it
        boxes, scores, _ = detect(bgr)
        return np.vstack([boxes, [[0, 0, 60, 60]]]), np.append(scores, 0.49), np.zeros((len(boxes) + 1, 5, 2))
    assert crop.cut_out(pixels, NEAR[0], Looks((unsure, detect)), 512, 0.5).isolation == "alone"


@pytest.mark.parametrize(("own", "somebody", "asked"), [(0.9, 0.29, 0), (0.69, 0.0, 1), (0.9, 0.31, 1)])
def test_other_sizes_are_looked_at_only_in_doubt_and_then_they_count(tmp_path, own, somebody, asked) -> None:
    pixels, calls = drawn(tmp_path, NEAR[:1]), []

    def first(bgr: np.ndarray):
        boxes, _, points = detect(bgr)
        return np.vstack([boxes, [[0, 0, 60, 60]]]), np.array([own, somebody]), np.concatenate([points, points])

    def other_size(bgr: np.ndarray):
        calls.append(1)
        return tuple(part[:0] for part in detect(bgr))
    looks = Looks((first,), in_doubt=(other_size,))
    sight = looks.see(pixels, np.array(NEAR[0], float))
    assert len(calls) == asked and sight.alone is not bool(asked)


@pytest.mark.parametrize(("scores", "hints", "asked"), [
    ((0.9, 0.9, 0.9, 0.9), (0.0, 0.0, 0.0), ""), ((0.6, 0.9, 0.9, 0.9), (0.0, 0.0, 0.0), "smaller"),
    ((0.9, 0.6, 0.6, 0.9), (0.0, 0.0, 0.0), "smaller"), ((0.9, 0.9, 0.9, 0.9), (0.4, 0.0, 0.0), "smaller"),
    ((0.9, 0.9, 0.9, 0.4), (0.0, 0.4, 0.0), "smaller between"),
    ((0.6, 0.9, 0.9, 0.9), (0.0, 0.0, 0.4), "smaller between"),
    ((0.9, 0.6, 0.4, 0.9), (0.0, 0.0, 0.0), "smaller")])
def test_a_size_between_two_is_looked_at_only_where_one_of_them_has_a_hint_of_somebody(
        tmp_path, scores, hints, asked) -> None:
    pixels, calls = drawn(tmp_path, NEAR[:1]), []

    def look(name: str, score: float, hint: float):
        def at_that_size(bgr: np.ndarray):
            calls.append(name)
            boxes, _, points = detect(bgr)
            return np.vstack([boxes, [[0, 0, 60, 60]]]), np.array([score, hint]), np.concatenate([points, points])
        return at_that_size
    other, main, *sizes = map(look, ("other", "main", "smaller", "between"), scores, (*hints, 0.0))
    sight = Looks((other, main), in_doubt=sizes).see(pixels, np.array(NEAR[0], float))
    assert calls == ["other", "main", *asked.split()] and sight.alone is (min(scores) >= 0.5)


def test_a_picture_whose_face_is_not_the_photos_any_more_is_none(tmp_path) -> None:
    pixels, unit = drawn(tmp_path, NEAR[:1]), np.array([1.0, 0.0])
    for angle, good in ((0.2, True), (0.5, False)):
        looks = Looks((detect,), lambda bgr, points, a=angle: np.array([[9 * np.cos(a), 9 * np.sin(a)]]))
        if good:
            assert crop.cut_out(pixels, NEAR[0], looks, 512, 0.5, embedding=unit).isolation == "alone"
        else:
            with pytest.raises(crop.Dropped, match="not the same"):
                crop.cut_out(pixels, NEAR[0], looks, 512, 0.5, embedding=unit)


def test_light_is_measured_on_the_face(tmp_path) -> None:
    made = crop.cut_out(drawn(tmp_path, NEAR[:1]), NEAR[0], LOOKS, 512, 0.5)
    assert 0 < made.light[0] < 1 and abs(made.light[1]) < 0.1
