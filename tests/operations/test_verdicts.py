"""What a person says after looking: it reaches the library, everything obeys it, and undo takes it back."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from drawn import OPTIONS, change, command, contents, face_of, library_photos, person, proposal_of

import cluster_immich
from facesets.export import draft as drafts
from facesets.export import swap
from facesets.formats import cache, proposal
from facesets.formats.cache import short_key
from facesets.formats.faceset import read_faces
from facesets.library import store
from facesets.library.members import Index, without_twins
from facesets.library.store import Library
from facesets.operations import consolidate, edit
from facesets.report import alike
from facesets.report import shelf as pictures


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Three people, eight photos of each, of whom the last two look alike; the caches know three photos of all."""
    place = tmp_path_factory.mktemp("template")
    faces = library_photos(place / "photos", [1, 2, 3], 8, together=3)
    for row in range(16, 24):
        faces.embeddings[row] = face_of(person(2) + 0.35 * person(3), 3000 + row)
    cache.write(place / "here" / "work" / "cache" / "immich_anna.npz", faces)
    swap.export(Library(place / "here" / "library"), proposal_of(faces), [faces], OPTIONS)
    return place / "here", faces


def keys_in(library: Library, folder: str) -> set[str]:
    return set(read_faces(library.root / folder / "faces.npz").keys)


def test_two_people_are_not_proposed_as_one_by_anybody(shelf) -> None:
    library, _ = shelf
    assert [pair.facesets for pair in consolidate.propose(library, 0.4)] == [("faceset_002", "faceset_003")]
    assert command(library, "two-people", "2", "3") == 0
    assert [pair.against for pair in consolidate.propose(library, 0.4)] == [
        "faceset_002 and faceset_003 were said to be two people"]
    assert command(library, "consolidate", "--apply") == 0 and len(library.canonical()) == 3
    sets, _ = pictures.read(library.root, library.manifest())
    assert not alike.pairs(sets, 0.45, 0.5, library.manifest())
    assert alike.pairs(sets, 0.45, 0.5, store.Manifest())
    assert command(library, "undo") == 0 and not library.manifest().two_people


def test_one_faceset_is_not_two_people(shelf) -> None:
    library, _ = shelf
    assert command(library, "two-people", "2", "faceset_002") == 64


def test_what_was_said_of_two_people_follows_a_merge_a_drop_and_the_file_manager(shelf) -> None:
    library, _ = shelf
    assert command(library, "two-people", "1", "3") == 0 and command(library, "reviewed", "2") == 0
    assert command(library, "consolidate", "1", "2") == 0
    manifest = library.manifest()
    assert manifest.two_people == [["faceset_001", "faceset_003"]] and len(manifest.reviewed["faceset_001"]) == 8
    assert command(library, "undo") == 0
    assert command(library, "consolidate", "2", "1") == 0
    assert library.manifest().two_people == [["faceset_002", "faceset_003"]]
    assert command(library, "drop", "3") == 0
    assert library.manifest().two_people == [["_dropped/faceset_003", "faceset_002"]]
    shutil.move(library.root / "_dropped" / "faceset_003", library.root / "faceset_003")
    assert library.manifest().two_people == [["faceset_002", "faceset_003"]]


def test_two_people_who_are_merged_by_hand_all_the_same_are_one(shelf) -> None:
    library, _ = shelf
    assert command(library, "two-people", "2", "3") == 0 and command(library, "consolidate", "2", "3") == 0
    assert library.manifest().two_people == []


@pytest.mark.parametrize("order", [("2", "4"), ("4", "2"), ("2", "3"), ("3", "2")])
def test_faces_that_left_a_faceset_are_back_once_both_are_merged_by_hand(shelf, order) -> None:
    library, faces = shelf
    both = {item["face"] for folder in ("faceset_002", "faceset_003") for item in library.record(folder).faces}
    if "4" in order:
        both = {item["face"] for item in library.record("faceset_002").faces}
        assert command(library, "split", "2", "0001.png", "0002.png") == 0
    else:
        some = [item["face"] for item in library.record("faceset_003").faces[:3]]
        change(library, lambda run: edit.this_is(run, "2", some, Index([faces]), OPTIONS))
    assert command(library, "consolidate", *order) == 0
    assert {item["face"] for item in library.record(f"faceset_00{order[0]}").faces} == both
    assert not library.manifest().not_this


def test_a_face_that_was_left_out_is_proposed_to_nobody(shelf) -> None:
    library, faces = shelf
    place = library.root.parent
    one, other = cache.face_keys(faces)[24:30:3]

    def known(folder) -> set[str]:
        made = proposal.read(folder / "refine.json")
        assert {face.reason for face in made.rejected} <= {"left out by a person"}
        return {face.face for some in made.extend.values() for face in some} & {one, other}
    for left in ((), (one,)):
        change(library, lambda run, left=left: edit.left(run, left))
        assert command(library, "cluster") == 0 and known(place / "work") == {one, other}.difference(left)
        assert cluster_immich.main(["--user", "anna", "--dry-run", "--data-root", str(place / "work"),
                                    "--library", str(library.root)]) == 0
        assert known(place / "work" / "immich" / "anna") == {one, other}.difference(left)


