"""What clustering proposes, on made-up faces of which we know who they are."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import config
from facesets.cluster import identities, seen
from facesets.cluster.known import match
from facesets.cluster.merging import join, merge, twin
from facesets.cluster.pool import pool
from facesets.cluster.rules import Rules
from facesets.common.errors import Failure
from facesets.formats import cache
from facesets.formats.faceset import Faceset
from facesets.formats.proposal import Proposal
from facesets.formats.vectors import unit_mean

D = 64
RULES = Rules()
MODEL = cache.Model("made_up", "a" * 64, "b" * 64, D, 0.45, 0.55)


def test_an_operator_gets_the_rules_that_tests_and_benchmarks_go_by():
    assert Rules.of(config.Clustering(), MODEL, config.Exporting().duplicate_similarity) == RULES


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def person(number: int, faces: int, spread: float = 0.5, seed: int = 0) -> np.ndarray:
    """(faces, D) unit rows around the direction that belongs to `number`."""
    centre = unit(np.random.default_rng(1000 + number).standard_normal(D))
    noise = unit(np.random.default_rng(seed * 7919 + number).standard_normal((faces, D)))
    return unit(centre + spread * noise)


def likeness(cosine: float, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`others` turned so that they lie at that cosine of the middle of `rows`."""
    middle = unit_mean(rows)
    return unit(cosine * middle + np.sqrt(1 - cosine ** 2) * unit(others - np.outer(others @ middle, middle)))


def cache_of(rows: np.ndarray, photos: Sequence[int] | None = None, names: Sequence[str] = (),
             norms: Sequence[float] | None = None, **columns: Sequence[float]) -> cache.Cache:
    """A cache of good faces, each in a photo of its own unless `photos` says otherwise, all as clear unless `norms`."""
    photos = list(range(len(rows))) if photos is None else photos
    faces = np.zeros(len(rows), cache.FACE)
    distinct = sorted(set(photos))
    faces["photo"] = [distinct.index(photo) for photo in photos]
    place = np.array([sum(photos[i] == photo for i in range(row)) for row, photo in enumerate(photos)]) * 200
    faces["box"] = np.stack([place, place * 0, place + 100, place * 0 + 100], axis=1)
    faces["det_score"], faces["face_short"], faces["blur"], faces["quality"] = 0.9, 100, 99, 0.5
    for name, values in columns.items():
        faces[name] = values
    return cache.Cache(MODEL, [cache.Photo(f"/p/{photo}.jpg", f"{photo:064x}", "faces") for photo in distinct], faces,
                       rows, np.array(norms or np.ones(len(rows)), np.float32),
                       [cache.Person(name, name) for name in names])


def propose(*caches: cache.Cache, known: Sequence[Faceset] = (), rules: Rules = RULES,
            seen: frozenset[str] = frozenset()) -> Proposal:
    return identities.propose(caches, known, rules, run="r", made_by="test", created="now", seen=seen)


def keys(proposal: Proposal) -> Counter[str]:
    """Every face that the proposal names, and how often."""
    groups = [face for group in (*proposal.facesets, *proposal.thin) for face in group.faces]
    return Counter(face.face for face in (*groups, *proposal.ambiguous, *proposal.rejected, *proposal.leftover,
                                          *(face for faces in proposal.extend.values() for face in faces)))


def as_known(folder: str, rows: np.ndarray, faces: Sequence[str] = (), not_this: Sequence[str] = ()) -> Faceset:
    known = Faceset(folder, unit_mean(rows), not_this=frozenset(not_this))
    vars(known)["face_keys"] = frozenset(faces)     # as if it had been read
    return known


def test_people_become_facesets_largest_first_and_strangers_do_not() -> None:
    rows = np.concatenate([person(1, 8), person(2, 12), person(3, 4), person(4, 1), person(5, 2)])
    made = propose(cache_of(rows))
    assert [len(group.faces) for group in made.facesets] == [12, 8]
    assert [len(group.faces) for group in made.thin] == [4] and "6 are needed" in made.thin[0].reason
    assert [face.reason for face in made.leftover].count("seen once") == 1 and len(made.leftover) == 3


