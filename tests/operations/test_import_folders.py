"""Hand-sorted folders of drawn people: who they say is who, what facesets become of it, and a model's distances."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn import (
    MODEL,
    OPTIONS,
    cache_of,
    change,
    command,
    contents,
    face_of,
    library_photos,
    person,
    photo,
    proposal_of,
)
from PIL import Image

from facesets.common.errors import Failure
from facesets.export import swap
from facesets.formats import cache, proposal
from facesets.library.members import pick, stack
from facesets.library.store import Library
from facesets.operations import edit, hand_sorted, import_folders, labelled, own


def test_hand_sorted_folders_become_people_bystanders_are_dropped_and_mixed_folders_shared_out(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    mine = library_photos(hand, [7, 8], 5, "")
    guest, mixed = library_photos(hand / "x", [9], 1, ""), library_photos(hand / "y", [1, 7, 8, 9], 10, "")
    whole = as_one([(mine, np.arange(10)), (guest, np.arange(1)), (mixed, np.array([9, 19, 29, 39]))], hand)
    shutil.rmtree(hand / "x"), shutil.rmtree(hand / "y")
    moved = hand.rename(hand.with_name("sorted"))       # the cache knows the photos by the paths of another time
    found = hand_sorted.propose(whole, own.queue([moved]), moved, library.identities(MODEL), 0.55, 0.45)
    assert [Path(group.folder).name for group in found.groups] == ["p007", "p008"]
    assert "mixed is mixed: 3 of its 4 faces went to whom they are near to, the others to nobody" in found.notes
    assert [len(group.faces) for group in found.groups] == [6, 6]       # five of their own, one of the mixed folder
    assert len(found.extend["faceset_001"]) == 1 and len(found.bystanders) == 2
    moved.rename(hand)
    change(library, lambda run: import_folders.carry_out(run, found, whole, OPTIONS))
    assert [item.name for item in library.canonical()][3:] == ["p007", "p008"]
    assert len(library.record("faceset_001").faces) == 9


def test_one_photo_in_two_hand_sorted_folders_is_each_ones_and_a_folder_without_a_face_is_told(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    mine = library_photos(hand, [7, 8], 5, "", together=1)
    shared = hand / "together" / "000.png"
    for folder in ("p007", "p008"):         # she stands in the photo with him: it lies in the folders of both
        shutil.copy(shared, hand / folder / "both.png")
    shutil.copy(hand / "p007" / "000.png", hand / "p008" / "hers.png")      # and one of hers by mistake in his
    shutil.rmtree(hand / "together")
    Image.new("RGB", (64, 64)).save(hand / "p008" / "blank.png")
    (hand / "sea").mkdir()
    Image.new("RGB", (64, 48)).save(hand / "sea" / "waves.png")
    found = hand_sorted.propose(mine, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    assert [(Path(group.folder).name, len(group.faces)) for group in found.groups] == [("p007", 6), ("p008", 6)]
    keys = [face.face for group in found.groups for face in group.faces]
    assert len(set(keys)) == 12 and not found.bystanders and found.notes == ["sea: no face was found in its photos"]
    change(library, lambda run: import_folders.carry_out(run, found, mine, OPTIONS))
    assert [item.name for item in library.canonical()][3:] == ["p007", "p008"]


def test_a_second_folder_of_the_same_photos_is_told_on_the_first_run(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    mine = library_photos(hand, [7, 8], 5, "")
    shutil.copytree(hand / "p007", hand / "also")
    found = hand_sorted.propose(mine, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    assert [Path(group.folder).name for group in found.groups] == ["also", "p008"] and not found.bystanders
    assert found.notes == ["p007 holds only faces that also holds too, so it is left out"]


def test_a_sister_beside_her_in_a_hand_sorted_folder_is_a_bystander(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    mine = library_photos(hand, [7], 10, "", together=0)
    beside = library_photos(hand / "x", [7, 8], 1, "", together=6)
    for number in range(6):
        shutil.copy(hand / "x" / "together" / f"{number:03d}.png", hand / "p007" / f"both{number}.png")
    shutil.rmtree(hand / "x")
    whole = stack([(mine, np.arange(10)), (beside, np.arange(2, 14))])
    for row in range(10, 22):
        sister = face_of(person(7) + 1.5 * person(8), 50_000 + row, 0.3)
        whole.embeddings[row] = face_of(person(7), 50_000 + row, 0.3) if row % 2 == 0 else sister
    found = hand_sorted.propose(whole, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    assert [len(group.faces) for group in found.groups] == [16] and len(found.bystanders) == 6
    assert found.bystanders == set(cache.face_keys(whole)[11::2])


@pytest.mark.parametrize("mother_first", [True, False])
def test_who_is_always_in_her_mothers_arms_gets_her_own_faces(shelf, mother_first: bool) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    mother = library_photos(hand, [7], 8, "")
    both = library_photos(hand, [7, 8] if mother_first else [8, 7], 1, "", together=6)
    (hand / "together").rename(hand / "Child")
    whole = stack([(mother, np.arange(8)), (both, np.arange(2, 14))])
    childs = set(cache.face_keys(whole)[8 + mother_first::2])
    shutil.rmtree(hand / "p008")
    found = hand_sorted.propose(whole, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    assert [len(group.faces) for group in found.groups] == [6, 8]
    assert {face.face for face in found.groups[0].faces} == childs
    missed = pick(whole, [row for row in range(20) if row != 8 + mother_first])     # a profile that was not found
    found = hand_sorted.propose(missed, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    assert [len(group.faces) for group in found.groups] == [5, 8]
    assert {face.face for face in found.groups[0].faces} < childs
    (hand / "p007").rename(library.root.parent / "p007")
    found = hand_sorted.propose(whole, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    assert not found.groups and "Child does not say whose it is" in found.notes[0]


@pytest.mark.parametrize("called", ["", "p007"])
def test_what_is_sorted_by_hand_leaves_the_faceset_that_holds_it(shelf, called: str) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    both = library_photos(hand, [7, 8], 8, "")
    keys = cache.face_keys(both)
    for row in range(8, 16):        # a sister, alike enough for a faceset of both
        both.embeddings[row] = face_of(person(7) + 1.1 * person(8), 60_000 + row, 0.3)
    whole = proposal.Group(tuple(map(proposal.Face, keys)))
    swap.export(library, replace(proposal_of(both), facesets=(whole,)), [both], OPTIONS)
    glued = library.canonical()[-1].folder
    assert not called or command(library, "name", glued, called) == 0

    def sort():
        found = hand_sorted.propose(both, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
        return change(library, lambda run: import_folders.carry_out(run, found, both, OPTIONS))
    assert f"8 faces of p008 were in {glued}" in sort().notes
    held = {item.name: set(item.face_keys) for item in library.canonical()}
    assert held["p007"] == set(keys[:8]) and held["p008"] == set(keys[8:])
    before = contents(library.root)
    sort()
    assert contents(library.root) == before
    hers = next(item.folder for item in library.canonical() if item.name == "p008")
    assert command(library, "drop", hers) == 0
    assert f"p008 is _dropped/{hers}, which was dropped and stays so" in sort().notes
    assert "p008" not in [item.name for item in library.canonical()]


def test_what_was_said_since_an_import_stays_when_the_folder_is_imported_again(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    both = library_photos(hand, [7, 8], 8, "")
    for number in range(4):         # a sister who looks like her, among her photos
        shutil.move(hand / "p008" / f"{number:03d}.png", hand / "p007" / f"s{number}.png")
    shutil.rmtree(hand / "p008")
    for row in range(8, 12):
        both.embeddings[row] = face_of(person(7) + 0.5 * person(8), 70_000 + row, 0.3)
    mine = pick(both, range(12))
    lies = {entry.sha256: entry.path for entry in own.queue([hand]).entries}
    mine.photos[:] = [replace(item, path=lies[item.sha256]) for item in mine.photos]

    def sort() -> list[str]:
        found = hand_sorted.propose(mine, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
        return change(library, lambda run: import_folders.carry_out(run, found, mine, OPTIONS)).notes
    sort()
    hers = library.canonical()[-1].folder
    keys = cache.face_keys(mine)[8:]
    change(library, lambda run: edit.split(run, hers, keys, OPTIONS))
    sister = library.canonical()[-1].folder
    assert f"4 faces of p007 stay in {sister}, as a person said" in sort()
    assert set(library.canonical()[-1].face_keys) == set(keys)


def test_two_folders_of_one_person_tear_no_faceset(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    hers = library_photos(hand, [7], 16, "")
    swap.export(library, proposal_of(hers), [hers], OPTIONS)
    (hand / "later").mkdir()
    for number in range(8, 16):
        (hand / "p007" / f"{number:03d}.png").rename(hand / "later" / f"{number:03d}.png")
    found = hand_sorted.propose(hers, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    run = change(library, lambda run: import_folders.carry_out(run, found, hers, OPTIONS))
    assert len(library.canonical()) == 4 and len(library.canonical()[-1].face_keys) == 16
    assert any("is another folder's" in note for note in run.notes)


def test_a_folder_without_folders_of_photos_is_refused(shelf, tmp_path) -> None:
    """One that holds a person's photos itself was meant as the folder above it."""
    library, faces = shelf
    hand = tmp_path / "hand"
    (hand / "empty").mkdir(parents=True)
    (hand / "photo.jpg").write_bytes(Path(faces.photos[0].path).read_bytes())
    for known in (library.canonical(), []):
        with pytest.raises(Failure, match="one for each person is wanted, so name the folder that they lie in"):
            hand_sorted.propose(faces, own.queue([hand]), hand, known, 0.55, 0.45)


