"""forget takes everything of one person, nothing of another, and what a kill leaves the same command ends."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import full
import numpy as np
import pytest
from drawn import OPTIONS, command, face_of, library_photos, person, proposal_of
from killing import killed

from facesets.cluster import seen
from facesets.common import files
from facesets.export import swap
from facesets.export.run import changing
from facesets.formats import cache, proposal
from facesets.library.store import Library
from facesets.operations import consolidate, edit


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people: 1 was merged into 2 and 2 into 3, which has eras; 4 is somebody else. All that clustering leaves."""
    place = tmp_path_factory.mktemp("template")
    faces = library_photos(place / "photos", [1, 2, 3, 4], 8, together=3)
    rows = [person(3) if who < 4 else person(4) for who in (1, 2, 3, 4) for _ in range(8)]
    faces.embeddings[:32] = [face_of(row, 10_000 + number) for number, row in enumerate(rows)]
    faces.embeddings[32:] = [face_of(person(4 if number % 4 == 3 else 3), 20_000 + number) for number in range(12)]
    cache.write(place / "here" / "work" / "cache" / "immich_anna.npz", faces)
    library = Library(place / "here" / "library")
    swap.export(library, proposal_of(faces), [faces], OPTIONS)
    with changing(library, "test") as run:
        for into, other in (("2", "1"), ("3", "2")):
            consolidate.merge(run, into, [other], OPTIONS)
        edit.name(run, "3", "Anna")
    assert command(library, "split-eras", "3", "--era-years", "1", "--min-faces", "3") == 0
    hers = set(library.canonical()[0].face_keys)
    assert command(library, "not-this", "4", min(hers)) == 0
    assert command(library, "cluster") == 0
    work = place / "here" / "work"
    (work / "immich" / "anna").mkdir(parents=True)
    shutil.copy(work / "refine.json", work / "immich" / "anna" / "refine.json")
    made = proposal.read(work / "refine.json")
    seen.remember(work / "immich" / "anna" / "clustered.json", seen.NOTHING, made, cache.face_keys(faces), False)
    files.write_json(work / "immich" / "anna" / "summary.json", {"schema": 1, "requests": 3, "who_is_there": {
        "sentence": "1 face", "people": [{"faceset": "faceset_003", "name": "Anna", "faces": 1, "years": []}]}})
    parts = work / "cache" / "immich_anna.npz.parts"        # and a run that was stopped
    cache.write(parts / "000001.npz", faces)
    shutil.copytree(library.root / "faceset_003", library.root / "faceset_009")      # by hand, to be on the safe side
    return place / "here"


@pytest.fixture
def library(template: Path, tmp_path: Path) -> Library:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Library(tmp_path / "library")


def traces(library: Library, keys: set[str], name: str) -> list[str]:
    """Files below the library and the data root in which she still is."""
    found = []
    for root in (library.root, library.root.parent / "work"):
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            data = path.read_bytes()
            held = set(cache.face_keys(cache.read(path))) if path.suffix == ".npz" else set()
            if keys & held or name.encode() in data or any(key.encode() in data for key in keys):
                found.append(str(path))
    return found


def of_person(faces: cache.Cache, who: int) -> set[str]:
    near = 1 - faces.embeddings @ person(who) < 0.45
    return {key for key, is_near in zip(cache.face_keys(faces), near, strict=True) if is_near}


def whole(library: Library) -> cache.Cache:
    return cache.read(library.root.parent / "work" / "cache" / "immich_anna.npz")


def test_everything_that_was_ever_merged_into_her_goes_and_her_eras_and_copies(library: Library, capsys) -> None:
    faces = whole(library)
    hers, others = of_person(faces, 3), of_person(faces, 4)
    assert len(hers) == 33 and len(others) == 11 and traces(library, hers, "Anna")
    capsys.readouterr()
    assert command(library, "forget", "Anna", "--json") == 0        # her eras are called so too: still one person
    told = json.loads(capsys.readouterr().out)
    assert {"_merged/faceset_001", "_merged/faceset_002", "faceset_003", "faceset_009"} <= set(told["folders"])
    assert told["dry_run"] and len(library.canonical()) >= 2
    assert command(library, "forget", "Anna", "--yes") == 0
    assert traces(library, hers, "Anna") == []
    assert set(cache.face_keys(whole(library))) == others and len(whole(library).photos) == len(faces.photos)
    assert [item.number for item in library.canonical()] == [4] and library.manifest().not_this == {}
    assert [path.parent.name for path in library.root.rglob("faces.npz")] == ["faceset_004"]