def test_every_face_is_in_exactly_one_place_and_the_counts_add_up() -> None:
    rows = np.concatenate([person(1, 9), person(2, 7), person(3, 3), person(4, 1), person(9, 5), person(1, 1)])
    columns = {"face_short": [100.0] * 24 + [20, 100]}
    made = propose(cache_of(rows, **columns), known=[as_known("faceset_001", person(9, 5, seed=1))])
    assert set(keys(made).values()) == {1} and len(keys(made)) == len(rows)
    parts = ("held", "known", "dropped", "ambiguous", "rejected", "new", "thin", "leftover")
    assert sum(made.counts[part] for part in parts) == made.counts["faces"] == len(rows)


def test_known_faces_go_to_their_faceset_and_those_between_two_people_to_neither() -> None:
    one, other = person(1, 6), person(2, 6)
    between = unit(unit_mean(one) + unit_mean(other))[None]
    known = [as_known("faceset_001", one), as_known("faceset_007", other)]
    made = propose(cache_of(np.concatenate([person(1, 3, seed=5), person(2, 2, seed=5), between])), known=known)
    assert {folder: len(faces) for folder, faces in made.extend.items()} == {"faceset_001": 3, "faceset_007": 2}
    assert [face.reason for face in made.ambiguous] in (["faceset_001 or faceset_007"], ["faceset_007 or faceset_001"])


def test_a_face_that_somebody_said_is_not_this_person_is_not_known_as_it() -> None:
    faces = cache_of(person(1, 7, seed=3))
    key = cache.face_keys(faces)[2]
    known = as_known("faceset_001", person(1, 6), not_this=[key])
    made = propose(faces, known=[known])
    assert len(made.extend["faceset_001"]) == 6 and key not in {face.face for face in made.extend["faceset_001"]}


def test_what_a_person_said_of_many_costs_no_more_than_what_was_said() -> None:
    rows = np.repeat(person(1, 1), 20_000, axis=0)
    faces = cache_of(rows[:2]).faces
    many = cache.Cache(MODEL, [cache.Photo("/p.jpg", "0" * 64, "faces")], np.repeat(faces[:1], len(rows)), rows,
                       np.ones(len(rows), np.float32))
    many.faces["box"][:, 0] = np.arange(len(rows))
    stranger = person(2, 1)[0]
    known = [Faceset(f"faceset_{number}", stranger, not_this=frozenset([f"face {number}"])) for number in range(400)]
    begun = time.process_time()
    identities._forbidden(pool([many]), np.arange(len(rows)), known)
    assert time.process_time() - begun < 2      # faces times facesets took 10


def test_a_photo_adds_one_face_to_a_person_at_most() -> None:
    rows = person(1, 9, 0.8)
    one, two = rows_far_apart(rows)
    photos = [0 if row in (one, two) else row + 1 for row in range(9)]
    made = propose(cache_of(rows, photos))
    assert len(made.facesets[0].faces) == 8 and len(made.leftover) == 1
    again = propose(cache_of(rows, photos), known=[as_known("faceset_001", rows)])
    assert len(again.extend["faceset_001"]) == 8 and len(again.ambiguous) == 1


def test_siblings_who_stand_side_by_side_stay_two_people() -> None:
    rules = replace(RULES, linked_closer=0, merge_closer=0)
    one, other = person(1, 12, 0.3), person(2, 12, 0.3)
    rows, together = np.concatenate([one, likeness(0.53, one, other)]), [*range(12), *range(12)]
    glued = propose(cache_of(rows), rules=rules)
    apart = propose(cache_of(rows, photos=together), rules=rules)
    assert [len(group.faces) for group in glued.facesets] == [24]
    assert [len(group.faces) for group in apart.facesets] == [12, 12]


