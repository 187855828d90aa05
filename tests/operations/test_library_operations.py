"""The operations of sort_faces.py on a library of drawn people, as functions and through the command line."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn import MODEL, OPTIONS, change, command, contents, face_of, library_photos, person, proposal_of
from hypothesis import given, settings
from hypothesis import strategies as st
from killing import killed, steps
from PIL import Image

import config
import sort_faces
from facesets.common import files
from facesets.common.errors import UsageError
from facesets.export import swap
from facesets.export.run import changing
from facesets.formats import cache, proposal
from facesets.formats.faceset import read_faces
from facesets.library import folder as folders
from facesets.library import journal
from facesets.library.members import pick
from facesets.library.store import Library
from facesets.operations import consolidate, edit, eras, own, upkeep
from facesets.operations.verbs import Job


def test_a_name_is_kept_by_everything_that_follows(shelf) -> None:
    library, faces = shelf
    assert command(library, "name", "faceset_002", "Frau\x1b[31m B.") == 0
    assert (library.root / "faceset_002" / "NAME.txt").read_text() == "Frau\ufffd[31m B.\n"
    keys = cache.face_keys(faces)[25:33:3]
    grown = replace(proposal_of(faces), facesets=(), extend={"faceset_002": tuple(map(proposal.Face, keys))})
    swap.export(library, grown, [faces], OPTIONS)
    assert library.canonical()[1].name == "Frau\ufffd[31m B." and library.manifest().facesets[1].name.startswith("Frau")


def test_candidates_are_exported_only_where_they_are_asked_for_and_known_faces_by_extend(shelf, capsys) -> None:
    library, faces = shelf
    work, keys = library.root.parent / "work", cache.face_keys(faces)
    proposal.write(work / "refine.json", replace(
        proposal_of(faces), facesets=(), caches=(str(work / "cache" / "immich_anna.npz"),),
        thin=(proposal.Group(tuple(map(proposal.Face, keys[24:33:3]))),),
        extend={"faceset_002": (proposal.Face(keys[25]),)}))
    for words, expected in (((), []), (("--candidates",), ["_thin"])):
        capsys.readouterr()
        assert command(library, "export-swap", "--dry-run", "--json", *words) == 0
        assert [folder[:5] for folder in json.loads(capsys.readouterr().out)["facesets"]] == expected


def test_a_name_that_is_only_proposed_is_in_no_file_of_a_persons(shelf) -> None:
    library, _ = shelf
    assert not list(library.root.glob("*/NAME.txt"))
    assert [(entry.name, entry.proposed_name) for entry in library.manifest().facesets] == [
        ("", "p001"), ("", "p002"), ("", "p003")]
    assert command(library, "name", "1", "Ada") == 0
    (library.root / "faceset_001" / "NAME.txt").unlink()        # by hand: she has no name any more
    assert library.canonical()[0].name == "" and command(library, "not-this", "1", "0001.png") == 0
    assert library.manifest().facesets[0].name == "" and library.record("faceset_001").name == ""


@pytest.mark.parametrize("new", [
    "\u0646\u200c\u062f\u0627", "\U0001f468\u200d\U0001f469\u200d\U0001f467 Berger", "Zo\u00eb \U0001fae9",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f Mac"])
def test_a_name_may_be_joined_as_its_script_and_emoji_are(shelf, new) -> None:
    library, _ = shelf
    assert command(library, "name", "1", new) == 0
    assert (library.root / "faceset_001" / "NAME.txt").read_text() == new + "\n" and library.canonical()[0].name == new
    assert edit.find(library.manifest(), new).folder == "faceset_001"


def test_a_name_typed_in_notepad_is_read_without_its_mark(shelf) -> None:
    library, _ = shelf
    (library.root / "faceset_003" / "NAME.txt").write_bytes("\ufeffCleo \x1b[2J\r\n".encode())
    assert library.canonical()[2].name == "Cleo \ufffd[2J"


def test_a_merge_keeps_the_name_that_was_given_and_confirms_no_proposal(shelf) -> None:
    library, _ = shelf
    assert command(library, "split-eras", "1", "--era-years", "1", "--min-faces", "3") == 0
    assert command(library, "name", "2", "Bea") == 0
    assert command(library, "consolidate", "1", "2") == 0
    assert [item.name for item in library.canonical()] == ["Bea", ""]
    eras_now = [*library.manifest().eras, *library.manifest().thin_eras]
    assert eras_now and all((library.root / entry.folder / "NAME.txt").read_text() == "Bea\n" for entry in eras_now)
    assert command(library, "undo") == 0 and [item.name for item in library.canonical()] == ["", "Bea", ""]


def test_a_proposal_that_changes_names_nobody(shelf) -> None:
    library, faces = shelf
    for name in ("Bea", "Cleo"):
        richer = replace(faces, persons=[cache.Person("x", name) if 8 <= row < 16 else cache.Person()
                                         for row in range(len(faces.faces))])
        cache.write(library.root.parent / "work" / "cache" / "immich_anna.npz", richer)
        assert command(library, "enrich") == 0
    assert (library.record("faceset_002").proposed_name, library.canonical()[1].name) == ("Cleo", "")


def test_a_library_of_the_version_that_wrote_proposals_into_name_txt_is_brought_up_once(shelf) -> None:
    library, _ = shelf
    assert command(library, "name", "1", "Ada") == 0
    (library.root / "faceset_003" / "NAME.txt").write_text("Cleo\n")
    proposed = library.root / "faceset_002" / "NAME.txt"
    proposed.write_text("p002\n")              # as that version did, and remembered it
    old = library.record("faceset_002")
    old.files["NAME.txt"] = files.sha256_of(proposed)
    folders.write_record(library.root / "faceset_002" / "manifest.json", old)
    manifest = library.root / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema": 2', '"schema": 1', 1))
    assert [item.name for item in library.canonical()] == ["Ada", "", "Cleo"]
    assert not proposed.exists() and '"schema": 2' in manifest.read_text()
    proposed.write_text("p002\n")              # from now on it is a person who wrote it
    assert [item.name for item in library.canonical()] == ["Ada", "p002", "Cleo"]


@pytest.mark.parametrize("text", ["faceset_002", "2", "p002", "P002"])
def test_a_faceset_is_found_by_folder_number_or_name(shelf, text) -> None:
    assert edit.find(shelf[0].manifest(), text).folder == "faceset_002"


def test_a_name_written_into_the_folder_by_hand_is_the_name(shelf) -> None:
    library, _ = shelf
    (library.root / "faceset_003" / "NAME.txt").write_text("Cleo\nfrom the office\n")
    assert edit.find(library.manifest(), "cleo").folder == "faceset_003"
    assert command(library, "not-this", "Cleo", "0001.png") == 0
    assert library.record("faceset_003").name == "Cleo" == library.manifest().facesets[2].name
    assert (library.root / "faceset_003" / "NAME.txt").read_text() == "Cleo\nfrom the office\n"


def test_a_faceset_that_nobody_has_heard_of_is_a_usage_error(shelf) -> None:
    library, _ = shelf
    assert command(library, "name", "faceset_009", "X") == 64
    assert command(library, "drop", "nobody") == 64
    with pytest.raises(UsageError, match="2 facesets"):
        for folder in ("faceset_001", "faceset_002"):
            change(library, lambda run, folder=folder: edit.name(run, folder, "Twin"))
        edit.find(library.manifest(), "twin")


def test_a_wrong_face_goes_and_stays_away(shelf) -> None:
    library, faces = shelf
    wrong = library.record("faceset_001").faces[1]
    assert command(library, "not-this", "faceset_001", "0002.png") == 0
    after = library.record("faceset_001")
    assert wrong["face"] not in json.dumps([after.faces, after.left_out])
    assert library.manifest().not_this == {"faceset_001": [wrong["face"]]}
    assert wrong["face"] not in library.canonical()[0].face_keys
    assert wrong["face"] in library.canonical()[0].not_this
    again = replace(proposal_of(faces), facesets=(), extend={"faceset_001": (proposal.Face(wrong["face"]),)})
    assert swap.export(library, again, [faces], OPTIONS).facesets == []
    assert command(library, "cluster") == 0
    proposed = proposal.read(library.root.parent / "work" / "refine.json").extend["faceset_001"]
    assert len(proposed) == 3 and wrong["face"] not in {face.face for face in proposed}
    assert command(library, "not-this", "faceset_001", "no-such-photo.jpg") == 64


def test_the_last_wrong_face_takes_the_faceset_aside(shelf) -> None:
    library, _ = shelf
    pictures = [item["file"] for item in library.record("faceset_003").faces]
    assert command(library, "not-this", "3", *pictures) == 0
    assert [entry.folder for entry in library.manifest().dropped] == ["_dropped/faceset_003"]
    assert library.facesets("dropped") == []          # whose faces they are, clustering is to find out
    (library.root.parent / "work" / "refine.json").unlink(missing_ok=True)
    assert command(library, "cluster", "--min-faces", "4") == 0
    made = proposal.read(library.root.parent / "work" / "refine.json")
    assert len(made.facesets) == 1 and len(made.facesets[0].faces) >= 8


def test_dropped_people_are_set_aside_with_everything_and_known_to_clustering(shelf) -> None:
    library, _ = shelf
    (library.root / "faceset_001" / "notes.txt").write_text("postman")
    assert command(library, "drop", "1", "faceset_002") == 0
    assert (library.root / "_dropped" / "faceset_001" / "notes.txt").read_text() == "postman"
    assert [item.number for item in library.canonical()] == [3]
    assert [item.number for item in library.facesets("dropped")] == [1, 2]
    assert command(library, "cluster") == 0
    made = proposal.read(library.root.parent / "work" / "refine.json")
    assert not made.facesets
    grown = swap.export(library, replace(made, thin=()), [shelf[1]], OPTIONS)
    assert grown.facesets == ["faceset_003"] and grown.counts["of_dropped_people"] == 6
    library.undo()
    assert command(library, "undo") == 0 and len(library.canonical()) == 3


def test_several_operations_are_one_run_and_one_undo(shelf) -> None:
    library, _ = shelf
    before = contents(library.root)

    def all_of_it(run) -> None:
        edit.name(run, "faceset_001", "Ada")
        edit.not_this(run, "Ada", ["0001.png", "0002.png"], OPTIONS)
        edit.not_this(run, "Ada", ["0001.png"], OPTIONS)
        consolidate.merge(run, "faceset_002", ["faceset_003"], OPTIONS)
        edit.drop(run, "faceset_002")
        edit.name(run, "Ada", "Ada L.")
    change(library, all_of_it)
    assert [item.folder for item in library.canonical()] == ["faceset_001"] and library.canonical()[0].name == "Ada L."
    assert len(library.record("faceset_001").faces) == 5 and len(library.manifest().not_this["faceset_001"]) == 3
    assert (library.root / "_merged" / "faceset_003" / "0001.png").exists()
    assert (library.root / "_dropped" / "faceset_002" / "0001.png").exists()
    library.undo()
    assert contents(library.root) == before


def test_refine_takes_up_deleted_pictures_and_undo_brings_the_rest_back(shelf) -> None:
    library, _ = shelf
    (library.root / "faceset_001" / "0004.png").unlink()
    before = contents(library.root)
    assert command(library, "refine") == 0
    after = library.record("faceset_001")
    assert len(after.faces) == 7 and [item["file"] for item in after.faces][-1] == "0007.png"
    assert command(library, "refine") == 0      # nothing is left to do, so there is no further run
    assert len(library.manifest().runs) == 2
    library.undo()
    assert contents(library.root) == before


def test_a_face_in_two_facesets_stays_in_the_nearer_one(shelf) -> None:
    library, faces = shelf
    keys = cache.face_keys(faces)[25:28:3]      # of person 2
    for folder in ("faceset_001", "faceset_002"):
        def put(run, folder=folder) -> None:
            old, contents_ = swap.drafts.existing(run, folder)
            both = swap.without_twins(contents_.faces, swap.Index([faces]).pick(keys))
            swap.finish(run, [swap.drafts.plan(run, old, both, replace(OPTIONS, outlier_distance=2.0))], OPTIONS)
        change(library, put)
    assert all(keys[0] in item.face_keys for item in library.canonical()[:2])
    summary = change(library, lambda run: upkeep.dedup(run, [], replace(OPTIONS, outlier_distance=2.0)))
    assert keys[0] not in library.canonical()[0].face_keys and keys[0] in library.canonical()[1].face_keys
    assert summary.counts["double_faces"] == 1


def test_enrich_learns_names_and_dates_and_writes_missing_files_again(shelf) -> None:
    library, faces = shelf
    (library.root / "faceset_002" / "faceset_002_top8.fsz").unlink()
    richer = replace(faces, persons=[cache.Person("x", "Bea") if 8 <= row < 16 else cache.Person()
                                     for row in range(len(faces.faces))],
                     photos=[replace(photo, taken_at="1999-01-01T00:00:00") for photo in faces.photos])
    cache.write(library.root.parent / "work" / "cache" / "immich_anna.npz", richer)
    assert command(library, "enrich") == 0
    after = library.record("faceset_002")
    assert after.names == {"Bea": 8} and after.proposed_name == "Bea" and after.eras == {"1999": 8}
    assert (library.root / "faceset_002" / "faceset_002_top8.fsz").exists()
    runs = len(library.manifest().runs)
    assert command(library, "enrich") == 0 and len(library.manifest().runs) == runs


def test_consolidate_proposes_and_merges_when_asked(shelf, capsys) -> None:
    library, _ = shelf
    assert command(library, "split-eras", "2") == 0      # the eras of the one that is given up go with it
    half = library_photos(library.root.parent / "more", [1], 7, "bert")
    other = replace(half, embeddings=np.array([face_of(person(1), 5000 + n) for n in range(7)]),
                    photos=[replace(photo, sha256=f"{n:064x}") for n, photo in enumerate(half.photos)])
    swap.export(library, proposal_of(other, "20260103-000000-more"), [other], OPTIONS)
    capsys.readouterr()
    assert command(library, "consolidate", "--json") == 0
    found = json.loads(capsys.readouterr().out)["proposed"]
    assert [pair["facesets"] for pair in found] == [["faceset_001", "faceset_004"]] and not found[0]["against"]
    assert len(library.canonical()) == 4
    assert command(library, "consolidate", "--apply") == 0
    assert [item.number for item in library.canonical()] == [1, 2, 3]
    assert len(library.record("faceset_001").faces) == 15
    assert library.manifest().merged[0].into == "faceset_001"


def test_two_names_or_common_photos_speak_against_one_person(shelf) -> None:
    library, faces = shelf
    for folder, new in (("faceset_001", "Ada"), ("faceset_002", "Bea")):
        change(library, lambda run, folder=folder, new=new: edit.name(run, folder, new))
    found = consolidate.propose(library, 2.0)
    assert len(found) == 1 and found[0].against.startswith("two names")
    together = [proposal.Face(key) for key in cache.face_keys(faces)[24:]]
    grown = replace(proposal_of(faces), facesets=(), extend={
        f"faceset_00{who + 1}": tuple(together[who::3]) for who in range(3)})
    swap.export(library, grown, [faces], OPTIONS)
    change(library, lambda run: [edit.name(run, f"faceset_00{n}", "Same") for n in (1, 2, 3)] and None)
    assert "3 photos show both" in consolidate.propose(library, 2.0)[0].against


def test_complete_linkage_does_not_chain() -> None:
    apart = np.array([[0, 0.3, 0.6], [0.3, 0, 0.3], [0.6, 0.3, 0]])
    assert [len(group) for group in consolidate.complete_linkage(apart, 0.4)] == [2]
    assert consolidate.complete_linkage(apart, 0.7) == [[0, 1, 2]]


def test_eras_become_folders_beside_the_faceset_and_follow_it(shelf) -> None:
    library, _ = shelf
    for path in ("faceset_001",):
        before = contents(library.root / path)
    assert command(library, "split-eras", "1", "--era-years", "1", "--min-faces", "3") == 0
    manifest = library.manifest()
    eras_now = [entry.folder for entry in (*manifest.eras, *manifest.thin_eras)]
    assert len(eras_now) >= 2 and all("faceset_001_20" in folder for folder in eras_now)
    assert contents(library.root / "faceset_001") == before
    assert len(library.canonical()) == 3
    for folder in eras_now:
        years = set(library.record(folder).eras)
        first, last = folder.rsplit("_", 2)[1:]
        assert min(years) == first and max(years) == last and int(last) - int(first) <= 2
    pictures = [path.read_bytes() for folder in eras_now for path in (library.root / folder).glob("*.png")]
    assert len(pictures) == 8 and set(pictures) == {data for name, data in before.items() if name.endswith(".png")}
    assert command(library, "name", "1", "Ada") == 0
    assert all((library.root / folder / "NAME.txt").read_text() == "Ada\n" for folder in eras_now)
    assert command(library, "drop", "1") == 0
    assert not library.manifest().eras and (library.root / "_dropped" / "faceset_001").exists()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1990, 2025), st.integers(1, 2)), min_size=1, max_size=30), st.integers(1, 8))
def test_an_era_spans_no_more_than_its_anchor_reaches(items: list[tuple[int, int]], apart: int) -> None:
    rows = np.array([face_of(person(who), number) for number, (_, who) in enumerate(items)])
    years = np.array([year for year, _ in items])
    labels = eras.split(rows, years, 0.40, apart)
    found = [years[labels == era] for era in range(labels.max() + 1)]
    assert all(len(era) and era.max() - era.min() <= 2 * apart for era in found)
    assert [era.min() for era in found] == sorted(era.min() for era in found)


def test_faces_of_another_recogniser_are_not_even_compared(shelf, capsys) -> None:
    """Here of a quarter of the dimension, so that four centroids would look like one."""
    library, faces = shelf
    model = replace(MODEL, sha256="5" * 64, dimension=128)
    rows = np.ascontiguousarray(faces.embeddings[:, :128])
    path = library.root.parent / "other.npz"
    cache.write(path, replace(faces, model=model, embeddings=rows / np.linalg.norm(rows, axis=1, keepdims=True)))
    for verb in (("cluster",), ("extend",)):
        assert command(library, *verb, "--cache", str(path)) == 1
        assert "embed with the same --model" in capsys.readouterr().err


def test_a_date_of_digits_that_are_none_is_no_date(tmp_path) -> None:
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif.get_ifd(0x8769)[36867] = "1112:07:14 12:00:00"
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    assert own.taken_at(path) == ""     # nobody took photos then
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"1112:", "²¹¹²:".encode("latin-1")))
    assert [entry.taken_at for entry in own.queue([tmp_path]).entries] == [""]
    path.write_bytes(whole.replace(b"1112:07:14 12:00:00", b"2012:07:14 12:00:00"))
    assert own.taken_at(path) == "2012-07-14T12:00:00"
    path.write_bytes(whole.replace(b"1112:07:14 12:00:00", "2012:07:14 ¹²:³¹:¹¹".encode("latin-1")))
    assert own.taken_at(path) == "2012-07-14T00:00:00"


def test_a_pipe_among_ones_own_photos_is_not_waited_for(tmp_path, capsys) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "b.jpg")
    os.mkfifo(tmp_path / "a.jpg")
    assert [entry.path for entry in own.queue([tmp_path]).entries] == [str(tmp_path / "b.jpg")]
    assert "a.jpg cannot be read: is no regular file" in capsys.readouterr().err


def test_a_file_where_a_folder_is_needed_leaves_the_library_as_it_was(shelf, capsys) -> None:
    library, _ = shelf
    before = contents(library.root)
    (library.root / "_dropped").write_text("a note")
    assert command(library, "drop", "2") == 1 and "_dropped is in the way" in capsys.readouterr().err
    assert contents(library.root) == {**before, "_dropped": b"a note"}
    assert command(library, "name", "1", "Ada") == 0


def test_a_folder_of_ones_own_that_cannot_be_read_is_told(tmp_path, capsys) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.jpg")
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(18):         # deeper than a path can be long
        os.mkdir("d" * 240, dir_fd=place)
        deeper = os.open("d" * 240, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = deeper
    os.close(place)
    assert [entry.path for entry in own.queue([tmp_path]).entries] == [str(tmp_path / "a.jpg")]
    assert "cannot be read: File name too long" in capsys.readouterr().err


def test_pictures_that_we_wrote_are_no_photos_of_a_folder_around_them(shelf, tmp_path) -> None:
    library, _ = shelf
    shutil.copytree(library.root, tmp_path / "all" / "library")
    assert command(library, "export-training", "--for", "folders", "--out", str(tmp_path / "all" / "out")) == 0
    (tmp_path / "all" / "mine").mkdir()
    shutil.copy(next((library.root / "faceset_001").glob("*.png")), tmp_path / "all" / "mine" / "a.png")
    assert list((tmp_path / "all" / "out").rglob("*.png"))
    assert [entry.path for entry in own.queue([tmp_path / "all"]).entries] == [str(tmp_path / "all" / "mine" / "a.png")]


def test_what_is_for_other_programs_is_not_written_into_the_library(shelf, capsys) -> None:
    library, _ = shelf
    before = contents(library.root)
    assert command(library, "export-training", "--for", "folders", "--out", str(library.root)) == 64
    assert command(library, "export-regions", "--out", str(library.root / "faceset_001")) == 64
    assert command(library, "export-regions", "--out", "") == 64 and "--out is empty" in capsys.readouterr().err
    assert contents(library.root) == before


def test_a_huge_photo_of_ones_own_is_listed_without_a_warning(tmp_path) -> None:
    Image.new("1", (12000, 9000)).save(tmp_path / "a.png")
    script = ("import sys, pathlib; from facesets.operations import own; "
              "print(own.queue([pathlib.Path(sys.argv[1])]).entries)")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=Path(sort_faces.__file__).parent,
                          capture_output=True, text=True, check=False)
    assert "a.png" in done.stdout and done.stderr == ""


def test_why_tells_every_stage_of_a_face(shelf, capsys) -> None:
    library, faces = shelf
    assert command(library, "not-this", "1", "0001.png") == 0
    assert command(library, "cluster") == 0
    capsys.readouterr()
    assert command(library, "why", faces.photos[0].path) == 0
    told = capsys.readouterr().out
    assert ("quality" in told and "picture" in told) or "somebody else" in told
    assert command(library, "why", "faceset_002/0001.png", "--json") == 0
    lines = json.loads(capsys.readouterr().out)
    assert {line["stage"] for line in lines} >= {"embed", "faceset"}
    assert command(library, "why", "never-seen.jpg") == 64


def test_forget_removes_every_trace_and_says_what(shelf, capsys) -> None:
    library, faces = shelf
    place = library.root.parent
    assert command(library, "cluster") == 0 and command(library, "name", "1", "Ada") == 0
    gone = set(library.canonical()[0].face_keys)
    vector = library.canonical()[0].centroid
    capsys.readouterr()
    assert command(library, "forget", "Ada", "--json") == 0
    assert json.loads(capsys.readouterr().out)["dry_run"] and len(library.canonical()) == 3
    assert command(library, "forget", "Ada", "--yes", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folders"] == ["faceset_001"] and sum(told["faces"].values()) == 11
    left = cache.read(place / "work" / "cache" / "immich_anna.npz")
    assert not gone & set(cache.face_keys(left)) and (1 - left.embeddings @ vector).min() > 0.6
    assert len(left.photos) == len(faces.photos)        # so nothing is embedded again
    everything = b"".join(path.read_bytes() for root in (library.root, place / "work") for path in root.rglob("*")
                          if path.is_file())
    assert b"Ada" not in everything and not any(key.encode() in everything for key in gone)
    assert [item.number for item in library.canonical()] == [2, 3] and not journal.history(library.root)
    assert command(library, "undo") == 1


def test_status_is_one_screen_and_says_what_to_run(shelf, capsys) -> None:
    library, _ = shelf
    folder = library.root.parent / "work" / "immich" / "anna"
    folder.mkdir(parents=True)
    assert command(library, "status") == 0
    told = capsys.readouterr().out
    assert "python immich_stage.py --user anna" in told
    assert "3 facesets (3 that nobody has looked at, 3 without a name), 24 pictures of 24 faces" in told
    (library.root.parent / "work" / "cache" / "broken.npz").write_bytes(b"no cache")
    assert command(library, "status", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["library"]["facesets"] == 3 and any("broken" in problem for problem in value["problems"])


def test_merge_on_the_command_line(shelf, capsys) -> None:
    library, _ = shelf
    place = library.root.parent / "work" / "cache"
    more = library_photos(library.root.parent / "more", [5], 3, "bert")
    cache.write(place / "immich_bert.npz", more)
    words = ("merge", str(place / "immich_anna.npz"), str(place / "immich_bert.npz"), str(place / "nl_full.npz"))
    assert command(library, *words, "--dry-run") == 0 and not (place / "nl_full.npz").exists()
    assert command(library, *words) == 0
    assert len(cache.read(place / "nl_full.npz").photos) == 30
    capsys.readouterr()
    assert command(library, *words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["new"] == 0


@pytest.mark.parametrize("words", [
    ("name", "1", "Ada"), ("drop", "1"), ("not-this", "1", "0001.png"), ("split-eras", "1", "--min-faces", "1"),
    ("consolidate", "1", "2"), ("refine",), ("dedup",), ("enrich",), ("undo",), ("extend",), ("forget", "1", "--yes")])
def test_a_dry_run_changes_nothing(shelf, words) -> None:
    library, _ = shelf
    (library.root / "faceset_003" / "0002.png").unlink()        # something to do for refine
    before = contents(library.root)
    assert command(library, *words, "--dry-run") == 0
    assert contents(library.root) == before and not (library.root / ".pending").exists()


def test_a_second_command_at_the_same_time_is_refused(shelf) -> None:
    library, _ = shelf
    with Library(library.root).locked("another"):
        assert command(library, "drop", "1") == 2


def test_looking_is_possible_while_a_run_makes_pictures(shelf) -> None:
    library, _ = shelf
    with changing(Library(library.root), "another") as run:
        run.write("faceset_009/0001.png").write_bytes(b"in the making")
        assert command(library, "status") == 0 and len(library.canonical()) == 3
        assert run.exists("faceset_009/0001.png")


def test_what_a_killed_run_left_is_cleared_by_the_next_command(shelf) -> None:
    library, _ = shelf
    before = contents(library.root)
    (library.root / ".pending" / "000007-export-swap" / "pictures").mkdir(parents=True)
    (library.root / ".pending" / "000007-export-swap" / "pictures" / "face.png").write_bytes(b"a face")
    assert command(library, "status") == 0
    assert not (library.root / ".pending").exists() and contents(library.root) == before


@pytest.mark.parametrize("words", [("not-this", "1", "0003.png"), ("undo",), ("drop", "1")])
def test_a_command_that_was_killed_and_is_typed_again_acts_once(shelf, tmp_path, capfd, words) -> None:
    """Killed at a few steps up to the last; where it was told nothing, typed again, as a stop says."""
    library, _ = shelf
    for number in ("1", "2"):
        assert command(library, "not-this", number, "0001.png") == 0

    def copy(name: object) -> Library:
        place = tmp_path.parent / f"{tmp_path.name}-{name}"
        shutil.copytree(library.root.parent, place)
        return Library(place / "library")

    def seen(trial: Library) -> tuple[object, ...]:
        pictures = {name: data for name, data in contents(trial.root).items() if name != "manifest.json"}
        return pictures, [run["verb"] for run in trial.manifest().runs], len(journal.history(trial.root))
    whole, counted, outcomes = copy("whole"), copy("counted"), set()
    count = steps(lambda: command(counted, *words))
    assert command(whole, *words) == 0
    for at in (*range(max(1, count - 40), count, 5), count):
        trial = copy(at)
        capfd.readouterr()
        assert killed(lambda trial=trial: command(trial, *words), at)
        said = capfd.readouterr().err
        told = any(word in said for word in ("changed: ", "is taken back"))
        outcomes.add(told)
        assert told or command(trial, *words) == 0
        with trial.locked("the next command"):
            journal.acknowledge(trial.root)
        assert seen(trial) == seen(whole), f"killed at step {at} of {count}"
    assert outcomes == {True, False}


def test_a_command_that_is_killed_while_it_hears_that_it_is_done_is_done_the_third_time(shelf, tmp_path, capfd) -> None:
    library, _ = shelf
    words = ("consolidate", "1", "2")

    def copy(name: object) -> Library:
        place = tmp_path.parent / f"{tmp_path.name}-{name}"
        shutil.copytree(library.root.parent, place)
        return Library(place / "library")

    def told() -> str:
        return capfd.readouterr().err
    counted = copy("counted")
    last = steps(lambda: command(counted, *words))      # it is told by then, and moves the change to what can be undone
    done = next(at for at in range(last, 0, -1) for trial in [copy(f"kill{at}")]
                if told() is not None and killed(lambda trial=trial: command(trial, *words), at)
                and "changed: " not in told())
    heard = copy("heard")
    assert killed(lambda: command(heard, *words), done)
    once = steps(lambda: command(heard, *words))
    assert once > 1
    for again in range(1, once + 1):
        trial = copy(f"again{again}")
        assert killed(lambda trial=trial: command(trial, *words), done)
        assert told() is not None and killed(lambda trial=trial: command(trial, *words), again)
        assert "nothing else was changed now" in told() or command(trial, *words) == 0, f"step {again}"
        assert len(trial.canonical()) == 2


def test_a_folder_removed_by_hand_is_no_faceset_any_more(shelf) -> None:
    library, _ = shelf
    shutil.rmtree(library.root / "faceset_002")
    assert [item.number for item in library.canonical()] == [1, 3]
    assert command(library, "refine") == 0 and command(library, "status") == 0
    assert command(library, "forget", "2", "--yes") == 1        # what is in the caches is hers or not, nobody knows
    assert not library.manifest().entry("faceset_002")
    shutil.rmtree(library.root / "faceset_003")
    assert command(library, "drop", "3") == 0 and not library.manifest().entry("faceset_003")


def test_a_copy_made_by_hand_is_nobody_and_tears_no_face(shelf, capsys) -> None:
    library, _ = shelf
    shutil.copytree(library.root / "faceset_001", library.root / "faceset_009")
    assert [item.number for item in library.canonical()] == [1, 2, 3]
    assert command(library, "cluster") == 0
    made = proposal.read(library.root.parent / "work" / "refine.json")
    assert not made.ambiguous and len(made.extend["faceset_001"]) == 3
    capsys.readouterr()
    assert command(library, "status") == 0 and "faceset_009: a copy" in capsys.readouterr().out
    change(library, lambda run: edit.name(run, "1", "Ada"))
    assert library.manifest().next_number == 10         # its number is not used again all the same


def test_what_a_person_moves_in_the_file_manager_is_where_it_lies(shelf) -> None:
    library, _ = shelf
    wrong = library.record("faceset_001").faces[0]["face"]
    assert command(library, "not-this", "1", "0001.png") == 0 and command(library, "drop", "1") == 0
    (library.root / "_dropped" / "faceset_001").rename(library.root / "faceset_001")        # and back
    (library.root / "faceset_002").rename(library.root / "_dropped" / "faceset_002")
    assert [item.folder for item in library.canonical()] == ["faceset_001", "faceset_003"]
    assert [item.folder for item in library.facesets("dropped")] == ["_dropped/faceset_002"]
    assert wrong in library.canonical()[0].not_this
    assert command(library, "name", "1", "Ada") == 0 and command(library, "not-this", "Ada", "0001.png") == 0
    assert library.record("faceset_001").folder == "faceset_001" and len(library.record("faceset_001").faces) == 6
    assert [entry.folder for entry in library.manifest().dropped] == ["_dropped/faceset_002"]


def test_a_faceset_out_of_a_backup_is_one_again(shelf) -> None:
    library, _ = shelf
    shutil.copytree(library.root / "faceset_002", library.root.parent / "backup")
    assert command(library, "forget", "2", "--yes") == 0 and len(library.canonical()) == 2
    shutil.copytree(library.root.parent / "backup", library.root / "faceset_002")
    assert [item.number for item in library.canonical()] == [1, 2, 3]
    assert command(library, "name", "2", "Bea") == 0 and library.manifest().facesets[1].members == 8


def test_a_command_whose_photos_cannot_be_read_now_is_not_done(shelf) -> None:
    library, _ = shelf
    args = sort_faces.parse_args(["extend", "--library", str(library.root)])
    job = Job(args, lambda section: config.load(getattr(config, section), args), str)
    assert job.change(lambda run: run.count("new")) == 0
    assert job.change(lambda run: run.waiting.append("a face")) == 2


def test_undo_says_before_what_would_come_back(shelf, capsys) -> None:
    library, _ = shelf
    assert command(library, "not-this", "2", "0001.png") == 0 and command(library, "consolidate", "1", "3") == 0
    capsys.readouterr()
    assert command(library, "undo", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "would_take_back": ["consolidate"], "as_before": ["faceset_001", "visomaster_embeddings.json"],
        "comes_back": ["faceset_003"], "goes": [], "runs_before_it": ["not-this", "export-swap"],
        "unsaid": []}
    assert command(library, "undo") == 0 and command(library, "undo") == 0
    assert command(library, "undo", "--dry-run") == 0
    assert "goes: faceset_001, faceset_002, faceset_003" in capsys.readouterr().err
    for words in (("two-people", "1", "2"), ("reviewed", "1", "2")):
        assert command(library, *words) == 0 and command(library, "undo", "--dry-run") == 0
        assert "unsaid: faceset_001, faceset_002" in capsys.readouterr().err


@pytest.mark.parametrize("words, meant", [(("stauts",), "status"), (("name", "adda", "X"), "Ada"),
                                          (("drop", "faceset_01"), "faceset_001")])
def test_a_slip_of_the_pen_is_answered_with_what_may_be_meant(shelf, capsys, words, meant) -> None:
    library, _ = shelf
    assert command(library, "name", "1", "Ada") == 0
    assert command(library, *words) == 64 and f"did you mean {meant}?" in capsys.readouterr().err


def test_picked_rows_of_a_faceset_read_back(shelf) -> None:
    library, _ = shelf
    contents_ = read_faces(library.root / "faceset_001" / "faces.npz")
    assert list(contents_.rank) == list(range(1, 9))
    assert cache.face_keys(pick(contents_.faces, [3])) == [contents_.keys[3]]


def test_the_shell_completes_verbs_and_flags(tmp_path) -> None:
    checkout = Path(__file__).resolve().parents[2]
    made = subprocess.run([sys.executable, checkout / "sort_faces.py", "--completion", "bash"], capture_output=True,
                          text=True, check=True)
    (tmp_path / "completion").write_text(made.stdout)
    asked = """shopt -s expand_aliases; source "$1"; alias faces
               COMP_WORDS=(faces revi); COMP_CWORD=1; _shtab_faces faces revi faces; echo "${COMPREPLY[@]}"
               COMP_WORDS=(faces review --no); COMP_CWORD=2; _shtab_faces faces --no review; echo "${COMPREPLY[@]}" """
    told = subprocess.run(["bash", "-c", asked, "bash", tmp_path / "completion"], capture_output=True, text=True)
    assert str(checkout / "sort_faces.py") in told.stdout and not told.stderr
    assert set(told.stdout.splitlines()[1].split()) == {"review", "reviewed"} and "--no-open" in told.stdout
