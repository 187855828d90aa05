"""`sort_faces.py status`: what is done, what is left, what failed and why, and what to run next."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import report_library as made_up

import sort_faces
from facesets.common import files, terminal
from facesets.formats import proposal
from facesets.formats import queue as queues
from facesets.library.store import Library
from facesets.report import make


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("status")
    made_up.make_library(root / "lib", 4, faces=(6, 8), size=64)
    made_up.make_work(root / "work")
    return root


def status(place: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert sort_faces.main(["status", "--library", str(place / "lib"), "--data-root", str(place / "work"), *flags]) == 0
    folders = shlex.join(["--data-root", str(place / "work"), "--library", str(place / "lib")])
    return capsys.readouterr().out.replace(f" {folders}", "")


def all_embedded(place: Path) -> None:
    folder = place / "work" / "immich" / "peter"
    queue = queues.read(folder / "queue.json")
    queues.write(folder / "queue.json",
                 queues.Queue("peter", queue.server, tuple(item for item in queue.entries if item.sha256 != "cc" * 32)))
    (folder / "state.db").unlink(missing_ok=True)


def peter(place: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(status(place, capsys, "--json"))["users"][0]
    return value


def test_what_failed_what_is_left_and_what_to_run_are_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = status(place, capsys)
    assert "27 photos of 169 assets, 2 to go" in told and "2 failed: the server went away (2)" in told
    assert "1 to go" in told and "1 failed: is cut short (1)" in told
    assert told.splitlines()[-1] == "next: bash finalize_immich.sh peter"     # what failed may fail again, for ever
    assert len(told.splitlines()) < 24 and all(len(line) < 120 or str(place) in line for line in told.splitlines())
    found = peter(place, capsys)
    assert (found["stage"]["left"], found["embed"]["left"]) == (2, 1)
    assert found["stage"]["failed"] == {"the server went away": 2} and found["embed"]["failed"] == {"is cut short": 1}


def test_what_could_not_be_read_is_tried_again_once_nothing_else_is_left(
        place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Path(shutil.copytree(place, tmp_path, dirs_exist_ok=True))
    folder = place / "work" / "immich" / "peter"
    queue = queues.read(folder / "queue.json")
    queues.write(folder / "queue.json", queues.Queue("peter", queue.server, queue.entries[:-1]))
    assert sort_faces.main(["reviewed", "1", "2", "3", "4", "--library", str(place / "lib"),
                            "--data-root", str(place / "work")]) == 0
    make.make(place / "lib", place / "work", 0.1)
    capsys.readouterr()
    told = status(place, capsys).splitlines()[-1]
    assert told == "next: python immich_stage.py --user peter    # 2 that could not be read"


def test_the_report_is_none_then_there_then_old(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "report: none yet: python sort_faces.py report" in status(place, capsys)
    make.make(place / "lib", place / "work", 0.1)
    assert f"report: {place / 'lib'}/index.html" in status(place, capsys)
    places = ["--library", str(place / "lib"), "--data-root", str(place / "work")]
    assert sort_faces.main(["name", "1", "Somebody", *places]) == 0
    capsys.readouterr()
    assert "report: older than the library" in status(place, capsys)


def test_known_faces_wait_for_extend_when_all_else_is_done(
        place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Until somebody has them, or their person was dropped; what an older clustering knew is no matter any more."""
    all_embedded(place)
    place = Path(shutil.copytree(place, tmp_path, dirs_exist_ok=True))
    folder = place / "work" / "immich" / "peter"
    held = next(iter(Library(place / "lib").settled()))
    advice = "next: python sort_faces.py extend    # 1 faces of people who have a faceset"

    def told(made: proposal.Proposal) -> str:
        proposal.write(folder / "refine.json", made)
        return status(place, capsys).splitlines()[-1]
    made = proposal.read(folder / "refine.json")
    new = (proposal.Face("f" * 64 + "@1,1,9,9", 0.1),)
    assert told(replace(made, extend={"faceset_001": (*new, proposal.Face(held))})) == advice
    assert "extend" not in told(replace(made, extend={"faceset_001": (proposal.Face(held),)}))
    told(replace(made, extend={"faceset_001": new}))
    proposal.write(place / "work" / "refine.json", replace(made, created="2027-01-01T00:00:00Z"))
    assert "extend" not in status(place, capsys).splitlines()[-1]
    (place / "work" / "refine.json").unlink()
    assert sort_faces.main(["drop", "1", "--library", str(place / "lib"), "--data-root", str(place / "work")]) == 0
    assert "extend" not in status(place, capsys).splitlines()[-1]
    assert "extend" not in told(replace(made, extend={"_dropped/faceset_001": new}))


