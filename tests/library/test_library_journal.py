"""A change of the library happens whole or not at all, whatever kills it or refuses, and can be taken back exactly."""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from drawn import contents
from killing import killed, refused

from facesets.common.errors import AlreadyDone, Failure, Paused
from facesets.library import journal
from facesets.library.run import Run, changing
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


def commit(run: Run) -> None:
    run.commit()
    journal.acknowledge(run.root)


def undo(root: Path) -> tuple[str, list[str]]:
    undone = journal.undo(root)
    journal.acknowledge(root)
    return undone


def change_much(root: Path) -> None:
    """Replace, swap, remove, add a file; add a folder; move a folder that has a new file; a new manifest."""
    run = Run(Library(root), "much")
    run.write("faceset_001/0001.png").write_text("faceset_001 0002.png")
    run.write("faceset_001/0002.png").write_text("faceset_001 0001.png")
    run.write("faceset_001/0003.png").write_text("new")
    run.remove("faceset_001/manifest.json")
    run.write("faceset_003/0001.png").write_text("third")
    run.move("faceset_002", "_dropped/faceset_002")
    run.write("_dropped/faceset_002/manifest.json").write_text("dropped")
    run.new_number()
    commit(run)


AFTER = {"faceset_001/0001.png": b"faceset_001 0002.png", "faceset_001/0002.png": b"faceset_001 0001.png",
         "faceset_001/0003.png": b"new", "faceset_001/notes.txt": b"mine", "faceset_003/0001.png": b"third",
         "_dropped/faceset_002/0001.png": b"faceset_002 0001.png",
         "_dropped/faceset_002/0002.png": b"faceset_002 0002.png", "_dropped/faceset_002/manifest.json": b"dropped"}


def seen(root: Path) -> dict[str, bytes]:
    return seen_without_manifest(contents(root))


def seen_without_manifest(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if name != "manifest.json"}


def test_a_change_is_what_was_asked_for(root: Path) -> None:
    change_much(root)
    assert seen(root) == AFTER
    assert not (root / ".pending").exists()


def test_killed_at_every_step_the_library_is_the_one_before_or_the_one_after(root: Path, tmp_path: Path) -> None:
    before, outcomes, at = contents(root), set(), 0
    while True:
        at += 1
        trial = tmp_path / f"trial{at}"
        shutil.copytree(root, trial)
        if not killed(lambda trial=trial: change_much(trial), at):
            break
        journal.recover(trial)
        journal.acknowledge(trial)
        now = seen(trial)
        assert now == AFTER or contents(trial) == before, f"killed at step {at}"
        outcomes.add(now == AFTER)
        assert not (trial / ".pending").exists() and not list(trial.rglob("*.tmp"))
    assert at > 20 and outcomes == {True, False}


def test_killed_while_it_recovers_it_recovers_all_the_same(root: Path, tmp_path: Path) -> None:
    chance = random.Random(1)
    for number in range(int(os.environ.get("TRUST_ROUNDS", "15"))):
        trial = tmp_path / f"trial{number}"
        shutil.copytree(root, trial)
        killed(lambda trial=trial: change_much(trial), chance.randrange(12, 40))
        for _ in range(5):
            killed(lambda trial=trial: journal.recover(trial), chance.randrange(1, 12))
        journal.recover(trial)
        assert seen(trial) in (AFTER, seen(root))
        assert not journal.unfinished(trial)


@pytest.mark.parametrize("onwards", [False, True])
@pytest.mark.parametrize("act, after", [(change_much, AFTER), (undo, None)], ids=["change", "undo"])
def test_refused_at_every_step_it_is_whole_and_what_is_said_is_true(root, tmp_path, act, after, onwards) -> None:
    """An OSError means that nothing changed; a Failure that the next command ends it, once the system lets it."""
    before, ends, at = contents(root), set(), 0
    if act == undo:
        change_much(root)
        before, after = contents(root), seen_without_manifest(before)
    while True:
        at += 1
        trial = tmp_path / f"trial{at}"
        shutil.copytree(root, trial)
        struck, _, told = refused(lambda trial=trial: act(trial), at, onwards).partition(" ")
        if struck == "free":
            break
        if told.startswith(("OSError", "PermissionError")):
            assert contents(trial) == before, f"step {at}: {told}"
        elif told.startswith("Failure"):
            assert "half changed" in told
        else:
            assert told == "done" and seen(trial) == after, f"step {at}: {told}"
        ends.add(told.split(" ")[0])
        journal.recover(trial)
        assert contents(trial) == before or seen(trial) == after, f"step {at}: {told}"
        assert not journal.unfinished(trial)
    assert at > 8 and ends & {"PermissionError", "OSError"}