def test_who_was_merged_into_somebody_is_known_of_him_who_was_merged_or_dropped_himself(shelf) -> None:
    library, _ = shelf
    old = {item.folder: item.centroid for item in library.canonical()}
    assert command(library, "consolidate", "2", "3") == 0 and command(library, "consolidate", "1", "2") == 0
    [one] = library.canonical()
    assert np.allclose(one.merged[1], old["faceset_003"]) and len(one.merged) == 2
    assert command(library, "drop", "1") == 0 and len(library.everybody()[0].merged) == 2


def test_what_is_reviewed_is_what_the_faceset_held_then(shelf) -> None:
    library, faces = shelf
    assert command(library, "reviewed", "2") == 0
    seen = set(library.manifest().reviewed["faceset_002"])
    assert seen == {short_key(key) for key in keys_in(library, "faceset_002")}
    new = cache.face_keys(faces)[25]
    assert command(library, "this-is", "1", new) == 0       # of another faceset: nothing changes in this one
    assert set(library.manifest().reviewed["faceset_002"]) == seen


def test_status_counts_a_picture_that_nobody_saw_though_as_many_were_seen_before(shelf, capsys) -> None:
    library, faces = shelf
    assert command(library, "reviewed", "1", "2", "3") == 0
    assert command(library, "not-this", "1", "0001.png", "0002.png") == 0
    assert command(library, "status") == 0 and "(0 that nobody has looked at" in capsys.readouterr().out
    keys = [key for key in cache.face_keys(faces)[24:33:3] if key not in library.settled()]
    index = Index([faces])

    def grow(run) -> None:      # as extend does, which asks nobody
        record, held = drafts.existing(run, "faceset_001")
        swap.finish(run, [drafts.plan(run, record, without_twins(held.faces, index.pick(keys[:2])), OPTIONS)], OPTIONS)
    change(library, grow)
    assert command(library, "status") == 0 and "(1 that nobody has looked at" in capsys.readouterr().out


def test_a_face_of_nobody_becomes_a_persons_and_leaves_another(shelf) -> None:
    library, faces = shelf
    index, keys = Index([faces]), cache.face_keys(faces)
    free, theirs = keys[24], keys[8]       # of a photo of all, in no faceset; of faceset_002
    change(library, lambda run: edit.not_this(run, "1", [free], OPTIONS))
    change(library, lambda run: edit.this_is(run, "1", [free, theirs], index, OPTIONS))
    assert {free, theirs} <= keys_in(library, "faceset_001") and theirs not in keys_in(library, "faceset_002")
    manifest = library.manifest()
    assert "faceset_001" not in manifest.not_this and manifest.not_this["faceset_002"] == [theirs]
    assert short_key(free) in manifest.reviewed["faceset_001"]


def test_a_face_without_a_picture_that_a_person_put_there_stays_said_when_the_pictures_are(shelf) -> None:
    library, faces = shelf
    keys = cache.face_keys(faces)
    faces.embeddings[24] = faces.embeddings[keys.index(min(keys_in(library, "faceset_001")))]      # one moment
    faces.faces["quality"][24] = 0.1
    change(library, lambda run: edit.this_is(run, "1", [keys[24]], Index([faces]), OPTIONS))
    record = json.loads((library.root / "faceset_001" / "manifest.json").read_text())
    assert keys[24] in keys_in(library, "faceset_001") - {item["face"] for item in record["faces"]}
    assert command(library, "reviewed", "1") == 0
    assert short_key(keys[24]) in library.manifest().reviewed["faceset_001"]
    assert command(library, "not-this", "1", keys[24]) == 0 and command(library, "reviewed", "1") == 0
    assert short_key(keys[24]) not in library.manifest().reviewed["faceset_001"]


def test_a_photo_with_several_faces_or_none_names_nobody(shelf, capsys) -> None:
    library, faces = shelf
    assert command(library, "this-is", "1", faces.photos[24].path) == 64
    assert "3 faces of" in capsys.readouterr().err
    assert command(library, "this-is", "1", "nobody.jpg") == 64
    assert "no faces of nobody.jpg" in capsys.readouterr().err


def test_a_split_makes_a_faceset_of_its_own_without_new_pictures_and_is_taken_back(shelf) -> None:
    library, _ = shelf
    before = contents(library.root)
    pictures = {item["face"] for item in json.loads((library.root / "faceset_002" / "manifest.json").read_text())[
        "faces"] if item["file"] in ("0001.png", "0004.png", "0005.png")}
    assert command(library, "split", "2", "0001.png", "0004.png", "0005.png") == 0
    assert keys_in(library, "faceset_004") == pictures and not pictures & keys_in(library, "faceset_002")
    manifest = library.manifest()
    assert manifest.two_people == [["faceset_002", "faceset_004"]]
    assert set(manifest.not_this["faceset_002"]) == pictures
    assert command(library, "undo") == 0 and contents(library.root) == before
    assert command(library, "split", "2", "0001.png") == 0 and library.canonical()[-1].number == 5