def test_a_library_that_was_removed_is_made_again(
        place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    all_embedded(place)
    place = Path(shutil.copytree(place, tmp_path, dirs_exist_ok=True))
    refine = place / "work" / "immich" / "peter" / "refine.json"
    made = proposal.read(refine)
    found = replace(made, facesets=(proposal.Group((proposal.Face("f" * 64 + "@1,1,9,9"),)),))
    proposal.write(refine, found)
    assert "finalize" not in status(place, capsys).splitlines()[-1]
    shutil.rmtree(place / "lib")
    assert status(place, capsys).splitlines()[-1] == "next: bash finalize_immich.sh peter"
    proposal.write(place / "work" / "refine.json", replace(found, created="2027-01-01T00:00:00Z"))
    assert status(place, capsys).splitlines()[-1] == "next: python sort_faces.py export-swap"
    (place / "work" / "refine.json").unlink()
    proposal.write(refine, made)
    assert status(place, capsys).splitlines()[-1] == "nothing left to do"


def test_facesets_that_nobody_looked_at_are_left_to_do(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All photos are clustered and known faces are in their facesets; until all were seen, there is a next step."""
    all_embedded(place)
    make.make(place / "lib", place / "work", 0.1)
    told = status(place, capsys)
    assert told.splitlines()[-1] == "next: python sort_faces.py review    # 4 facesets that nobody has looked at"
    assert "4 facesets (4 that nobody has looked at, 3 without a name)" in told
    assert sort_faces.main(["reviewed", "1", "2", "3", "4", "--library", str(place / "lib"),
                            "--data-root", str(place / "work")]) == 0
    capsys.readouterr()
    assert status(place, capsys).splitlines()[-1] == "next: python sort_faces.py report"
    make.make(place / "lib", place / "work", 0.1)
    assert "nothing left to do" in status(place, capsys)


def test_a_user_whose_photos_are_all_known_elsewhere_has_nothing_to_be_embedded(
        place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    all_embedded(place)
    place = Path(shutil.copytree(place, tmp_path, dirs_exist_ok=True))
    before = status(place, capsys).splitlines()[-1]
    folder = files.private_folder(place / "work" / "immich" / "berta")
    known = (queues.Known("x", "a.jpg", "a" * 64),)
    queues.write(folder / "queue.json", queues.Queue("berta", "http://server", (), known))
    assert "berta" in status(place, capsys) and status(place, capsys).splitlines()[-1] == before


def test_only_a_run_that_can_be_taken_back_is_said_to_be(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = ["--library", str(place / "lib"), "--data-root", str(place / "work")]
    assert sort_faces.main(["name", "1", "Somebody", *places]) == 0
    capsys.readouterr()
    assert "takes it back" in status(place, capsys)
    plan = sorted((place / "lib" / ".undo").glob("*/plan.json"))[-1]
    files.write_json(plan, {**files.read_json(plan), "schema": 0})
    assert "takes it back" not in status(place, capsys)


def test_server_strings_cannot_steer_the_terminal(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refine = place / "work" / "immich" / "peter" / "refine.json"
    refine.write_text('{"schema": "\\u001b[2J"}', encoding="utf-8")
    (place / "work" / "immich" / "a\x1b[31mb").mkdir()
    told = status(place, capsys)
    assert "\x1b" not in told and terminal.safe("a\x1b[31mb") in told