@pytest.mark.parametrize("disk", ["the same", "another"])
def test_a_faceset_that_is_a_link_is_refused_and_blocks_no_other(root: Path, tmp_path: Path, disk: str) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if disk == "another" else root.parent) as elsewhere:
        shutil.move(root / "faceset_001", Path(elsewhere) / "mine")
        (root / "faceset_001").symlink_to(Path(elsewhere) / "mine")
        before = contents(root)
        with pytest.raises(Failure, match=r"faceset_001 is a link .* nothing was changed"):
            change_much(root)
        journal.recover(root)
        assert contents(root) == before
        run = Run(Library(root), "write")
        run.write("faceset_002/0001.png").write_text("free")
        commit(run)
        assert (root / "faceset_002" / "0001.png").read_text() == "free"
        undo(root)
        assert contents(root) == before


def test_a_quarantine_on_another_disk_is_refused_before_anything_moves(root: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        if os.stat(elsewhere).st_dev == root.stat().st_dev:
            pytest.skip("there is one disk only")
        (root / "_dropped").symlink_to(elsewhere)
        before = contents(root)
        with pytest.raises(Failure, match=r"_dropped .* nothing was changed"):
            change_much(root)
        journal.recover(root)
        assert contents(root) == before


def test_a_folder_that_may_not_be_written_is_refused_before_anything_moves(root: Path) -> None:
    (root / "faceset_002").chmod(0o555)
    before = contents(root)
    if os.access(root / "faceset_002", os.W_OK):
        pytest.skip("the superuser may write everything")
    with pytest.raises(Failure, match="chmod"):
        change_much(root)
    assert contents(root) == before


def test_what_a_person_does_while_a_change_is_made_is_in_it(root: Path) -> None:
    run = Run(Library(root), "late")
    run.write("faceset_001/0001.png").write_text("ours")
    (root / "faceset_001" / "late.txt").write_text("late")
    for name in ("0001.png", "0002.png"):       # saved anew, as editors do
        (root / "faceset_001" / "new").write_text(f"painted {name}")
        os.replace(root / "faceset_001" / "new", root / "faceset_001" / name)
    commit(run)
    now = {name: data.decode() for name, data in seen(root).items() if name.startswith("faceset_001")}
    assert now["faceset_001/late.txt"] == "late" and now["faceset_001/0001.png"] == "ours"
    assert now["faceset_001/0001.png.kept1"] == "painted 0001.png" and now["faceset_001/0002.png"] == "painted 0002.png"


def test_undo_keeps_what_a_person_did_in_a_folder_that_was_there(root: Path) -> None:
    (root / "faceset_001" / "sub").mkdir()
    (root / "faceset_001" / "sub" / "deep.txt").write_text("deep")
    (root / "faceset_001" / "photos").symlink_to("/nowhere")
    run = Run(Library(root), "one")
    run.write("faceset_001/0001.png").write_text("ours")
    run.remove("faceset_001/manifest.json")
    commit(run)
    assert (root / "faceset_001" / "sub" / "deep.txt").read_text() == "deep"
    assert os.readlink(root / "faceset_001" / "photos") == "/nowhere"
    (root / "faceset_001" / "added.txt").write_text("added")
    (root / "faceset_001" / "notes.txt").unlink()
    (root / "faceset_001" / "new").write_text("painted")
    os.replace(root / "faceset_001" / "new", root / "faceset_001" / "0002.png")
    (root / "faceset_001" / "manifest.json").write_text("a person's")
    _, kept = undo(root)
    now = {name.removeprefix("faceset_001/"): data.decode() for name, data in seen(root).items()
           if name.startswith("faceset_001/")}
    assert now == {"0001.png": "faceset_001 0001.png", "0002.png": "painted", "added.txt": "added",
                   "manifest.json": "faceset_001 manifest.json", "sub/deep.txt": "deep"}
    assert os.readlink(root / "faceset_001" / "photos") == "/nowhere"
    assert [(root / path).read_text() for path in kept] == ["a person's"]


def test_what_an_undo_kept_is_not_written_over_by_the_next_one(root) -> None:
    kept = []
    for words in ("painted", "painted again"):
        run = Run(Library(root), "grow")
        run.write("faceset_001/0003.png").write_text("new")
        commit(run)
        (root / "faceset_001" / "0003.png").write_text(words)
        kept += undo(root)[1]
    assert [(root / path).read_text() for path in kept] == ["painted", "painted again"]


def heard(root: Path) -> None:
    with open(root / ".heard", "a"):
        pass


def append(root: Path) -> None:
    """A command that adds a mark, so that one sees how often it acted."""
    with changing(Library(root), "append", command="append", tell=lambda _: heard(root)) as run:
        lines = run.current("faceset_001/notes.txt").read_text()
        run.write("faceset_001/notes.txt").write_text(lines + "!")
        run.touch("faceset_001")


def repeated(act: Callable[[], object]) -> None:
    """The same command again, after somebody has looked at the library."""
    try:
        act()
    except AlreadyDone as done:
        assert "carried to its end" in str(done)


def test_a_command_that_was_killed_and_is_repeated_acts_once(root: Path, tmp_path: Path) -> None:
    at, outcomes = 0, set()
    while True:
        at += 1
        trial = tmp_path / f"trial{at}"
        shutil.copytree(root, trial)
        if not killed(lambda trial=trial: append(trial), at):
            break
        if at % 2:
            Library(trial).manifest()
        if not (trial / ".heard").exists():     # it was told nothing, so it is typed again
            repeated(lambda trial=trial: append(trial))
        assert (trial / "faceset_001" / "notes.txt").read_text() == "mine!", f"killed at step {at}"
        outcomes.add((trial / ".heard").exists())
    assert at > 20 and outcomes == {True, False}


def test_an_undo_that_was_killed_and_is_repeated_takes_one_run_back(root: Path, tmp_path: Path) -> None:
    for _ in range(3):
        append(root)
    (root / ".heard").unlink()
    at, outcomes = 0, set()
    while True:
        at += 1
        trial = tmp_path / f"trial{at}"
        shutil.copytree(root, trial)
        if not killed(lambda trial=trial: Library(trial).undo(lambda verb, kept: heard(trial)), at):
            break
        if at % 2:
            Library(trial).manifest()
        if not (trial / ".heard").exists():
            repeated(Library(trial).undo)
        assert (trial / "faceset_001" / "notes.txt").read_text() == "mine!!", f"killed at step {at}"
        outcomes.add((trial / ".heard").exists())
    assert at > 20 and outcomes == {True, False}


def test_another_command_than_the_one_that_was_killed_does_its_work(root: Path, tmp_path: Path) -> None:
    append(root)
    for at in range(1, 60):
        trial = tmp_path / f"trial{at}"
        shutil.copytree(root, trial)
        if not killed(lambda trial=trial: append(trial), at):
            break
        with changing(Library(trial), "other", command="other", dry_run=True):
            pass        # a dry run leaves what the repeat has to know
        Library(trial).undo()
        assert (trial / "faceset_001" / "notes.txt").read_text() in ("mine", "mine!")
        assert journal.history(trial) == [] or (trial / "faceset_001" / "notes.txt").read_text() == "mine!"
    assert at > 20


def test_a_run_of_journal_1_stays_and_is_told_in_one_line_and_later_runs_are_taken_back(root: Path) -> None:
    folder = root / ".undo" / "000001-export-swap"
    (folder / "old").mkdir(parents=True)
    (folder / "phase").write_text("done")
    (folder / "plan.json").write_text(json.dumps(
        {"schema": 1, "verb": "export-swap", "takes": [["faceset_001", "old/000000"]], "puts": [], "files": {}}))
    before = contents(root)
    with pytest.raises(Failure, match="another version"):
        Library(root).undo()
    assert contents(root) == before
    change_much(root)
    Library(root).undo()
    assert contents(root) == before


def test_undo_gives_back_every_byte(root: Path) -> None:
    before = contents(root)
    change_much(root)
    assert undo(root) == ("much", [])
    assert contents(root) == before
    assert sorted(path.name for path in root.iterdir()) == ["faceset_001", "faceset_002", "manifest.json"]


def test_an_undo_killed_at_every_step_is_carried_to_its_end_or_has_not_begun(root: Path, tmp_path: Path) -> None:
    before, outcomes, at = contents(root), set(), 0
    change_much(root)
    while True:
        at += 1
        trial = tmp_path / f"trial{at}"
        shutil.copytree(root, trial)
        if not killed(lambda trial=trial: undo(trial), at):
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
    _, kept = undo(root)
    assert {(root / path).read_text() for path in kept} >= {"dear", "painted over"}
    assert (root / "faceset_002" / "remark.txt").read_text() == "why dropped"


def test_runs_are_taken_back_one_after_the_other(root: Path) -> None:
    states = []
    for number in range(1, 4):
        states.append(contents(root))
        run = Run(Library(root), "write")
        run.write("faceset_001/0001.png").write_text(f"state {number}")
        commit(run)
    for state in reversed(states):
        undo(root)
        assert contents(root) == state
    with pytest.raises(Failure, match="no run to take back"):
        undo(root)


def test_only_the_last_runs_can_be_taken_back(root: Path) -> None:
    for number in range(1, journal.KEEP + 4):
        run = Run(Library(root), "write")
        run.write("faceset_001/0001.png").write_text(str(number))
        commit(run)
    assert journal.history(root)[0].name[:6] == "000004"
    assert len(journal.history(root)) == journal.KEEP


def test_a_final_change_leaves_nothing_to_take_back(root: Path) -> None:
    change_much(root)
    run = Run(Library(root), "forget")
    run.final = True
    run.remove("faceset_001")
    commit(run)
    assert not (root / "faceset_001").exists() and not (root / ".undo").exists() and not (root / ".pending").exists()


def test_what_is_in_the_way_is_moved_aside(root: Path) -> None:
    run = Run(Library(root), "add")
    run.write("faceset_003/0001.png").write_text("ours")
    plan = run.plan()
    (root / "faceset_003").mkdir()
    (root / "faceset_003" / "mine.txt").write_text("theirs")
    journal.begin(root, run.folder, plan)
    assert (root / "faceset_003" / "0001.png").read_text() == "ours"
    assert (root / "faceset_003.kept1" / "mine.txt").read_text() == "theirs"


def test_a_later_operation_of_a_change_sees_the_earlier_ones(root: Path) -> None:
    run = Run(Library(root), "two")
    run.write("faceset_001/0001.png").write_text("first")
    assert run.current("faceset_001/0001.png").read_text() == "first"
    run.remove("faceset_001/0002.png")
    names = sorted(path.name for path in run.current("faceset_001").iterdir())
    assert names == ["0001.png", "manifest.json", "notes.txt"]
    run.move("faceset_001", "_dropped/faceset_001")
    assert not run.exists("faceset_001/0001.png")
    assert run.current("_dropped/faceset_001/0001.png").read_text() == "first"
    assert run.current("_dropped/faceset_001/notes.txt").read_text() == "mine"
    run.move("_dropped/faceset_001", "faceset_001")
    commit(run)
    assert seen(root)["faceset_001/0001.png"] == b"first" and "faceset_001/0002.png" not in seen(root)
    undo(root)
    assert seen(root)["faceset_001/0001.png"] == b"faceset_001 0001.png"


def test_an_abandoned_change_leaves_no_trace(root: Path) -> None:
    before = contents(root)
    run = Run(Library(root), "no")
    run.write("faceset_001/0001.png").write_text("no")
    run.abandon()
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