def test_a_mirror_or_a_collage_does_not_split_a_person() -> None:
    photos = [*range(20), 0]
    made = propose(cache_of(person(1, 21), photos=photos))
    assert [len(group.faces) for group in made.facesets] == [21]    # both images are hers
    few = propose(cache_of(person(1, 9), photos=[0, 0, 1, 1, 2, 2, 3, 3, 4])).thin[0]
    assert len(few.faces) == 9 and few.reason == "5 faces, 6 are needed"       # of each photo one is shown


def test_a_child_is_one_person_where_the_years_of_its_photos_overlap_and_no_gap_is_bridged() -> None:
    rng, years = np.random.default_rng(0), np.repeat(np.arange(2000, 2012), 6)
    ages = [unit(rng.standard_normal(D))]
    while len(ages) < 12:
        ages.append(unit(0.92 * ages[-1] + np.sqrt(1 - 0.92 ** 2) * unit(rng.standard_normal(D))))
    rows = unit(np.stack(ages)[years - 2000] + 0.6 * unit(rng.standard_normal((72, D))))
    rows, years = np.concatenate([rows, person(1, 2, 9.0)]), np.append(years, [2005, 2006])     # strangers

    def parts(which: np.ndarray, dated: bool) -> int:
        faces = cache_of(rows[which])
        faces.photos[:] = [replace(photo, taken_at=f"{year}-06-01" if dated else "")
                           for photo, year in zip(faces.photos, years[which], strict=True)]
        made = propose(faces)
        return len(made.facesets) + len(made.thin)

    everything, gap = years > 0, (years < 2005) | (years > 2006) | (np.arange(74) >= 72)
    assert (parts(everything, False), parts(everything, True)) == (2, 1)
    assert (parts(gap, False), parts(gap, True)) == (2, 2)


def test_twins_in_photo_after_photo_are_two_people_and_who_is_beside_a_mirror_image_or_a_younger_self_is_one() -> None:
    rules = replace(RULES, linked_closer=0)
    one, other = person(1, 12, 0.5), person(2, 12, 0.8)
    twins = np.concatenate([one, likeness(0.64, one, other)])
    mirrors = np.concatenate([one, unit(one + 0.5 * unit(person(3, 12, 9.0)))])
    together = [*range(12), *range(12)]
    apart = propose(cache_of(twins, photos=together), rules=rules).facesets
    assert [len(group.faces) for group in propose(cache_of(twins), rules=rules).facesets] == [24]
    assert [len(group.faces) for group in apart] == [12, 12]
    assert len(propose(cache_of(mirrors, photos=together), rules=rules).facesets) == 1
    ages = np.concatenate([one, likeness(0.77, one, other)])       # twelve collages of her young and old
    assert len(propose(cache_of(ages, photos=together), rules=rules).facesets) == 1


def test_whom_a_person_merged_is_not_taken_apart_by_the_collages_that_the_faceset_holds() -> None:
    young, old = person(1, 12, 0.5), person(2, 24, 0.8)
    rows = np.concatenate([young, likeness(0.64, young, old)])
    faces = cache_of(rows, photos=[*range(12), *range(12), *range(20, 32)])     # twelve collages, twelve new ones
    known = as_known("faceset_001", rows[:24], cache.face_keys(faces)[:24])
    made = propose(faces, known=[known], rules=replace(RULES, linked_closer=0, merge_closer=0))
    assert made.counts["known"] == 12 and not made.facesets