@pytest.mark.parametrize("text", ["1", "_merged/faceset_002", "faceset_003"])
def test_she_is_meant_by_any_folder_that_was_ever_hers(library: Library, text: str) -> None:
    hers = of_person(whole(library), 3)
    assert command(library, "forget", text, "--yes") == 0
    assert traces(library, hers, "Anna") == []


def test_she_goes_out_of_the_caches_of_other_models_too(library: Library) -> None:
    """Whose embeddings say nothing, and whose detector drew other boxes."""
    faces = whole(library)
    hers = of_person(faces, 3)
    other = replace(faces, model=replace(faces.model, sha256="5" * 64), faces=faces.faces.copy(),
                    embeddings=faces.embeddings[::-1])
    other.faces["box"] += (-9, 4, 6, 8)
    path = library.root.parent / "work" / "calibrate" / "zoo.npz"
    cache.write(path, other)
    assert command(library, "forget", "Anna", "--yes") == 0
    left = {cache.face_key(key[:64], np.array(key[65:].split(","), float) + np.array([-9, 4, 6, 8]))
            for key in set(cache.face_keys(faces)) - hers}
    assert set(cache.face_keys(cache.read(path))) == left and len(left) == 11


def test_a_face_that_looks_like_nobody_goes_where_immich_calls_it_her(library: Library) -> None:
    """One of somebody else's faceset stays, though Immich has it under her name."""
    faces = whole(library)
    keys = cache.face_keys(faces)
    hers, others = of_person(faces, 3), of_person(faces, 4)
    more = library_photos(library.root.parent / "more", [7, 8], 1, "anna")
    both = replace(more, persons=[cache.Person("id-of-anna", "Anna K"), cache.Person("id-of-bert", "Bert")])
    cache.write(library.root.parent / "work" / "cache" / "immich_bert.npz", both)
    wrong = next(key for key in library.canonical()[-1].face_keys if key in others)
    named = [cache.Person("id-of-anna", "Anna K") if key in hers or key == wrong else cache.Person() for key in keys]
    cache.write(library.root.parent / "work" / "cache" / "immich_anna.npz", replace(faces, persons=named))
    assert command(library, "forget", "Anna", "--yes") == 0
    left = cache.read(library.root.parent / "work" / "cache" / "immich_bert.npz")
    assert [person.name for person in left.persons] == ["Bert"]
    assert set(cache.face_keys(whole(library))) == others


def test_two_people_of_one_name_are_not_guessed_at(library: Library) -> None:
    assert command(library, "name", "4", "Anna") == 0
    assert command(library, "forget", "Anna", "--yes") == 64 and len(library.canonical()) >= 2


def test_who_is_nearer_to_somebody_else_stays(library: Library) -> None:
    """4 becomes a look-alike of 3: some faces of hers in the cache are near both, and nearer to her."""
    middle = person(3) + 0.9 * person(5)
    middle /= np.linalg.norm(middle)
    more = library_photos(library.root.parent / "more", [5], 12, "anna")
    more.embeddings[:] = [face_of(middle, 500 + number, 0.5) for number in range(12)]
    path = library.root.parent / "work" / "cache" / "immich_bert.npz"
    few = replace(more, photos=more.photos[:8], faces=more.faces[:8], embeddings=more.embeddings[:8],
                  norms=more.norms[:8], persons=more.persons[:8])
    cache.write(path, more)
    assert swap.export(library, proposal_of(few, "20260103-000000-more"), [few], OPTIONS).counts["new"] == 1
    hers = np.array([item.centroid for item in library.canonical() if item.folder == "faceset_003"])
    assert (1 - more.embeddings[8:] @ hers.T).max() < 0.45          # so near that they would have gone
    assert command(library, "forget", "Anna", "--yes") == 0
    assert len(cache.read(path).faces) == 12


@pytest.mark.parametrize("lock", ["work/cache/immich_anna.npz.lock", "work/cluster.lock", "library/.review.lock"])
def test_a_run_that_could_bring_her_back_is_waited_for(library: Library, lock: str, capsys) -> None:
    hers = of_person(whole(library), 3)
    before = traces(library, hers, "Anna")
    with files.only_one(library.root.parent / lock, "a long run"):
        assert command(library, "forget", "Anna", "--yes") == 2
        assert "a long run" in capsys.readouterr().err
        assert traces(library, hers, "Anna") == before
        assert command(library, "forget", "Anna") == 0       # only telling is possible
    assert command(library, "forget", "Anna", "--yes") == 0 and traces(library, hers, "Anna") == []


