"""Rows of caches: picked, stacked, merged; photos are one by their SHA-256."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn import face_of, library_photos, person

from facesets.common.errors import Failure
from facesets.formats import cache
from facesets.library.members import Index, merge, pick, without_twins


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Caches of two users that share person 2; the second has her photos under other paths."""
    folder = tmp_path_factory.mktemp("members")
    return (library_photos(folder / "a", [1, 2], 4, "anna"),
            library_photos(folder / "b", [2, 3], 4, "bert"))


def test_pick_keeps_the_order_asked_for_and_only_the_photos_needed(two) -> None:
    a, b = two
    keys = [cache.face_keys(b)[5], cache.face_keys(a)[0], cache.face_keys(b)[0]]
    some = Index([a, b]).pick(keys)
    assert cache.face_keys(some) == keys and len(some.photos) == 3
    assert np.array_equal(some.embeddings[0], b.embeddings[5]) and some.embeddings.shape == (3, 512)
    cache.check(some)


def test_an_unknown_face_is_named(two) -> None:
    with pytest.raises(Failure, match="in none of the caches"):
        Index([two[0]]).pick(["0" * 64 + "@0,0,1,1"])


def test_merge_takes_each_photo_once_and_keeps_the_other_path_as_alias(two) -> None:
    a, b = two
    whole = merge(a, b)
    assert len(whole.photos) == 12 and len(whole.faces) == 12       # person 2 is byte-equal in both
    assert len({photo.sha256 for photo in whole.photos}) == 12
    assert len(whole.path_aliases) == 4 and all("/b/" in path for path in whole.path_aliases)
    assert {photo.user for photo in whole.photos} == {"anna", "bert"}
    cache.check(whole)


def test_merging_again_changes_nothing(two) -> None:
    a, b = two
    once = merge(a, b)
    again = merge(once, b)
    assert again.photos == once.photos and again.path_aliases == once.path_aliases
    assert np.array_equal(again.faces, once.faces) and np.array_equal(again.embeddings, once.embeddings)


def test_merge_into_learns_dates_assets_and_persons(two) -> None:
    a, b = two
    bare = replace(a, photos=[replace(photo, taken_at="", user="") for photo in a.photos])
    rich = replace(b, photos=[replace(photo, asset_id=f"asset-{number}") for number, photo in enumerate(b.photos)],
                   persons=[cache.Person("p2", "Bea")] * len(b.faces))
    whole = merge(bare, rich)
    learnt = [photo for photo in whole.photos if "/a/" in photo.path and photo.asset_id]
    assert len(learnt) == 4 and all(photo.taken_at and photo.user == "bert" for photo in learnt)
    assert sum(person.name == "Bea" for person in whole.persons) == 8


def test_merging_what_was_embedded_again_brings_the_new_path_and_name(two, tmp_path) -> None:
    a, _ = two
    into = replace(a, photos=[replace(photo, asset_id=f"asset-{number}") for number, photo in enumerate(a.photos)],
                   persons=[cache.Person("p1", "Anna")] * len(a.faces))
    moved = Path(shutil.copy(a.photos[0].path, tmp_path / "moved.png"))
    gone = replace(into, photos=[replace(into.photos[0], path="/gone/0.png"), *into.photos[1:]])
    other = replace(into, photos=[replace(into.photos[0], path=str(moved)), *into.photos[1:]],
                    persons=[cache.Person("p1", "Anne")] * len(a.faces))
    whole = merge(gone, other)
    assert whole.photos[0].path == str(moved) and "/gone/0.png" not in whole.path_aliases
    assert {person.name for person in whole.persons} == {"Anne"}
    assert merge(into, other).photos[0].path == a.photos[0].path        # both are there: the first stays
    assert merge(merge(gone, other), other).photos == whole.photos


def test_merging_a_photo_that_was_found_to_be_turned_brings_its_faces_and_drops_the_old_ones(two) -> None:
    a, _ = two
    photos = [replace(photo, turn=1) if number == 2 else photo for number, photo in enumerate(a.photos)]
    faces = a.faces.copy()
    faces["box"][2] += 50
    turned = replace(a, photos=photos, faces=faces)
    whole = merge(a, turned)
    cache.check(whole)
    assert whole.photos[2].turn == 1 and sorted(cache.face_keys(whole)) == sorted(cache.face_keys(turned))
    again = merge(whole, a)
    assert again.photos == whole.photos and cache.face_keys(again) == cache.face_keys(whole)


def test_a_photo_that_only_the_other_could_read_counts_as_read(two) -> None:
    a, b = two
    unreadable = cache.Cache(a.model, [replace(photo, status="error", reason="truncated") for photo in b.photos])
    whole = merge(unreadable, b)
    assert all(photo.status == "faces" for photo in whole.photos) and len(whole.faces) == 8
    cache.check(whole)


def test_another_recogniser_is_refused(two) -> None:
    a, b = two
    with pytest.raises(Failure, match="cannot be compared"):
        merge(a, replace(b, model=replace(b.model, sha256="0" * 64)))
    with pytest.raises(Failure, match="cannot be compared"):
        Index([a, replace(b, model=replace(b.model, sha256="0" * 64))])


def test_without_twins_adds_only_what_is_new(two) -> None:
    a, b = two
    both = without_twins(pick(a, [4, 5]), pick(b, [0, 1, 2]))
    assert len(both.faces) == 3 and cache.face_keys(both)[:2] == cache.face_keys(a)[4:6]


def test_drawn_people_are_apart_and_their_faces_are_not() -> None:
    a, b = (np.array([face_of(person(who), 10 * who + n) for n in range(9)]) for who in (1, 2))
    assert (1 - a @ a.T).max() < 0.45 and (1 - a @ b.T).min() > 0.7