def test_a_split_and_a_promotion_are_tried_without_a_change(shelf, capsys) -> None:
    library, faces = shelf
    before = contents(library.root)
    assert command(library, "split", "2", "0001.png", "0004.png", "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["facesets"] == ["faceset_004", "faceset_002"] and told["counts"]["two_people"] == 1
    group = proposal.Group(tuple(map(proposal.Face, cache.face_keys(faces)[24::3])))
    proposal.write(library.root.parent / "work" / "refine.json",
                   proposal.Proposal("r2", "test", "2099-01-01T00:00:00Z", {}, (), thin=(group,)))
    assert command(library, "promote", group.faces[0].face, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["facesets"] == ["faceset_004"]
    assert contents(library.root) == before


@pytest.mark.parametrize("verb", ["split", "not-this"])
def test_the_faces_without_a_picture_go_with_those_that_they_are_nearer_to(template, tmp_path, verb: str) -> None:
    """Of both people in the faceset, two faces are hidden, since they show what another face shows."""
    place, like = template
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "library")
    faces = replace(like, embeddings=like.embeddings.copy())
    for first in (8, 16):
        for row in range(first + 6, first + 8):
            faces.embeddings[row] = face_of(faces.embeddings[first], 4000 + row, 0.1)
    library, keys = Library(tmp_path / "library"), cache.face_keys(faces)
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    assert command(library, "consolidate", "2", "3") == 0
    hers, stranger = set(keys[8:16]), set(keys[16:24])
    assert keys_in(library, "faceset_002") == hers | stranger
    shown = [item["file"] for item in library.record("faceset_002").faces if item["face"] in stranger]
    assert len(shown) < 8 and len(library.record("faceset_002").left_out) >= 4
    assert command(library, verb, "2", *shown) == 0
    assert keys_in(library, "faceset_002") == hers
    assert set(library.manifest().not_this["faceset_002"]) == stranger
    if verb == "split":
        assert keys_in(library, "faceset_004") == stranger


def test_one_picture_of_hers_takes_none_of_her_faces_without_a_picture_along(template, tmp_path) -> None:
    place, like = template
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "library")
    faces = replace(like, embeddings=like.embeddings.copy())
    for row in range(14, 16):
        faces.embeddings[row] = face_of(faces.embeddings[8], 4000 + row, 0.1)
    library = Library(tmp_path / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    shown = {item["face"]: item["file"] for item in library.record("faceset_002").faces}
    first, hidden = cache.face_keys(faces)[8], set(cache.face_keys(faces)[14:16])
    assert first in shown and not hidden & set(shown)
    change(library, lambda run: edit.not_this(run, "2", [shown[first]], OPTIONS))
    assert library.manifest().not_this["faceset_002"] == [first]


def test_a_split_that_leaves_nothing_changes_nothing(shelf) -> None:
    library, _ = shelf
    before = contents(library.root)
    assert command(library, "split", "2", *(f"{number:04d}.png" for number in range(1, 9))) == 64
    assert contents(library.root) == before


def test_a_thin_group_becomes_a_faceset_with_the_next_number(shelf) -> None:
    library, faces = shelf
    keys = cache.face_keys(faces)[24::3]
    thin = proposal.Proposal("r2", "test", "2099-01-01T00:00:00Z", {}, (), thin=(proposal.Group(
        tuple(map(proposal.Face, keys)), proposed_name="Dora"),))
    proposal.write(library.root.parent / "work" / "refine.json", thin)
    change(library, lambda run: edit.promote_thin(run, keys[1], [thin], Index([faces]), OPTIONS))
    assert keys_in(library, "faceset_004") == set(keys)
    library.undo()
    change(library, lambda run: swap.carry_out(run, thin, [faces], OPTIONS))
    folder = library.manifest().thin_eras[0].folder
    assert folder.startswith("_thin/thin_")
    change(library, lambda run: edit.promote_thin(run, folder, [], Index([faces]), OPTIONS))
    manifest = library.manifest()
    assert not manifest.thin_eras and not (library.root / folder).exists()
    assert [(entry.folder, entry.proposed_name) for entry in manifest.facesets[3:]] == [("faceset_005", "Dora")]
    assert command(library, "promote", "_thin/nothing") == 64


def test_a_person_who_is_forgotten_is_in_no_verdict(shelf) -> None:
    library, _ = shelf
    for words in (("two-people", "1", "2"), ("two-people", "2", "3"), ("reviewed", "1", "2")):
        assert command(library, *words) == 0
    assert command(library, "forget", "1", "--yes") == 0
    manifest = library.manifest()
    assert manifest.two_people == [["faceset_002", "faceset_003"]] and list(manifest.reviewed) == ["faceset_002"]


def test_a_library_without_verdicts_is_read_as_before(shelf) -> None:
    library, _ = shelf
    path = library.root / "manifest.json"
    value = json.loads(path.read_text())
    del value["reviewed"], value["two_people"]
    path.write_text(json.dumps(value))
    assert (library.manifest().reviewed, library.manifest().two_people) == ({}, [])
    value["two_people"] = [["faceset_001"]]
    path.write_text(json.dumps(value))
    assert command(library, "name", "1", "Ada") == 1
