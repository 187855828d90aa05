"""How much boxes overlap, and which are one face."""

import numpy as np

from facesets.formats.boxes import distinct, overlap, pairs, turned_boxes

ROW = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], float)


def test_overlap_is_intersection_over_union_of_any_pairing() -> None:
    assert overlap(ROW[0], ROW[1]) == 1 / 3
    assert np.allclose(overlap(ROW, ROW[0]), [1, 1 / 3, 0])
    assert np.allclose(overlap(ROW[:, None], ROW[:2]), [[1, 1 / 3], [1 / 3, 1], [0, 0]])
    assert overlap(np.zeros((0, 4)), np.zeros(4)).shape == (0,)
    assert overlap(np.array([5, 5, 1, 1.0]), ROW[0]) == overlap(np.zeros(4), np.zeros(4)) == 0   # boxes of no size


def test_turned_boxes_hold_what_they_held() -> None:
    picture = np.arange(6 * 9).reshape(6, 9)            # 9 wide, 6 high
    box = np.array([[1, 2, 4, 6]])
    held = sorted(picture[2:6, 1:4].ravel())
    for turn in range(-4, 5):
        x1, y1, x2, y2 = turned_boxes(box, turn, (9, 6))[0]
        assert sorted(np.rot90(picture, -turn)[y1:y2, x1:x2].ravel()) == held
        sides = (9, 6) if turn % 2 == 0 else (6, 9)
        assert (turned_boxes(turned_boxes(box, turn, (9, 6)), -turn, sides) == box).all()


def test_the_best_of_overlapping_boxes_stays() -> None:
    assert distinct(ROW, 0.3) == [0, 2] and distinct(ROW, 0.4) == [0, 1, 2] and distinct(ROW[:0], 0.4) == []


def test_boxes_pair_up_best_first_and_once_each() -> None:
    ours = np.array([[0, 0, 10, 10], [100, 0, 110, 10], [1, 0, 11, 10]], float)
    theirs = np.array([[1, 0, 11, 10], [300, 0, 310, 10], [0, 0, 9, 10]], float)
    assert sorted(pairs(ours, theirs, 0.35)) == [(0, 2), (2, 0)]
    assert pairs(ours, np.zeros((0, 4)), 0.35) == []