def test_whom_a_person_merged_stays_one_whatever_collages_come_after() -> None:
    """Of each the faceset gets one face, so the other one is asked whether it is somebody beside."""
    young = person(1, 18, 0.5)
    old = likeness(0.64, young, person(2, 30, 0.8))
    faces = cache_of(np.concatenate([young, old]), photos=[*range(12), *range(50, 56), *range(12, 24), *range(50, 56),
                                                           *range(60, 72)])
    keys = cache.face_keys(faces)
    for merged, held, facesets in (((), 30, 0), ((old,), 20, 0), ((young,), 20, 1)):    # 12 or 2 of 20 are the old one
        known = as_known("faceset_001", faces.embeddings[:held], keys[:held])
        known.merged = tuple(map(unit_mean, merged))
        made = propose(faces, known=[known], rules=replace(RULES, linked_closer=0, merge_closer=0))
        assert len(made.facesets) == facesets


def test_copies_of_one_collage_are_one_sign_of_a_twin_however_many() -> None:
    one = person(1, 14, 0.8)
    copies = unit(np.repeat(one[rows_far_apart(one)], 6, axis=0) + 0.1 * unit(person(2, 12, 9.0)))
    photos = np.array([*range(14), *range(20, 26), *range(20, 26)])
    assert not twin(np.concatenate([one, copies]), photos, RULES).any()
    assert twin(np.concatenate([one, person(1, 6, seed=1), person(2, 6)]), photos, RULES).any()


def rows_far_apart(rows: np.ndarray) -> list[int]:
    return [int(row) for row in np.unravel_index((rows @ rows.T).argmin(), (len(rows), len(rows)))]


def test_twins_are_told_by_a_few_photos_whoever_stands_left() -> None:
    """From pairs that are not sorted two siblings look like one person: each side has faces of both."""
    rules = replace(RULES, linked_closer=0)
    one = person(1, 12, 0.7)
    other = likeness(0.6, one, person(2, 12, 0.9))
    rows = np.concatenate([one, other])
    rows[[1, 13, 3, 15]] = rows[[13, 1, 15, 3]]
    apart = propose(cache_of(rows, photos=[*range(12), *range(5), *range(20, 27)]), rules=rules).facesets
    assert [len(group.faces) for group in apart] == [12, 12]


@pytest.mark.parametrize("linked_closer", [0, 0.27])
def test_a_twin_of_somebody_known_is_somebody_new(linked_closer: float) -> None:
    """Face by face, or as a cluster whose centroid is near, the younger one was taken for the elder."""
    rules = replace(RULES, linked_closer=linked_closer, merge_closer=0)
    one, other = person(1, 12, 0.5), person(2, 12, 0.8)
    rows = np.concatenate([one, likeness(0.64, one, other)])
    for photos, people in ((range(24), 0), ([*range(12), *range(6), *range(20, 26)], 1)):
        faces = cache_of(rows, list(photos))
        known = as_known("faceset_001", one, cache.face_keys(faces)[:12])
        made = propose(faces, known=[known], rules=rules)
        assert (len(made.facesets), made.counts["known"]) == (people, 12 * (1 - people))


def test_a_far_face_is_right_if_dim_and_somebody_else_if_clear() -> None:
    one = person(1, 8, 0.3)
    rows = np.concatenate([one, likeness(0.53, one, person(2, 1))])
    for last, stays in ((0.75, True), (1.0, False)):
        made = propose(cache_of(rows, norms=[1.0] * 8 + [last]))
        assert [len(group.faces) for group in made.facesets] == [8 + stays]


def test_a_face_that_joined_from_afar_as_no_other_is_near_stays() -> None:
    one = person(1, 40, 0.3)
    rows = np.concatenate([one, likeness(0.58, one, person(2, 1))])
    assert [len(group.faces) for group in propose(cache_of(rows)).facesets] == [41]


def test_a_very_dim_face_joins_a_faceset_but_makes_none_large_enough() -> None:
    rows = np.concatenate([person(1, 9, 0.3), person(2, 6, 0.3)])
    made = propose(cache_of(rows, norms=[1.0] * 8 + [0.65] + [1.0] * 5 + [0.65]))
    assert [len(group.faces) for group in made.facesets] == [9]
    assert [len(group.faces) for group in made.thin] == [6] and "5 faces, 6 are needed" in made.thin[0].reason


