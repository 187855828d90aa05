"""What is asked, in which order, and what an answer does to the books: arrays in, questions out."""

from dataclasses import replace

import numpy as np
import pytest
from report_library import around

from facesets.common.errors import UsageError
from facesets.formats.vectors import unit_mean
from facesets.review import answers
from facesets.review.people import Halves, Loose, Near, Person, halves
from facesets.review.questions import LEAST, PURE, SAME, WRONG, Books, ask, outlook, probability

RNG = np.random.default_rng(5)


def centre(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(64).astype(np.float32)
    return vector / np.linalg.norm(vector)


def someone(folder: str, middle: np.ndarray, n: int = 12, spread: float = 0.15, **more: object) -> Person:
    return Person(folder, tuple(f"{folder} {number}" for number in range(n)), around(middle, n, spread, RNG), **more)


def books(*people: Person, **more: object) -> Books:
    return Books({item.folder: item for item in people}, **more)


def test_two_people_in_one_faceset_come_apart_and_one_person_does_not() -> None:
    rng = np.random.default_rng(1)
    one, other = np.eye(2, 64, dtype=np.float32)
    mixed = np.concatenate([around(one, 20, 0.2, rng), around(other, 5, 0.2, rng)])
    cut = halves(mixed)
    assert cut.distance > 0.7
    assert sorted(cut.smaller) == [20, 21, 22, 23, 24]
    assert halves(around(one, 25, 0.2, rng)).distance < 0.3
    assert halves(mixed[:5]) == Halves()


def test_a_faceset_with_one_stranger_is_not_called_two_people() -> None:
    rng = np.random.default_rng(2)
    rows = np.concatenate([around(np.eye(1, 64, dtype=np.float32)[0], 12, 0.1, rng), np.eye(64, dtype=np.float32)[1:2]])
    assert halves(rows).distance < 0.45


def test_equal_rows_have_no_halves() -> None:
    assert halves(np.repeat(np.eye(1, 64, dtype=np.float32), 10, axis=0)) == Halves()


def test_the_curves_run_the_way_that_they_must() -> None:
    far = np.linspace(0, 2, 20)
    assert (np.diff(probability(WRONG, far)) > 0).all() and (np.diff(probability(SAME, far)) < 0).all()
    assert probability(WRONG, 0.3) < 0.02 and probability(SAME, 0.3) > 0.9 and probability(SAME, 1.8) < LEAST


def test_the_riskiest_is_asked_first() -> None:
    bad = someone("faceset_002", centre(2))
    bad.rows[3] = centre(77)        # somebody else
    found = ask(books(someone("faceset_001", centre(1)), bad, someone("faceset_003", centre(3))))
    assert found[0].about == "faceset_002" and found[0].suspects[0] == "faceset_002 3"
    assert found[0].worth > 10 * found[1].worth


def test_a_pair_is_asked_once_and_never_after_it_was_called_two_people() -> None:
    near = books(someone("faceset_001", centre(1)), someone("faceset_002", around(centre(1), 1, 0.1, RNG)[0], 20),
                 someone("faceset_003", centre(3)))
    pairs = [question for question in ask(near) if question.kind == "same"]
    assert [(question.about, question.other) for question in pairs] == [("faceset_002", "faceset_001")]
    after = answers.carry(near, {"do": "two-people", "of": "faceset_002", "other": "faceset_001"})
    assert not [question for question in ask(after) if question.kind == "same"]


def test_look_alikes_who_stand_side_by_side_are_two_people_and_so_is_a_faceset_that_stands_beside_itself() -> None:
    near = {number: someone(f"faceset_{number:03d}", around(centre(1), 1, 0.15, np.random.default_rng(number))[0])
            for number in (1, 2)}
    faces = [face for item in near.values() for face in item.faces]
    beside = {face: face.split()[1] for face in faces}
    asked = {"": ask(books(*near.values())),
             "beside": ask(books(*(replace(item, photos=beside) for item in near.values())))}
    assert [question.kind for question in asked[""]].count("same") == 1 and asked[""][0].kind == "same"
    assert "same" not in [question.kind for question in asked["beside"]]
    other = around(centre(1) + 0.4 * centre(2), 12, 0.15, np.random.default_rng(3))
    both = Person("faceset_001", tuple(faces), np.concatenate([near[1].rows, other]))
    alone, with_itself = (ask(books(replace(both, photos=photos)))[0] for photos in ({}, beside))
    assert (alone.kind, with_itself.kind) == ("faces", "two") and with_itself.worth > alone.worth


def test_one_person_in_two_falls_away_when_they_are_merged_and_what_is_new_is_asked() -> None:
    near = books(someone("faceset_001", centre(1), name="Ada"), someone("faceset_002", centre(1), 20))
    after = answers.carry(near, answers.read(near, {"do": "merge", "of": "faceset_001", "into": "faceset_002"}))
    assert list(after.people) == ["faceset_001"] and after.people["faceset_001"].name == "Ada"     # the named one stays
    assert len(after.people["faceset_001"].faces) == 32 and [item.kind for item in ask(after)] == ["faces"]


def test_a_faceset_that_has_no_folder_yet_goes_into_the_older_one() -> None:
    both = books(someone("faceset_012", centre(1)), someone("new 1", centre(1), 20))
    for of, into in (("faceset_012", "new 1"), ("new 1", "faceset_012")):
        assert answers.read(both, {"do": "merge", "of": of, "into": into})["into"] == "faceset_012"


def test_two_people_in_one_are_asked_about_as_such() -> None:
    glued = someone("faceset_001", centre(1), 12)
    glued.rows[8:] = around(centre(2), 4, 0.15, RNG)
    first = ask(books(glued))[0]
    assert first.kind == "two" and sorted(first.suspects) == sorted(glued.faces[8:])
    after = answers.carry(books(glued), answers.read(books(glued), {
        "do": "split", "of": "faceset_001", "faces": list(first.suspects)}))
    assert [question.kind for question in ask(after)].count("two") == 0
    assert after.two == {("faceset_001", "new 1")} and len(after.people["new 1"].faces) == 4


def test_faces_without_a_picture_count_and_go_where_they_are_nearer() -> None:
    hers, strangers = around(centre(1), 3, 0.15, RNG), around(centre(2), 4, 0.15, RNG)
    glued = someone("faceset_001", centre(1), 12, behind=np.concatenate([hers, strangers]))
    glued.rows[8:] = around(centre(2), 4, 0.15, RNG)
    assert ask(books(glued))[0].worth > 7.5       # all eight of the second person
    before = books(replace(glued, seen=frozenset(glued.faces)))
    assert not ask(before) and outlook(before, []).right < 0.96
    for answer in ({"do": "split", "of": "faceset_001", "faces": list(glued.faces[8:]), "new": "new 1"},
                   {"do": "right", "of": "faceset_001", "out": list(glued.faces[8:])}):
        after = answers.carry(before, answer)
        assert np.array_equal(after.people["faceset_001"].behind, hers) and outlook(after, []).right > 0.99
        if "new" in answer:
            assert np.array_equal(after.people["new 1"].behind, strangers)
            again = answers.carry(after, {"do": "merge", "of": "new 1", "into": "faceset_001"})
            assert len(again.people["faceset_001"].behind) == 7


def test_it_ends_when_everything_is_seen_and_says_how_right_it_is() -> None:
    whole = books(someone("faceset_001", centre(1)), someone("faceset_002", centre(2), spread=0.35))
    first = outlook(whole, ask(whole))
    for _ in range(2):
        whole = answers.carry(whole, {"do": "right", "of": ask(whole)[0].about, "out": []})
    last = outlook(whole, ask(whole))
    assert first.open == 2 and 0.5 < first.right < 1
    assert (last.open, last.left, last.right) == (0, 0, 1.0)


def test_the_questions_left_are_those_until_it_is_pure_enough() -> None:
    bad = [someone(f"faceset_{number:03d}", centre(number), 40) for number in range(1, 9)]
    for item in bad[:3]:
        item.rows[:4] = around(centre(99), 4, 0.9, RNG)
    whole, answered = books(*bad), 0
    while outlook(whole, ask(whole)).right < PURE:
        expected = outlook(whole, ask(whole)).left
        whole = answers.carry(whole, {"do": "right", "of": ask(whole)[0].about, "out": []})
        answered += 1
        assert outlook(whole, ask(whole)).left == expected - 1
    assert 3 <= answered < 8


def test_only_what_came_since_is_asked_again() -> None:
    seen = someone("faceset_001", centre(1), 12)
    seen = replace(seen, seen=frozenset(seen.faces[:11]))
    question = ask(books(seen))[0]
    assert question.suspects == (seen.faces[11],)
    assert not ask(books(replace(seen, seen=frozenset(seen.faces))))


def test_a_face_of_nobody_is_asked_for_with_its_candidates() -> None:
    loose = Loose("x", ("x",), around(centre(1), 1, 0.3, RNG), ("faceset_001", "faceset_002"), "a reason")
    whole = books(someone("faceset_001", centre(1)), someone("faceset_002", centre(2)), loose={"x": loose})
    assert "loose x" in [question.id for question in ask(whole)]
    after = answers.carry(whole, answers.read(whole, {"do": "this-is", "of": "x", "into": "faceset_001"}))
    assert "x" in after.people["faceset_001"].faces and not after.loose
    far = books(someone("faceset_001", centre(1)), loose={"x": replace(loose, rows=centre(50)[None], among=())})
    assert "loose x" not in [question.id for question in ask(far)]


def test_after_two_people_what_is_nearer_to_the_other_is_asked_about_next() -> None:
    like = unit_mean(np.array([0.7 * centre(1) + 0.7 * centre(2)]))
    one, other = someone("faceset_001", centre(1), 20), someone("faceset_002", like, 20)
    one.rows[:2] = around(like, 2, 0.15, RNG)
    before = books(one, other)
    after = answers.carry(before, {"do": "two-people", "of": "faceset_001", "other": "faceset_002"})
    first = ask(after)[0]
    assert (first.about, set(first.suspects[:2])) == ("faceset_001", set(one.faces[:2]))
    worth = {question.about: question.worth for question in ask(before) if question.kind != "same"}
    assert worth["faceset_001"] < 0.5 and first.worth > 1.5 and ask(after)[1].worth < 0.5


@pytest.mark.parametrize(("of", "into"), [("faceset_001", "faceset_002"), ("faceset_002", "faceset_001")])
def test_faces_that_were_marked_go_out_with_whatever_is_said_of_their_faceset(of: str, into: str) -> None:
    whole = books(someone("faceset_001", centre(1)), someone("faceset_002", centre(1)))
    wrong = f"{of} 3"
    for more in ({"do": "merge", "into": into}, {"do": "two-people", "other": into}, {"do": "name", "name": "Ada"},
                 {"do": "drop"}, {"do": "right"}):
        answer = answers.read(whole, {**more, "of": of, "out": [wrong]})
        assert "1 out" in answers.words(whole, answer)
        after = answers.carry(whole, answer)
        assert not any(wrong in person.faces for person in after.people.values())
        assert sum(len(person.faces) for person in after.people.values()) == (12 if more["do"] == "drop" else 23)


@pytest.mark.parametrize("value", [
    None, [], {}, {"do": "explode", "of": "faceset_001"}, {"do": "drop"}, {"do": "drop", "of": "faceset_009"},
    {"do": "drop", "of": "../../etc"}, {"do": "merge", "of": "faceset_001", "into": "faceset_001"},
    {"do": "right", "of": "faceset_001", "out": "0"}, {"do": "right", "of": "faceset_001", "out": ["faceset_002 1"]},
    {"do": "right", "of": "faceset_001", "out": [f"faceset_001 {number}" for number in range(12)]},
    {"do": "split", "of": "faceset_001", "faces": []}, {"do": "name", "of": "faceset_001", "name": " \n "},
    {"do": "this-is", "of": "faceset_001", "into": "faceset_002"}, {"do": "name", "of": 3, "name": "x"}])
def test_what_is_no_answer_is_refused(value: object) -> None:
    with pytest.raises(UsageError):
        answers.read(books(someone("faceset_001", centre(1)), someone("faceset_002", centre(2))), value)


def test_nothing_is_asked_of_an_empty_library() -> None:
    assert ask(Books({})) == [] and outlook(Books({}), []).right == 1.0


def test_who_is_near_whom_is_the_same_kept_up_as_found_anew() -> None:
    rng = np.random.default_rng(8)

    def point() -> np.ndarray:
        return unit_mean(around(centre(int(rng.integers(1, 9))), 3, 0.5, rng))
    people: dict[str, np.ndarray] = {}
    others: dict[str, np.ndarray] = {}
    near = Near()
    for step in range(60):
        for points in (people, others):
            if points and rng.random() < 0.4:
                del points[rng.choice(list(points))]
            for _ in range(int(rng.integers(0, 4))):
                points[("person" if points is people else "face") + f" {rng.integers(40)}"] = point()
        near = near.after(people, others)
        anew = Near().after(people, others)
        assert list(near.of) == [*people, *others] and near.of.keys() == anew.of.keys(), step
        for name, found in anew.of.items():
            assert [other for other, _ in near.of[name]] == [other for other, _ in found], (step, name)
