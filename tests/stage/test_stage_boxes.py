"""Face boxes and asset rows, against the replies recorded from Immich v2.7.2, and at their edges."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facesets.immich import boxes
from facesets.stage.judge import Rules, excluding, judge, row


def reply(shared, number):
    path = next((shared / "immich" / "recorded-2.7.2").glob(f"{number}_*.json"))
    return json.loads(path.read_text())["response"]["json"]


def items(shared, number):
    return {item["originalFileName"]: item for item in reply(shared, number)["assets"]["items"]}


def face(x1, y1, x2, y2, width=1000, height=800, **more):
    return {"boundingBoxX1": x1, "boundingBoxY1": y1, "boundingBoxX2": x2, "boundingBoxY2": y2, "imageWidth": width,
            "imageHeight": height, **more}


@pytest.mark.parametrize(("name", "short"), [
    ("grace_orient6.jpg", 180), ("grace_orient3_big.jpg", 506 * 2048 / 1440), ("china_big.jpg", 80 * 3840 / 2158),
    ("moon.png", 31), ("two_people.jpg", 180), ("rocket.jpg", None)])
def test_recorded_boxes_have_their_size_in_the_original(shared, name, short):
    """Turned by exif, scaled down by Immich, over the edge, several, of a hidden person."""
    item = items(shared, "032")[name]
    largest, placed = boxes.measure(boxes.faces_of(item), boxes.upright_size(item))
    if short is None:
        assert largest > 0 and placed
    else:
        assert largest == pytest.approx(short, rel=0.01)
    assert all(0 <= side <= 1 for one in placed for side in one.box)


def test_recorded_assets_become_rows_with_the_right_outcome(shared):
    listed = items(shared, "032")
    owner = next(iter(listed.values()))["ownerId"]
    rows = {name: row(item, Rules(owner, 90, excluding(["**/thumbs/**"]), True)) for name, item in listed.items()}
    assert rows["flower.jpg"].outcome == "none" and rows["grace_hopper.jpg"].outcome == "wanted"
    assert rows["moon.png"].outcome == "small"          # 120 × 90 pixels, but half of it outside of the picture
    assert all(one.content and one.size > 0 for one in rows.values())
    assert rows["grace_orient6.jpg"].width == 512 and rows["grace_orient6.jpg"].height == 600
    assert json.loads(rows["two_people.jpg"].faces)[0][5] == "Eileen"
    assert row(listed["flower.jpg"], Rules("somebody", 90, excluding([]), True)).outcome == "foreign"


def test_what_a_3_1_told_of_an_asset_is_asked_about_and_its_boxes_are_placed(shared):
    folder = shared / "immich" / "recorded-3.1.0"
    search, faces = (json.loads(next(folder.glob(f"{number}_*.json")).read_text())["response"]["json"]
                     for number in ("010", "039"))
    item, = search["assets"]["items"]
    asset = row(item, Rules(item["ownerId"], 90, excluding([]), False))
    assert asset.outcome == "ask" and (asset.width, asset.height, asset.size) == (1200, 1600, 472385)
    outcome, placed = judge(faces, (asset.width, asset.height), 90)
    (x1, y1, x2, y2, person, name), = json.loads(placed)
    assert outcome == "wanted" and (person, name) == (item["people"][0]["id"], item["people"][0]["name"])
    assert (x1, y1, x2, y2) == pytest.approx((201 / 1200, 35 / 1600, 401 / 1200, 235 / 1600), abs=1e-5)


def test_a_reply_that_was_not_asked_for_people_has_no_boxes_rather_than_no_faces(shared):
    assert boxes.faces_of(items(shared, "029")["two_people.jpg"]) is None
    assert boxes.faces_of(items(shared, "032")["flower.jpg"]) == []


def test_an_edited_asset_is_measured_in_the_frame_that_its_boxes_live_in(shared):
    searched = items(shared, "234")["two_people.jpg"]       # raw boxes of the unedited original
    assert boxes.upright_size(items(shared, "233")["two_people.jpg"]) == (1124, 606)
    raw = boxes.measure(boxes.faces_of(searched), (1124, 606))
    moved = boxes.measure(reply(shared, "231"), boxes.edited_size(searched), placed=False)
    assert raw[0] == pytest.approx(moved[0], abs=1) and len(raw[1]) == 2 and moved[1] == []


@pytest.mark.parametrize("bad", [
    face(0, 0, 0, 100), face(50, 50, 40, 60), face(0, 0, 100, 100, 0, 800), face(0, 0, 100, 100, 1000, 700),
    face(0, 0, 900, 700, imageHeight=None), face(-50, -50, -1, -1),
    face(1001, 0, 1100, 90), {}, face("a", 0, 1, 1), face(None, 0, 1, 1)])
def test_impossible_boxes_do_not_count(bad):
    assert boxes.measure([bad], (4000, 3200)) == (0.0, [])


def test_hidden_and_deleted_faces_are_none():
    seen = face(0, 0, 900, 700)
    hidden, deleted = face(0, 0, 900, 700, isVisible=False), face(0, 0, 900, 700, deletedAt="2024-01-01")
    assert boxes.visible([hidden, seen, deleted]) == [seen]
    assert judge([hidden, deleted], (1000, 800), 90) == ("none", "[]")


def test_a_frame_may_be_rounded_but_not_of_another_shape():
    assert boxes.same_aspect((3840, 2562), (2158, 1440))
    assert boxes.same_aspect((4000, 31), (2000, 16))    # half a pixel of 16 is 3 %
    assert not boxes.same_aspect((4000, 3000), (3000, 4000))
    assert not boxes.same_aspect((4000, 3000), (1920, 1480))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])    # a busy machine proves nothing
@given(st.integers(1, 6000), st.integers(1, 6000), st.tuples(*[st.integers(-500, 6500)] * 4), st.integers(1, 4))
def test_a_box_is_never_larger_than_its_picture_nor_scaled_wrongly(width, height, sides, times):
    largest, placed = boxes.measure([face(*sides, width, height)], (width * times, height * times))
    assert 0 <= largest <= min(width, height) * times
    for one in placed:
        assert 0 <= one.box[0] <= one.box[2] <= 1 and 0 <= one.box[1] <= one.box[3] <= 1