def test_whole_identities_must_be_nearer_than_a_face_to_be_one_person() -> None:
    """Siblings: a face as near as that is hers, a dozen of such faces are somebody."""
    one = person(1, 12, 0.3)
    rows = np.concatenate([one, likeness(0.66, one, person(2, 12, 0.2))])
    photos, labels = np.arange(24), np.repeat([0, 1], 12)
    assert merge(rows, photos, labels, RULES).tolist() == labels.tolist()
    few, of_few = rows[:13], labels[:13]
    assert join(few, np.ones(13), of_few, RULES).tolist() == [0] * 13


def test_who_has_no_faceset_yet_is_not_taken_for_a_look_alike_who_has_one() -> None:
    """A clear face that would join its like in one run is not known where only one of two is there to compare with."""
    one = person(1, 12, 0.3)
    face, known = likeness(0.62, one, person(2, 1)), as_known("faceset_001", one)
    joined = join(np.concatenate([one, face]), np.full(13, 0.75), np.repeat([0, 1], [12, 1]), RULES)
    assert joined.tolist() == [0] * 13
    assert not propose(cache_of(face), known=[known]).extend
    assert propose(cache_of(likeness(0.7, one, person(2, 1))), known=[known]).counts["known"] == 1


def test_dim_faces_found_nobody() -> None:
    made = propose(cache_of(np.concatenate([person(1, 9), person(2, 9)]), norms=[1.0] * 10 + [0.8] * 8))
    assert [len(group.faces) for group in made.facesets] == [9] and len(made.leftover) == 9


def test_three_faces_of_a_stranger_do_not_pull_six_towards_them() -> None:
    one = person(1, 6, 0.4)
    rows, labels = np.concatenate([one, likeness(0.53, one, person(2, 3, 0.2))]), np.repeat([0, 1], [6, 3])
    assert (1 - rows[6:] @ unit_mean(rows) < 0.3).all()     # if they were hers, her centroid would be near them
    assert join(rows, np.full(9, 0.5), labels, RULES).tolist() == labels.tolist()


def test_gates_reject_with_a_reason_before_clustering() -> None:
    made = propose(cache_of(person(1, 9), face_short=[24] + [25] * 8, det_score=[0.9, 0.3] + [0.9] * 7,
                            norms=[20] * 8 + [11]))
    assert sorted(face.reason for face in made.rejected) == ["the detector is not sure of it",
                                                             "too dim: blurred, hidden or turned", "too small"]
    faces = cache_of(person(1, 8), photos=[0, 0, 1, 2, 3, 4, 5, 6])
    faces.faces["box"][1] = faces.faces["box"][0] + 5
    assert [face.reason for face in propose(faces).rejected] == ["the same face, detected twice"]


def test_faces_without_a_norm_are_too_dim_however_many_and_spoil_no_others() -> None:
    made = propose(cache_of(np.concatenate([person(1, 9), person(2, 20)]), norms=[1.0] * 9 + [0.0] * 20))
    assert [len(group.faces) for group in made.facesets] == [9] and len(made.rejected) == 20
    assert len(propose(cache_of(person(1, 9), norms=[0.0] * 9)).rejected) == 9


def test_gates_on_clusters_say_why_it_is_no_faceset() -> None:
    burst = propose(cache_of(person(1, 6), photos=[0, 0, 0, 1, 1, 1]))
    assert not burst.facesets
    copies = propose(cache_of(np.repeat(person(1, 3), 4, axis=0)))
    assert not copies.facesets and "3 faces, 6 are needed" in copies.thin[0].reason
    assert len(copies.thin[0].faces) == 12      # which of them are shown, the export chooses
    loose = propose(cache_of(person(1, 12, 0.8)), rules=replace(RULES, known_distance=0.1, alone_farther=0))
    assert not loose.facesets and not loose.thin and loose.leftover[0].reason == "more than 0.09 from the centroid"