def test_killed_at_any_step_the_same_command_ends_it(library: Library, tmp_path: Path, capsys) -> None:
    hers, others = of_person(whole(library), 3), of_person(whole(library), 4)
    kills, at = 0, 1
    while True:
        trial = tmp_path / "trial"
        shutil.copytree(library.root.parent, trial, ignore=shutil.ignore_patterns("trial"))
        one = Library(trial / "library")
        if not killed(lambda one=one: command(one, "forget", "Anna", "--yes"), at):
            break
        kills += 1
        capsys.readouterr()
        assert command(one, "status") == 0
        assert ("the same command ends it" in capsys.readouterr().out) == (one.root / ".forgetting.json").exists()
        status = command(one, "forget", "Anna", "--yes")
        assert traces(one, hers, "Anna") == [], f"killed at step {at}"
        assert status == 0 or (status == 64 and not one.manifest().entry("faceset_003"))    # told already
        assert set(cache.face_keys(whole(one))) == others
        shutil.rmtree(trial)
        at += 23
    assert kills > 5 and not (one.root / ".undo").exists() and not (one.root / ".forgetting.json").exists()


def test_she_goes_out_of_what_a_first_run_that_was_stopped_left_and_a_review(library: Library) -> None:
    hers = of_person(whole(library), 3)
    cache.write(library.root.parent / "work" / "cache" / "immich_bert.npz.parts" / "000001.npz", whole(library))
    (library.root / ".review.jsonl").write_text(json.dumps({"do": "name", "name": "Anna", "faces": sorted(hers)}))
    assert command(library, "forget", "Anna", "--yes") == 0 and traces(library, hers, "Anna") == []


def test_she_goes_out_of_the_lists_that_earlier_versions_kept_in_the_folders_of_others(library: Library) -> None:
    hers, path = of_person(whole(library), 3), library.root / "faceset_004" / "manifest.json"
    value = files.read_json(path)
    files.write_json(path, {**value, "not_this": sorted(hers)[:2]})
    assert command(library, "forget", "Anna", "--yes") == 0
    assert traces(library, hers, "Anna") == [] and files.read_json(path) == value


def test_what_was_begun_for_one_person_takes_no_face_when_another_is_forgotten(library: Library, capsys) -> None:
    damaged = library.root.parent / "work" / "immich" / "anna" / "refine.json"
    sound = damaged.read_bytes()
    damaged.write_text("{")
    assert command(library, "forget", "Anna", "--yes") == 1 and (library.root / ".forgetting.json").exists()
    damaged.write_bytes(sound)
    before = whole(library)
    assert command(library, "forget", "4", "--yes") == 1
    assert "faceset_003 was cut short" in capsys.readouterr().err and len(whole(library).faces) == len(before.faces)
    (library.root / ".forgetting.json").unlink()
    assert command(library, "forget", "4", "--yes") == 0
    assert set(cache.face_keys(whole(library))) == of_person(before, 3)


@pytest.mark.parametrize("verb", [("cluster",), ("extend",), ("enrich",), ("export-swap",),
                                  ("this-is", "4", "0001.png"), ("promote", "thin_1")])
def test_what_takes_faces_out_of_the_caches_waits_for_a_forget(library: Library, verb: tuple[str, ...]) -> None:
    with files.only_one(library.root.parent / "work" / "cluster.lock", "sort_faces.py forget"):
        assert command(library, *verb) == 2


def test_a_full_disk_pauses_it(library: Library) -> None:
    hers = of_person(whole(library), 3)
    with full.disk(1000):
        assert command(library, "forget", "Anna", "--yes") == 2
    assert command(library, "forget", "Anna", "--yes") == 0 and traces(library, hers, "Anna") == []


@pytest.fixture
def written(library: Library) -> Path:
    """Where sidecars, and a folder for each of two people, were written to for other programs."""
    out = library.root.parent / "out"
    assert command(library, "export-training", "--for", "folders", "--out", str(out / "people")) == 0
    assert command(library, "export-regions", "--out", str(out / "sidecars")) == 0
    assert list((out / "people" / "Anna").glob("*.png")) and "Anna" in named(out)
    return out


def named(out: Path) -> str:
    return "".join(path.read_text() for path in out.rglob("*.xmp"))


def test_what_other_programs_were_given_of_her_goes_too(library: Library, written: Path, capsys) -> None:
    (written / "people" / "faceset_004" / "mine.txt").write_text("mine")
    others = {path: path.read_bytes() for path in (written / "people" / "faceset_004").iterdir()}
    assert command(library, "forget", "Anna") == 0 and "Anna" in named(written)     # only told
    assert command(library, "forget", "Anna", "--yes") == 0
    told = capsys.readouterr().err
    assert str(written / "people" / "Anna") in told and "export-training again renews it" in told
    assert not (written / "people" / "Anna").exists() and not named(written)
    assert {path: path.read_bytes() for path in (written / "people" / "faceset_004").iterdir()} == others
    assert traces(library, set(), "Anna") == []
    assert command(library, "export-regions", "--out", str(written / "sidecars")) == 0 and not named(written)


