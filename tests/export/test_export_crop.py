"""A picture shows exactly one face that a detector finds, or there is no picture and a reason."""

import numpy as np
import pytest
from drawn import SKIN, detect, photo

from facesets.embed.decode import read_upright
from facesets.export import crop


def picture(tmp_path, boxes, wanted=0, padding=0.5):
    photo(tmp_path / "photo.png", boxes, 1)
    return crop.cut_out(read_upright(tmp_path / "photo.png"), boxes[wanted], detect, 512, padding)


def faces_in(pixels: np.ndarray) -> int:
    return len(detect(pixels)[0])


def test_a_face_alone_is_cut_out_with_half_its_box_around(tmp_path) -> None:
    made = picture(tmp_path, [(200, 150, 300, 250)])
    assert made.pixels.shape == (512, 512, 3) and made.isolation == "alone"
    (x1, y1, x2, y2), = detect(made.pixels)[0]
    assert np.allclose([x1, y1, x2, y2], [128, 128, 384, 384], atol=6)      # the box takes the middle half


def test_a_neighbour_is_masked(tmp_path) -> None:
    made = picture(tmp_path, [(200, 150, 300, 250), (315, 150, 375, 210)])
    assert made.isolation == "masked" and faces_in(made.pixels) == 1


def stubborn(seen_below: float):
    """A detector that sees another face in the corner, whatever covers it, while the wanted one is that small."""
    def look(bgr: np.ndarray):
        boxes, scores, landmarks = detect(bgr)
        if len(boxes) and boxes[0][2] - boxes[0][0] < seen_below:
            boxes = np.vstack([boxes[:1], [[0, 0, 60, 60]]])
        return boxes, scores, landmarks
    return look


def test_a_neighbour_that_no_mask_hides_is_cut_off(tmp_path) -> None:
    photo(tmp_path / "photo.png", [(200, 150, 300, 250)], 1)
    made = crop.cut_out(read_upright(tmp_path / "photo.png"), (200, 150, 300, 250), stubborn(340), 512, 0.5)
    (x1, _, x2, _), = detect(made.pixels)[0]
    assert made.isolation == "tightened" and x2 - x1 > 340


def test_a_neighbour_that_cannot_be_kept_out_is_a_reason(tmp_path) -> None:
    photo(tmp_path / "photo.png", [(200, 150, 300, 250)], 1)
    with pytest.raises(crop.Dropped, match="another face"):
        crop.cut_out(read_upright(tmp_path / "photo.png"), (200, 150, 300, 250), stubborn(600), 512, 0.5)


def test_a_face_at_the_edge_gets_black_beyond_the_photo(tmp_path) -> None:
    made = picture(tmp_path, [(0, 0, 100, 100)])
    assert faces_in(made.pixels) == 1 and not made.pixels[:100].any()


@pytest.mark.parametrize("box", [(700, 10, 800, 90), (-90, -90, -10, -10), (50, 50, 51, 51)])
def test_a_box_outside_the_photo_is_a_reason(tmp_path, box) -> None:
    photo(tmp_path / "photo.png", [], 1)
    with pytest.raises(crop.Dropped, match="outside"):
        crop.cut_out(read_upright(tmp_path / "photo.png"), box, detect, 512, 0.5)


def test_a_box_without_a_face_is_a_reason(tmp_path) -> None:
    with pytest.raises(crop.Dropped, match="no face"):
        photo(tmp_path / "photo.png", [], 1)
        crop.cut_out(read_upright(tmp_path / "photo.png"), (100, 100, 200, 200), detect, 512, 0.5)


def test_a_mask_never_covers_the_face_itself(tmp_path) -> None:
    made = picture(tmp_path, [(200, 150, 300, 250), (306, 140, 406, 240)])
    (x1, y1, x2, y2), = detect(made.pixels)[0].astype(int)
    disc = (np.abs(made.pixels[y1:y2, x1:x2].astype(int) - SKIN).max(axis=2) < 40).mean()
    assert disc > 0.75      # a full disc fills 0.785 of its box


def test_a_face_known_in_the_photo_is_masked_even_if_this_detector_does_not_see_it(tmp_path) -> None:
    boxes = [(200, 150, 300, 250), (315, 150, 375, 210)]
    photo(tmp_path / "photo.png", boxes, 1)

    def first_only(bgr: np.ndarray):
        return tuple(part[:1] for part in detect(bgr))
    pixels = read_upright(tmp_path / "photo.png")
    unaware = crop.cut_out(pixels, boxes[0], first_only, 512, 0.5)
    assert unaware.isolation == "alone" and faces_in(unaware.pixels) == 2
    aware = crop.cut_out(pixels, boxes[0], first_only, 512, 0.5, boxes)
    assert aware.isolation == "masked" and faces_in(aware.pixels) == 1


def test_light_is_measured_on_the_face(tmp_path) -> None:
    made = picture(tmp_path, [(200, 150, 300, 250)])
    assert 0 < made.light[0] < 1 and abs(made.light[1]) < 0.1