def test_the_best_face_comes_first_and_nearly_equal_ones_count_as_one() -> None:
    rows = person(1, 8)
    rows[7] = rows[6]
    quality = [0.1, 0.2, 0.9, 0.3, 0.4, 0.5, 0.6, 0.7]
    group = propose(cache_of(rows, quality=quality)).facesets[0]
    faces = cache.face_keys(cache_of(rows))
    assert [face.face for face in group.faces] == [faces[place] for place in (2, 7, 6, 5, 4, 3, 1, 0)]
    assert propose(cache_of(rows), rules=replace(RULES, min_faces=8)).thin[0].reason == "7 faces, 8 are needed"


def test_the_name_that_most_faces_carry_is_proposed_and_a_conflict_is_shown() -> None:
    rows = person(1, 8)
    named = propose(cache_of(rows, names=["Eva"] * 5 + ["Ida"] + [""] * 2)).facesets[0]
    assert (named.proposed_name, named.names) == ("Eva", {"Eva": 5, "Ida": 1})
    torn = propose(cache_of(rows, names=["Eva"] * 4 + ["Ida"] * 4)).facesets[0]
    assert (torn.proposed_name, torn.names) == ("", {"Eva": 4, "Ida": 4})
    single = propose(cache_of(rows, names=["Eva"] + [""] * 7)).facesets[0]
    assert single.proposed_name == ""