def test_what_a_person_put_beside_it_stays_and_is_told_and_so_is_what_is_not_there(
        library: Library, written: Path, capsys) -> None:
    mine, changed = written / "people" / "Anna" / "mine.png", next((written / "sidecars").rglob("*.xmp"))
    mine.write_bytes(b"mine")
    changed.write_text("changed by digiKam")
    assert command(library, "export-training", "Anna", "--for", "folders", "--out", str(written / "usb" / "disk")) == 0
    (written / "usb").rename(written / "unplugged")
    assert command(library, "export-training", "Anna", "--for", "folders", "--out", str(written / "moved")) == 0
    (written / "moved" / "Anna").rename(written / "elsewhere")
    assert command(library, "forget", "Anna", "--yes") == 0
    told = capsys.readouterr().err
    assert [path.name for path in mine.parent.iterdir()] == ["mine.png"] and f"{mine.parent}: " in told
    assert changed.read_text() == "changed by digiKam" and told.count("what you changed or put there stays") == 2
    assert f"{written / 'usb' / 'disk' / 'Anna'} is not there now" in told
    assert f"{written / 'moved' / 'Anna'} is not there now" in told


def test_a_folder_that_she_had_under_an_earlier_name_goes_too(library: Library, written: Path) -> None:
    assert command(library, "name", "Anna", "Berta") == 0
    assert command(library, "forget", "Berta", "--yes") == 0
    assert not (written / "people" / "Anna").exists() and not named(written)


def test_a_persons_own_folders_stay_and_so_does_what_a_record_that_was_led_astray_names(
        library: Library, written: Path) -> None:
    home = library.root.parent / "home"
    for place in (written / "people" / "Anna", home):
        (place / "mine" / ".git" / "refs" / "heads").mkdir(parents=True)    # a repository must have it, though empty
        (place / ".pending").mkdir()
    record = files.read_json(library.root / ".outside.json")
    record["folders"] += [[str(home), "faceset_003"], [str(written / "people" / ".." / ".." / "home"), "faceset_003"],
                          ["/", "faceset_003"]]
    files.write_json(library.root / ".outside.json", record)
    assert command(library, "forget", "Anna", "--yes") == 0 and traces(library, set(), "Anna") == []
    for place in (written / "people" / "Anna", home):
        assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*")) == [
            ".pending", "mine", "mine/.git", "mine/.git/refs", "mine/.git/refs/heads"]


def test_a_folder_that_was_moved_to_another_disk_and_linked_is_emptied_and_the_forget_ends(
        library: Library, written: Path) -> None:
    disk = library.root.parent / "disk"
    (written / "people" / "Anna").rename(disk)
    (written / "people" / "Anna").symlink_to(disk)
    assert command(library, "forget", "Anna", "--yes") == 0 and not list(disk.iterdir())


def test_a_folder_is_of_whoever_has_the_name_by_now_and_none_of_an_earlier_name_stays(
        library: Library, written: Path) -> None:
    people = written / "people"
    (people / "Anna" / "mine.txt").write_text("mine")
    assert command(library, "name", "Anna", "Berta") == 0 and command(library, "name", "4", "Anna") == 0
    assert command(library, "export-training", "--for", "folders", "--out", str(people)) == 0
    assert sorted(path.name for path in people.iterdir()) == ["Anna", "Berta"]
    shown = {path: path.read_bytes() for path in (people / "Anna").glob("*.png")}
    first = library.root / "faceset_004" / "0001.png"
    assert len(shown) > 5 and first.read_bytes() in shown.values()
    assert command(library, "forget", "Berta", "--yes") == 0
    assert shown == {path: path.read_bytes() for path in (people / "Anna").glob("*.png")}
    assert not list((people / "Berta").glob("*.png")) and (people / "Berta" / "mine.txt").exists()


def test_a_folder_that_was_removed_by_hand_is_of_whoever_has_the_name_by_now(library: Library, written: Path) -> None:
    people = written / "people"
    shutil.rmtree(people / "Anna")
    assert command(library, "name", "Anna", "Berta") == 0 and command(library, "name", "4", "Anna") == 0
    for who in ("Anna", "Berta"):
        assert command(library, "export-training", who, "--for", "folders", "--out", str(people)) == 0
    shown = {path: path.read_bytes() for path in (people / "Anna").glob("*.png")}
    assert len(shown) > 5
    assert command(library, "forget", "Berta", "--yes") == 0
    assert shown == {path: path.read_bytes() for path in (people / "Anna").glob("*.png")}