def test_two_hand_sorted_folders_near_one_unnamed_faceset_stay_two_people(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    both = library_photos(hand, [7, 8], 5, "")
    middle = library.canonical()[0].centroid
    for row in range(10):       # the first folder is the faceset's person, the second a sibling
        both.embeddings[row] = face_of(middle if row < 5 else middle + 0.7 * person(8), 40_000 + row, 0.3)
    found = hand_sorted.propose(both, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    assert named(found) == {"faceset_001": "p007"} and [Path(group.folder).name for group in found.groups] == ["p008"]
    assert any("p008 looks like faceset_001" in note for note in found.notes)
    change(library, lambda run: import_folders.carry_out(run, found, both, OPTIONS))
    assert [item.name for item in library.canonical()] == ["p007", "", "", "p008"]
    again = hand_sorted.propose(both, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    assert named(again) == {"faceset_001": "p007", "faceset_004": "p008"} and not again.groups


def named(found: hand_sorted.Imported) -> dict[str, str]:
    return {person.faceset: person.name for person in found.people if person.faceset}


def as_one(parts, hand: Path) -> cache.Cache:
    """The folders p007 (with one guest), p008 and mixed, as one cache."""
    whole = stack(parts)
    for number, item in enumerate(whole.photos):
        if "/x/" in item.path or "/y/" in item.path:
            new = hand / ("p007" if "/x/" in item.path else "mixed") / f"guest{number}.png"
            new.parent.mkdir(exist_ok=True)
            whole.photos[number] = replace(item, path=str(shutil.copy(item.path, new)))
    return whole


def test_calibrate_labels_a_face_by_its_folder_where_it_is_alone_in_the_photo(tmp_path) -> None:
    root = tmp_path / "labelled"
    faces = library_photos(root, [1, 2, 3, 4], 5, together=2)
    rows, people = labelled.people_of(faces, own.queue([root]), root)
    assert list(rows) == list(range(28))
    assert list(people) == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5 + [-1] * 8
    found = labelled.distances(faces, own.queue([root]), root, (0.45, 0.55))       # four people meet no strangers
    assert 0.3 <= found.known_distance <= 0.45 and found.cluster_distance <= 0.55 and found.most == (0.45, 0.55)
    assert labelled.distances(faces, own.queue([root]), root, (0.6, 0.7)).known_distance > 0.45
    assert MODEL.sha256 in labelled.setting(found, faces.model)
    with pytest.raises(Failure, match="four people"):
        few = library_photos(tmp_path / "few", [1], 5)
        labelled.distances(few, own.queue([tmp_path / "few"]), tmp_path / "few", (0.45, 0.55))


def drawn_in(hand: Path, folders: dict[str, list[tuple[int, ...]]]) -> cache.Cache:
    """Folders of photos, each of these people."""
    photos, rows = [], []
    for name, shown in folders.items():
        for people in shown:
            number = len(photos)
            boxes = [(20.0 + 150 * place, 150.0, 140.0 + 150 * place, 270.0) for place in range(len(people))]
            path = hand / name / f"{number:03d}.png"
            photos.append(cache.Photo(str(path), photo(path, boxes, 500_000 + number), "faces", width=640, height=480))
            rows += [(number, box, face_of(person(who), 700 * number + who), who)
                     for box, who in zip(boxes, people, strict=True)]
    return cache_of(photos, rows)


def whose(shelf, folders: dict[str, list[tuple[int, ...]]]) -> tuple[dict[str, int], list[str]]:
    """Folder -> the person whose faces its identity has, for those that make one; and what is said."""
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = drawn_in(hand, folders)
    found = hand_sorted.propose(faces, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    row_of = {key: row for row, key in enumerate(cache.face_keys(faces))}
    everybody = np.array([person(who) for who in range(30)])
    named = {}
    for group in found.groups:
        nearest = (faces.embeddings[[row_of[face.face] for face in group.faces]] @ everybody.T).argmax(axis=1)
        assert len(set(nearest)) == 1
        named[group.proposed_name] = int(nearest[0])
    return named, found.notes


def test_whose_a_folder_is_that_shows_nobody_alone_says_who_is_in_the_most_photos(shelf) -> None:
    assert whose(shelf, {"her": [(7, 8)] * 7 + [(9, 7)] * 3})[0] == {"her": 7}


def test_a_face_that_was_not_found_in_a_photo_makes_nobody_more_frequent(shelf) -> None:
    named, notes = whose(shelf, {"two": [(7, 8)] * 5 + [(7,)]})
    assert not named and notes[0].startswith("two does not say whose it is: 2 are in most of its photos")


def test_who_has_a_folder_is_not_whose_another_is(shelf) -> None:
    """Whoever is most often alone is told first, and folders tell each other in whatever order they come."""
    assert whose(shelf, {"Child": [(7, 8)] * 7 + [(7,)] * 3, "Mother": [(7,)] * 5 + [(7, 9)] * 5})[0] == {
        "Child": 8, "Mother": 7}


def test_a_folder_that_another_had_to_tell_tells_a_third(shelf) -> None:
    assert whose(shelf, {"a": [(8, 9)] * 5 + [(9,)], "b": [(7, 8)] * 6, "c": [(7,)] * 6})[0] == {"a": 9, "b": 8, "c": 7}


def test_who_has_a_name_is_not_whose_a_folder_of_another_name_is(shelf) -> None:
    assert command(shelf[0], "name", "1", "Mother") == 0
    assert whose(shelf, {"Child": [(1, 8)] * 6})[0] == {"Child": 8}
    (shelf[0].root.parent / "hand" / "Child").rename(shelf[0].root.parent / "elsewhere")
    named, notes = whose(shelf, {"mother": [(1, 8)] * 6})
    assert not named and "mother does not say whose it is" in notes[0]      # the two are as often there


def test_a_child_whose_face_changes_does_not_become_the_mother_who_has_a_folder(shelf) -> None:
    named, notes = whose(shelf, {"Child": [(7, 8)] * 4 + [(7, 9)] * 4, "Mother": [(7,)] * 6})
    assert named == {"Mother": 7} and "Child does not say whose it is" in notes[0]
    assert notes[1] == "Child is mixed: 8 of its 16 faces went to whom they are near to, the others to nobody"


def test_a_folder_under_another_name_tears_no_faceset_that_a_person_named(shelf) -> None:
    library, faces = shelf
    hand = library.root.parent / "hand"
    (hand / "Oma").mkdir(parents=True)
    for item in faces.photos[:3]:
        shutil.copy(item.path, hand / "Oma")
    assert command(library, "name", "1", "Grandma") == 0
    before = contents(library.root)
    found = hand_sorted.propose(faces, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    notes = change(library, lambda run: import_folders.carry_out(run, found, faces, OPTIONS)).notes
    assert "3 faces of Oma stay in faceset_001, since Grandma looks like the same person" in notes
    assert any("which is called Grandma; if it is the same person: sort_faces.py name faceset_001 'Oma'" in note
               for note in notes)
    assert contents(library.root) == before


@pytest.mark.parametrize("looked_at", [True, False])
def test_what_a_person_found_right_is_not_taken_out(shelf, looked_at: bool) -> None:
    library, faces = shelf
    hand = library.root.parent / "hand"
    mine = library_photos(hand, [9], 5, "")
    for item in faces.photos[:2]:
        shutil.copy(item.path, hand / "p009" / f"of_{Path(item.path).name}")
    faces = replace(faces, embeddings=faces.embeddings.copy())      # the template is every test's
    faces.embeddings[:2] = [face_of(person(9), 80_000 + row, 0.3) for row in range(2)]
    both = stack([(faces, np.arange(len(faces.faces))), (mine, np.arange(5))])
    assert not looked_at or command(library, "reviewed", "1") == 0
    found = hand_sorted.propose(both, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    notes = change(library, lambda run: import_folders.carry_out(run, found, both, OPTIONS)).notes
    held = {item.name: len(item.face_keys) for item in library.canonical()}
    assert held["p009"] == (5 if looked_at else 7)
    assert ("2 faces of p009 stay in faceset_001, as a person said" if looked_at
            else "2 faces of p009 were in faceset_001") in notes


def test_what_of_a_folder_says_nothing_of_anybody_is_told(shelf) -> None:
    hand = shelf[0].root.parent / "hand"
    for name in ("empty", ".hidden", "@eaDir"):
        (hand / name).mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(hand / "loose.png")
    named, notes = whose(shelf, {"her": [(7,)] * 3})
    assert named == {"her": 7} and notes == [f"1 photo right in {hand} left out: a photo's folder says whose it is",
                                             "empty: there is no photo in it"]


def test_calibrate_goes_by_where_a_photo_lies_now(tmp_path) -> None:
    root = tmp_path / "labelled"
    faces = library_photos(root, [1, 2, 3, 4], 5)
    (root / "p001" / "000.png").rename(root / "p002" / "moved.png")
    shutil.copy(root / "p003" / "000.png", root / "p004" / "copy.png")
    assert list(labelled.people_of(faces, own.queue([root]), root)[1]) == [
        1, *[0] * 4, *[1] * 5, -1, *[2] * 4, *[3] * 5]


def sort(library: Library, faces: cache.Cache) -> list[str]:
    """import-folders of hand/ beside the library; what it says."""
    hand = library.root.parent / "hand"
    found = hand_sorted.propose(faces, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    return change(library, lambda run: import_folders.carry_out(run, found, faces, OPTIONS)).notes


@pytest.mark.parametrize("then", ["name", "drop"])
def test_a_folder_stays_the_faceset_that_was_made_of_it(shelf, then: str) -> None:
    """Whatever it is called by now; what was taken out of it, and what is new, make no second one."""
    library, _ = shelf
    faces = library_photos(library.root.parent / "hand", [7], 10, "")
    sort(library, pick(faces, range(8)))
    hers = library.canonical()[-1].folder
    assert command(library, "not-this", hers, "0001.png", "0002.png") == 0
    assert command(library, then, hers, *(["Anna"] if then == "name" else [])) == 0
    notes = sort(library, faces)
    if then == "drop":
        assert f"p007 is _dropped/{hers}, which was dropped and stays so" in notes
        assert len(library.canonical()) == 3
    else:
        assert f"p007 is {hers}, which is called Anna" in notes
        assert [(item.name, len(item.face_keys)) for item in library.canonical()[3:]] == [("Anna", 8)]


def test_a_photo_that_is_sorted_back_comes_back(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = library_photos(hand, [7, 8], 6, "")
    for row in range(6, 12):
        faces.embeddings[row] = face_of(person(7) + 1.2 * person(8), 30_000 + row, 0.3)
    faces.embeddings[0] = face_of(person(7) + 0.5 * person(8), 30_000, 0.3)     # near enough to both
    key, slip = cache.face_keys(faces)[0], hand / "p008" / "slip.png"
    kept = Path(shutil.copytree(hand, hand.with_name("kept")))
    faces.photos[:] = [replace(item, path=str(kept / Path(item.path).relative_to(hand))) for item in faces.photos]
    for folder, old, new in (("p007", slip, slip), ("p008", hand / "p007" / "000.png", slip),
                             ("p007", slip, hand / "p007" / "000.png")):
        if old != new:
            old.rename(new)
        sort(library, faces)
        assert [item.name for item in library.canonical() if key in item.face_keys] == [folder]
    assert not library.manifest().not_this


def test_a_photo_of_two_folders_stays_where_it_is(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = library_photos(hand, [7, 8], 6, "")
    for row in range(6, 12):
        faces.embeddings[row] = face_of(person(7) + 1.2 * person(8), 30_000 + row, 0.3)
    faces.embeddings[0] = face_of(person(7) + 0.5 * person(8), 30_000, 0.3)
    shutil.copy(hand / "p007" / "000.png", hand / "p008" / "both.png")
    sort(library, faces)
    before = contents(library.root)
    assert sort(library, faces) == [] and contents(library.root) == before


def test_a_folder_whose_faceset_others_take_whole_has_a_new_one(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = library_photos(hand, [7, 8], 6, "")
    for row in range(6):        # two of hers who looks like him lay in his folder
        faces.embeddings[row] = face_of(person(7) + 0.8 * person(8), 30_000 + row, 0.3)
        faces.embeddings[6 + row] = face_of(person(7) - 0.6 * person(9), 40_000 + row, 0.3)
    swap.export(library, replace(proposal_of(faces), facesets=(
        proposal.Group(tuple(map(proposal.Face, cache.face_keys(faces)[:2])), "p008", folder="p008"),)), [faces],
        OPTIONS, min_faces=1)
    notes = sort(library, faces)
    assert "2 faces of p007 were in faceset_004" in notes
    assert {item.name: len(item.face_keys) for item in library.canonical()[3:]} == {"p007": 6, "p008": 6}


def test_a_face_of_a_mixed_folder_that_has_a_person_already_is_one(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = drawn_in(hand, {"her": [(7,)] * 3, "mixed": [(8,), (9,), (7,)]})
    shutil.copy(hand / "her" / "000.png", hand / "mixed" / "copy.png")
    found = hand_sorted.propose(faces, own.queue([hand]), hand, library.canonical(), 0.55, 0.45)
    assert [len(group.faces) for group in found.groups] == [4] and len({one.face for one in found.groups[0].faces}) == 4
    assert "mixed is mixed: 1 of its 3 faces went to whom they are near to, the others to nobody" in found.notes


def test_who_is_near_no_more_than_roughly_is_a_bystander(shelf) -> None:
    """Alone in a photo of her folder, too; with distances stricter than her own faces are, all of hers stay."""
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = library_photos(hand, [7], 9, "")
    faces.embeddings[0] = face_of(person(7) + 2.2 * person(8), 1, 0.0)
    for fine, hers in ((0.45, 8), (0.001, 9)):
        found = hand_sorted.propose(faces, own.queue([hand]), hand, library.canonical(), 0.7, fine)
        assert [len(group.faces) for group in found.groups] == [hers]


def test_the_faceset_of_a_folders_name_is_hers_though_another_is_nearer(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = library_photos(hand, [7, 8, 9], 6, "")
    for row in range(18):
        middle = person(7) if row < 12 else person(7) + 0.6 * person(9)
        faces.embeddings[row] = face_of(middle, 20_000 + row, 0.3)
    made = pick(faces, range(6, 18))
    swap.export(library, proposal_of(made), [made], OPTIONS, min_faces=1)
    assert command(library, "name", "5", "P007") == 0
    for folder in ("p008", "p009"):
        shutil.rmtree(hand / folder)
    found = hand_sorted.propose(faces, own.queue([hand]), hand, library.canonical(), 0.55, 0.45)
    assert named(found) == {"faceset_005": "p007"}


def test_the_rough_pass_takes_in_what_was_not_linked(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = library_photos(hand, [7], 10, "")
    for row in range(6, 10):        # too far from each of hers by themselves, near to the middle of all
        faces.embeddings[row] = face_of(person(7) + 1.65 * person(8), 20_000 + row)
    found = hand_sorted.propose(faces, own.queue([hand]), hand, library.canonical(), 0.55, 0.45)
    assert [len(group.faces) for group in found.groups] == [10]


def test_what_was_put_aside_keeps_its_faces_and_is_no_folders_person_for_being_near(shelf) -> None:
    library, faces = shelf
    hand = library.root.parent / "hand"
    (hand / "Anna").mkdir(parents=True)
    for item in faces.photos[:3]:
        shutil.copy(item.path, hand / "Anna")
    assert command(library, "drop", "1") == 0
    assert sort(library, faces) == ["3 faces of Anna stay in _dropped/faceset_001, which was put aside"]


def test_whose_a_folder_is_does_not_change_when_her_faceset_is_renamed(shelf) -> None:
    """Her husband, who is in most of its photos too, is not it then."""
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = drawn_in(hand, {"Anna": [(7, 8)] * 7 + [(9, 7)] * 3})
    sort(library, faces)
    made = library.canonical()[-1]
    assert command(library, "name", made.folder.rpartition("_")[2], "Anna Smith") == 0
    assert f"Anna is {made.folder}, which is called Anna Smith" in sort(library, faces)
    assert library.canonical()[-1].face_keys == made.face_keys


def test_who_is_called_otherwise_and_is_mostly_elsewhere_leaves_her_folder_to_nobody(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = drawn_in(hand, {"Anna": [(7, 8)] * 7 + [(9, 7)] * 3, "elsewhere": [(7,)] * 20})
    hers = [key for key, row in zip(cache.face_keys(faces), faces.embeddings, strict=True) if row @ person(7) > 0.6]
    assert len(hers) == 30
    swap.export(library, replace(proposal_of(faces), facesets=(
        proposal.Group(tuple(map(proposal.Face, hers))),)), [faces], OPTIONS)
    assert command(library, "name", library.canonical()[-1].folder.rpartition("_")[2], "Anna Smith") == 0
    shutil.rmtree(hand / "elsewhere")
    found = hand_sorted.propose(faces, own.queue([hand]), hand, library.identities(MODEL), 0.55, 0.45)
    assert not found.groups and any(note.startswith("Anna does not say whose it is") for note in found.notes)


def test_who_is_alone_oftener_is_it_and_a_mother_of_another_year_is_not_taken_for_her_child(shelf) -> None:
    library, _ = shelf
    hand = library.root.parent / "hand"
    faces = drawn_in(hand, {"Anna": [(4,)] * 6 + [(4, 5)] * 11 + [(5, 6)] * 3,
                            "Child": [(7, 8)] * 6 + [(7, 9)] * 3, "Mother": [(7,)] * 6})
    now = [row for row, face in enumerate(faces.faces) if 20 <= face["photo"] < 29 and face["box"][0] < 100]
    for row in now:
        faces.embeddings[row] = face_of(person(7) + 0.9 * person(17), 90_000 + row, 0.3)
    found = hand_sorted.propose(faces, own.queue([hand]), hand, library.canonical(), 0.55, 0.45)
    assert {group.proposed_name: len(group.faces) for group in found.groups} == {"Anna": 17, "Mother": 6 + 9}
    assert any(note.startswith("Child does not say whose it is") for note in found.notes)
