"""A change of the library happens whole or not at all, whatever kills it, and can be taken back exactly."""

import os
import random
from pathlib import Path

import pytest
from drawn import contents
from killing import killed

from facesets.common.errors import Failure, Paused
from facesets.library import journal
from facesets.library.change import Change
from facesets.library.store import Library, Manifest, write_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A library of two folders, and one of a person's own files in the first."""
    root = tmp_path / "library"
    for folder in ("faceset_001", "faceset_002"):
        (root / folder).mkdir(parents=True)
        for name in ("0001.png", "0002.png", "manifest.json"):
            (root / folder / name).write_text(f"{folder} {name}")
    (root / "faceset_001" / "notes.txt").write_text("mine")
    write_manifest(root / "manifest.json", Manifest(next_number=3))
    return root


def change_much(root: Path) -> None:
    """Replace, swap, remove, add a file; add a folder; move a folder that has a new file; a new manifest."""
    change = Change(root, "000001-much", "much")
    change.write("faceset_001/0001.png").write_text("faceset_001 0002.png")
    change.write("faceset_001/0002.png").write_text("faceset_001 0001.png")
    change.write("faceset_001/0003.png").write_text("new")
    change.remove("faceset_001/manifest.json")
    change.write("faceset_003/0001.png").write_text("third")
    change.move("faceset_002", "_dropped/faceset_002")
    change.write("_dropped/faceset_002/manifest.json").write_text("dropped")
    write_manifest(change.write("manifest.json"), Manifest(next_number=4))
    change.commit()


AFTER = {"faceset_001/0001.png": b"faceset_001 0002.png", "faceset_001/0002.png": b"faceset_001 0001.png",
         "faceset_001/0003.png": b"new", "faceset_001/notes.txt": b"mine", "faceset_003/0001.png": b"third",
         "_dropped/faceset_002/0001.png": b"faceset_002 0001.png",
         "_dropped/faceset_002/0002.png": b"faceset_002 0002.png", "_dropped/faceset_002/manifest.json": b"dropped"}


def seen(root: Path) -> dict[str, bytes]:
    found = contents(root)
    found.pop("manifest.json", None)
    return found


def test_a_change_is_what_was_asked_for(root: Path) -> None:
    change_much(root)
    assert seen(root) == AFTER
    assert not (root / ".pending").exists()


def test_killed_at_every_step_the_library_is_the_one_before_or_the_one_after(root: Path, tmp_path: Path) -> None:
    before, outcomes, at = contents(root), set(), 0
    while True:
        at += 1
        trial = tmp_path / f"trial{at}"
        journal.shutil.copytree(root, trial)
        if not killed(lambda trial=trial: change_much(trial), at):
            break
        journal.recover(trial)
        now = seen(trial)
        assert now == AFTER or contents(trial) == before, f"killed at step {at}"
        outcomes.add(now == AFTER)
        assert not (trial / ".pending").exists() and not list(trial.rglob("*.tmp"))
    assert at > 20 and outcomes == {True, False}