def library(seed: int = 0) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    rows = np.concatenate([person(number, int(size), 0.9) for number, size
                           in enumerate(rng.integers(1, 25, 60))])
    return rows, rng.integers(0, len(rows) // 2, len(rows)).tolist()


def test_any_order_of_rows_and_any_number_of_threads_give_the_same_proposal() -> None:
    rows, photos = library()
    first = propose(cache_of(rows, photos))
    whole = cache_of(rows, photos)
    assert len(first.facesets) > 20
    rng = np.random.default_rng(4)
    for threads in (1, os.cpu_count() or 2):
        order = rng.permutation(len(rows))
        shuffled = cache.Cache(MODEL, whole.photos, whole.faces[order], whole.embeddings[order], whole.norms[order])
        with threadpool_limits(threads):
            assert replace(propose(shuffled), settings={}) == replace(first, settings={})
    half = len(rows) // 2
    parts = [cache.Cache(MODEL, whole.photos, whole.faces[part], whole.embeddings[part], whole.norms[part])
             for part in (slice(half, None), slice(half), slice(half // 2, half))]  # a face in two caches counts once
    assert propose(*parts).facesets == first.facesets


def test_clustering_again_adds_nothing() -> None:
    rows, photos = library(1)
    faces = cache_of(rows, photos)
    first = propose(faces)
    vector = dict(zip(cache.face_keys(faces), rows, strict=True))
    known = [as_known(f"faceset_{number:03d}", np.stack([vector[face.face] for face in group.faces]),
                      [face.face for face in group.faces]) for number, group in enumerate(first.facesets)]
    again = propose(faces, known=known, seen=frozenset(vector))
    assert first.facesets and not again.facesets
    assert again.counts["held"] == sum(len(group.faces) for group in first.facesets)


def test_what_was_seen_counts_while_the_rules_and_the_run_stand(tmp_path) -> None:   # type: ignore[no-untyped-def]
    path = tmp_path / "clustered.json"
    made = propose(cache_of(person(1, 8)))
    seen.remember(path, seen.read(path), made, ["b", "a"], exported=True)
    memory = seen.read(path)
    assert memory.faces == {"a", "b"}
    assert seen.holds(memory, made.settings, ["r"]) and not seen.holds(memory, made.settings, [])
    assert not seen.holds(memory, {**made.settings, "min_faces": 3}, ["r"])
    seen.remember(path, memory, replace(made, run="s"), ["c"], exported=False)
    assert seen.read(path).run == "r" and seen.read(path).faces == {"a", "b", "c"}


def test_no_face_and_no_cache() -> None:
    assert propose(cache_of(np.zeros((0, D), np.float32))).counts["faces"] == 0
    with pytest.raises(Failure, match="no cache"):
        propose()


def test_caches_of_two_recognisers_are_refused() -> None:
    other = cache_of(person(1, 2))
    other.model = replace(MODEL, sha256="c" * 64, name="another")
    with pytest.raises(Failure, match="cannot be compared"):
        propose(cache_of(person(1, 2)), other)


def test_nearest_and_next_nearest_with_what_is_forbidden() -> None:
    centroids = unit(np.eye(3))
    face = unit(np.array([[3.0, 2.0, 1.0]]))
    found = match(face, centroids)
    assert (found.nearest[0], found.second[0]) == (0, 1)
    found = match(face, centroids, {0: [0]})
    assert (found.nearest[0], found.second[0]) == (1, 2)
    alone = match(face, centroids[:1], {0: [0]})
    assert alone.nearest[0] == -1 and not alone.certain(2.0, 0.05)[0] and not alone.torn(2.0, 0.05)[0]


def test_a_neighbour_that_is_somebody_else_does_not_hide_the_person_behind_it() -> None:
    """83 and 35 faces of one person never met, because a small cluster of another was nearer to both."""
    young, old, other = person(1, 10, 0.9, seed=1), person(1, 10, 0.9, seed=2), person(1, 6, 0.5, seed=3)
    rows, labels = np.concatenate([young, old, other]), np.repeat([0, 1, 2], [10, 10, 6])
    photos = np.array([*range(20), 0, 1, 2, 10, 11, 12])        # the other one is seen with both
    assert merge(rows, photos, labels, RULES).tolist() == [0] * 20 + [1] * 6


def test_one_photo_in_common_is_a_mirror_and_two_are_two_people() -> None:
    rows, labels = np.concatenate([person(1, 5, seed=1), person(1, 5, seed=2)]), np.repeat([0, 1], 5)
    for shared, people in ((1, 1), (2, 2)):
        photos = np.array([*range(5), *range(shared), *range(10, 15 - shared)])
        assert len(set(merge(rows, photos, labels, RULES).tolist())) == people


def test_collages_of_two_ages_do_not_keep_them_two_people() -> None:
    rules = replace(RULES, cluster_distance=0.4)        # single faces of the two are too far apart
    young = person(1, 20, 0.6)
    old = likeness(0.72, young, person(2, 20, 0.6))
    alike = young @ old.T
    photos = np.arange(40)
    for _ in range(3):
        one, other = np.unravel_index(alike.argmax(), alike.shape)
        photos[20 + other] = one
        alike[one], alike[:, other] = -1, -1
    made = propose(cache_of(np.concatenate([young, old]), photos=photos.tolist()), rules=rules)
    assert [len(group.faces) for group in made.facesets] == [40]


def test_a_photo_of_a_faceset_gives_it_no_second_face_later_and_a_mirror_gives_two_at_once() -> None:
    rows = person(1, 9)
    faces = cache_of(rows, photos=[*range(8), 0])
    known = as_known("faceset_001", rows[:4], cache.face_keys(faces)[:4])
    made = propose(faces, known=[known])
    assert len(made.extend["faceset_001"]) == 4 and [face.face for face in made.ambiguous] == cache.face_keys(faces)[8:]
    both = propose(faces, known=[as_known("faceset_001", rows)])
    assert len(both.extend["faceset_001"]) == 9


def test_brothers_who_are_alike_in_some_years_and_side_by_side_in_others_stay_two() -> None:
    one, other = person(1, 10, 0.3), person(2, 10, 0.3)
    later, its = person(3, 10, 0.3), person(3, 10, 0.3, seed=1)
    rows, labels = np.concatenate([one, later, other, its]), np.repeat([0, 1], 20)
    since = np.tile(np.repeat([9, 0], 10), 2)       # from the years in which they are alike
    for shared, people in ((0, 1), (5, 2)):
        photos = np.arange(40)
        photos[20:20 + shared] = np.arange(shared)
        assert merge(rows, photos, labels, RULES, since=since).max() + 1 == people


def test_two_ages_of_a_person_merge_by_centroid_unless_seen_side_by_side() -> None:
    young = person(1, 10, 0.9, seed=1)
    old = person(1, 10, 0.9, seed=2)
    rows, labels, photos = np.concatenate([young, old]), np.repeat([0, 1], 10), np.arange(20)
    assert merge(rows, photos, labels, RULES).tolist() == [0] * 20
    assert merge(rows, np.tile(np.arange(10), 2), labels, RULES).tolist() == labels.tolist()


def test_a_leftover_joins_whom_it_clearly_resembles_and_nobody_when_in_doubt() -> None:
    one, other = person(1, 6), person(2, 6)
    labels = np.array([0] * 6 + [1] * 6 + [2])
    mine, between = person(1, 1, 0.9, seed=9), unit(unit_mean(one) + unit_mean(other))[None]
    for face, label in ((mine, 0), (between, 2)):
        joined = join(np.concatenate([one, other, face]), np.zeros(13), labels, RULES)
        assert joined[-1] == label


def test_a_leftover_joins_few_or_with_others_only_if_nearer_and_from_afar_only_if_no_other_is_near() -> None:
    face = unit(np.eye(D)[:1])
    near = float(1 - RULES.near(1.0))

    def joined(faces: int, cosine: float, other: float = 0, together: int = 1) -> bool:
        """Whether so many of it join so many copies at that cosine, where another identity lies at `other` of it."""
        one, two = (unit(like * face + np.sqrt(1 - like ** 2) * np.eye(D)[axis])
                    for axis, like in ((1, cosine), (2, other)))
        rows = np.concatenate([np.repeat(one, faces, axis=0), np.repeat(two, 40, axis=0),
                               np.repeat(face, together, axis=0)])
        labels = np.repeat([0, 1, 2], (faces, 40, together))
        return bool(join(rows, np.full(len(rows), 1.0), labels, RULES)[-1] == 0)

    assert joined(40, near + 0.02, near - 0.1) and not joined(5, near + 0.02, near - 0.1)   # five say less of a person
    assert joined(40, near - 0.02) and not joined(40, near - 0.02, near - 0.1) and not joined(40, near - 0.1)
    assert joined(40, near + 0.04, near - 0.1, 3) and not joined(40, near + 0.02, near - 0.1, 3)    # three are somebody


def test_a_cluster_near_somebody_known_is_no_second_faceset_of_that_person() -> None:
    rows, rules = person(1, 30, 1.05), replace(RULES, clear_closer=0, linked_closer=0, merge_closer=0, several_closer=0,
                                               few_closer=0, dim_farther=0.09)
    two = person(1, 2, 1.05, seed=2)
    few = as_known("faceset_001", two)
    near = int((1 - rows @ few.centroid <= rules.known_distance).sum())
    alone = propose(cache_of(rows), known=[few], rules=rules)
    assert alone.counts["known"] == 30 > near and not alone.facesets
    far = cache.face_keys(cache_of(rows))[int((rows @ few.centroid).argmin())]
    apart = propose(cache_of(rows), known=[as_known("faceset_001", two, not_this=[far])], rules=rules)
    assert apart.counts["known"] == near
    held = as_known("faceset_001", two, faces=[far[:64] + "@900,0,990,99"])      # another face of that photo
    assert propose(cache_of(rows), known=[held], rules=rules).counts["known"] == 29


def test_faces_of_somebody_who_was_dropped_are_not_counted_as_waiting_for_extend() -> None:
    made = propose(cache_of(person(1, 5)), known=[as_known("_dropped/faceset_001", person(1, 5, seed=1))])
    assert (made.counts["known"], made.counts["dropped"]) == (0, 5)