def test_killed_while_it_recovers_it_recovers_all_the_same(root: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    for number in range(int(os.environ.get("TRUST_ROUNDS", "15"))):
        trial = tmp_path / f"trial{number}"
        journal.shutil.copytree(root, trial)
        killed(lambda trial=trial: change_much(trial), chance.randrange(12, 40))
        for _ in range(5):
            killed(lambda trial=trial: journal.recover(trial), chance.randrange(1, 12))
        journal.recover(trial)
        assert seen(trial) in (AFTER, seen(root))
        assert not journal.unfinished(trial)


def test_undo_gives_back_every_byte(root: Path) -> None:
    before = contents(root)
    change_much(root)
    assert journal.undo(root) == ("much", [])
    assert contents(root) == before
    assert sorted(path.name for path in root.iterdir()) == ["faceset_001", "faceset_002", "manifest.json"]


def test_an_undo_killed_at_every_step_is_carried_to_its_end_or_has_not_begun(root: Path, tmp_path: Path) -> None:
    before, outcomes, at = contents(root), set(), 0
    change_much(root)
    while True:
        at += 1
        trial = tmp_path / f"trial{at}"
        journal.shutil.copytree(root, trial)
        if not killed(lambda trial=trial: journal.undo(trial), at):
            break
        journal.recover(trial)
        assert contents(trial) == before or seen(trial) == AFTER, f"killed at step {at}"
        outcomes.add(contents(trial) == before)
    assert at > 10 and outcomes == {True, False}


def test_undo_keeps_what_a_person_put_into_the_new_folder(root: Path) -> None:
    change_much(root)
    (root / "faceset_003" / "letter.txt").write_text("dear")
    (root / "faceset_001" / "0003.png").write_text("painted over")
    (root / "_dropped" / "faceset_002" / "remark.txt").write_text("why dropped")
    _, kept = journal.undo(root)
    assert {(root / path).read_text() for path in kept} >= {"dear", "painted over"}
    assert (root / "faceset_002" / "remark.txt").read_text() == "why dropped"


def test_runs_are_taken_back_one_after_the_other(root: Path) -> None:
    states = []
    for number in range(1, 4):
        states.append(contents(root))
        change = Change(root, f"{number:06d}-write", "write")
        change.write("faceset_001/0001.png").write_text(f"state {number}")
        change.commit()
    for state in reversed(states):
        journal.undo(root)
        assert contents(root) == state
    with pytest.raises(Failure, match="no run to take back"):
        journal.undo(root)


def test_only_the_last_runs_can_be_taken_back(root: Path) -> None:
    for number in range(1, journal.KEEP + 4):
        change = Change(root, f"{number:06d}-write", "write")
        change.write("faceset_001/0001.png").write_text(str(number))
        change.commit()
    assert journal.history(root)[0].name[:6] == "000004"
    assert len(journal.history(root)) == journal.KEEP


def test_a_final_change_leaves_nothing_to_take_back(root: Path) -> None:
    change_much(root)
    change = Change(root, "000002-forget", "forget")
    change.final = True
    change.remove("faceset_001")
    change.commit()
    assert not (root / "faceset_001").exists() and not (root / ".undo").exists() and not (root / ".pending").exists()


def test_what_is_in_the_way_is_moved_aside(root: Path) -> None:
    change = Change(root, "000001-add", "add")
    change.write("faceset_003/0001.png").write_text("ours")
    plan = change._plan()
    (root / "faceset_003").mkdir()
    (root / "faceset_003" / "mine.txt").write_text("theirs")
    journal.begin(root, change.folder, plan)
    assert (root / "faceset_003" / "0001.png").read_text() == "ours"
    assert (root / "faceset_003.kept1" / "mine.txt").read_text() == "theirs"


def test_a_later_operation_of_a_change_sees_the_earlier_ones(root: Path) -> None:
    change = Change(root, "000001-two", "two")
    change.write("faceset_001/0001.png").write_text("first")
    assert change.current("faceset_001/0001.png").read_text() == "first"
    change.remove("faceset_001/0002.png")
    assert change.names("faceset_001") == ["0001.png", "manifest.json", "notes.txt"]
    change.move("faceset_001", "_dropped/faceset_001")
    assert not change.exists("faceset_001/0001.png")
    assert change.current("_dropped/faceset_001/0001.png").read_text() == "first"
    assert change.current("_dropped/faceset_001/notes.txt").read_text() == "mine"
    change.move("_dropped/faceset_001", "faceset_001")
    change.commit()
    assert seen(root)["faceset_001/0001.png"] == b"first" and "faceset_001/0002.png" not in seen(root)
    journal.undo(root)
    assert seen(root)["faceset_001/0001.png"] == b"faceset_001 0001.png"


def test_an_abandoned_change_leaves_no_trace(root: Path) -> None:
    before = contents(root)
    change = Change(root, "000001-no", "no")
    change.write("faceset_001/0001.png").write_text("no")
    change.abandon()
    assert contents(root) == before and not (root / ".pending").exists()


def test_the_second_writer_is_refused_and_told_who_is_at_work(root: Path) -> None:
    with (Library(root).locked("sort_faces.py name"), pytest.raises(Paused, match=r"sort_faces\.py name"),
          Library(root).locked("sort_faces.py drop")):
        pass


def test_a_reader_ends_what_a_kill_left(root: Path) -> None:
    assert killed(lambda: change_much(root), 24)
    assert journal.unfinished(root)
    assert Library(root).manifest().next_number in (3, 4)
    assert not journal.unfinished(root)
