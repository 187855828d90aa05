"""Copies that cross: whole or absent, whatever the drive or the other side does."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from busy import LIMIT, wait_until
from drawn import library_photos
from killing import killed
from stubs.machine import STUBS, Machine

from facesets.common import files, paths
from facesets.common.errors import Failure, Paused
from facesets.formats import cache
from facesets.formats import queue as queues
from facesets.windows import carry, copies


def test_a_cache_comes_home_only_while_nobody_else_writes_it(tmp_path: Path) -> None:
    """What `forget` does meanwhile would be undone."""
    faces = library_photos(tmp_path / "photos", [1], 2)
    queue, here, there = tmp_path / "queue.json", tmp_path / "immich_anna.npz", tmp_path / "c"
    queues.write(queue, queues.Queue("anna", "http://photos.example.org", tuple(
        queues.Entry("", photo.path, "C:\\x", photo.sha256, 1) for photo in faces.photos)))
    cache.write(there / here.name, faces)
    (there / "carried.sha256").write_text("none")
    with files.only_one(cache.lock_of(here), "sort_faces.py forget"), pytest.raises(Paused, match="forget"):
        carry.back(queue, here, there)
    assert not here.exists() and (there / here.name).exists()
    assert carry.back(queue, here, there) == 2 and here.exists() and not there.exists()


def carried(folder: Path) -> tuple[Path, Path, Path]:
    """Queue, cache and the folder there of a run whose worker has ended, and left a log."""
    faces = library_photos(folder / "photos", [1], 2)
    queue, here, there = folder / "peter" / "queue.json", folder / "immich_anna.npz", folder / "c"
    queues.write(queue, queues.Queue("anna", "http://photos.example.org", tuple(
        queues.Entry("", photo.path, "C:\\x", photo.sha256, 1) for photo in faces.photos)))
    cache.write(there / here.name, faces)
    files.write_bytes(there / "carried.sha256", b"none")
    files.write_bytes(there / "embed.log", b"the worker was here\n")
    return queue, here, there


def test_the_log_comes_home_once_wherever_the_way_back_is_killed(tmp_path: Path) -> None:
    for at in range(1, 60):
        queue, here, there = carried(tmp_path / str(at))
        more = killed(lambda: carry.back(queue, here, there), at)    # noqa: B023
        carry.forth(queue, here, there, {str(tmp_path): "X:"})
        assert here.exists() or (there / here.name).exists()
        carry.back(queue, here, there)
        assert queue.with_name("embed.log").read_bytes() == b"the worker was here\n", f"killed before event {at}"
        if not more:
            return
    raise AssertionError("the way back has no end")


def test_a_log_that_cannot_be_kept_holds_no_work_back(tmp_path: Path) -> None:
    queue, here, there = carried(tmp_path)
    queue.with_name("embed.log").mkdir()
    assert carry.back(queue, here, there) == 2 and here.exists() and not there.exists()


@pytest.fixture
def small_drive(tmp_path: Path) -> Iterator[Path]:
    drive = tmp_path / "c"
    drive.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(drive)], capture_output=True).returncode:
        pytest.skip("a small drive needs the right to mount")
    yield drive
    subprocess.run(["umount", "-l", str(drive)], check=True)


def test_a_copy_is_equal_private_and_not_made_twice(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "folder" / "b"
    source.write_bytes(os.urandom(3 << 20))
    assert copies.copy(source, target) and target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o077 == 0
    assert not copies.copy(source, target)
    source.write_bytes(b"x" * (3 << 20))        # of the same size
    assert copies.copy(source, target) and target.read_bytes() == source.read_bytes()


def test_a_drive_that_fills_up_keeps_the_old_copy_and_the_same_command_goes_on(tmp_path: Path,
                                                                              small_drive: Path) -> None:
    source, target = tmp_path / "a", small_drive / "b"
    source.write_bytes(b"old")
    copies.copy(source, target)
    source.write_bytes(os.urandom(5 << 20))
    with pytest.raises(Paused, match="is full; make room, then run the same command again"):
        copies.copy(source, target)
    assert target.read_bytes() == b"old" and [path.name for path in small_drive.iterdir()] == ["b"]
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_drive)], check=True)
    assert copies.copy(source, target) and target.read_bytes() == source.read_bytes()


def test_a_copy_that_was_killed_is_not_there_and_the_next_one_is_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    os.mkfifo(source)       # whose end does not come, so that the copy is in the middle whenever it is killed
    run = subprocess.Popen([sys.executable, "-c", "import sys; from pathlib import Path; "
                            "from facesets.windows import copies; "
                            "copies.copy(Path(sys.argv[1]), Path(sys.argv[2]))", str(source), str(target)],
                           cwd=STUBS.parent.parent)
    temporary = target.with_name(".b.tmp")
    with open(source, "wb", 0) as pipe:
        pipe.write(os.urandom(2 << 20))
        wait_until(lambda: temporary.stat().st_size >= 1 << 20, "a part of the copy is there")
        run.kill()
        run.wait()
    assert not target.exists() and temporary.exists()
    source.unlink()
    source.write_bytes(os.urandom(1 << 20))
    assert copies.copy(source, target) and target.read_bytes() == source.read_bytes() and not temporary.exists()


def test_a_place_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").mkdir()
    with pytest.raises(Paused, match=r"b.*: Is a directory; mend that"):
        copies.copy(tmp_path / "a", tmp_path / "b")
    with pytest.raises(Failure, match="so it is no model pack"):
        copies.carry_pack(tmp_path, tmp_path / "pack")


def test_windows_waits_for_a_file_that_a_scanner_has_open(tmp_path: Path) -> None:
    """The worker's own files.replacing, where nobody replaces what somebody has open."""
    machine = Machine(tmp_path)
    machine.set_up_windows()
    shutil.copytree(machine.checkout / "facesets", machine.mounts / "c" / "facesets")
    target = machine.mounts / "c" / "faces.npz"
    target.write_bytes(b"old")
    code = ("import sys, os; sys.path.insert(0, os.environ['FAKE_WINDOWS'] + '/c'); from pathlib import Path; "
            "from facesets.common import files; print('ready', flush=True); "
            "files.write_bytes(Path(os.environ['FAKE_WINDOWS'] + '/c/faces.npz'), b'new')")
    with open(target, "rb") as scanner:
        run = subprocess.Popen([machine.win_venv / "Scripts" / "python.exe", "-c", code], env=machine.environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert run.stdout is not None and run.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(0.8)
        assert scanner.read() == b"old"
    _, errors = run.communicate(timeout=LIMIT)
    assert run.returncode == 0, errors
    assert target.read_bytes() == b"new"


def test_the_worker_part_lacks_nothing(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="get the whole checkout again"):
        copies.worker_part(tmp_path)
    assert Path("embed_worker.py") in copies.worker_part(checkout)


def test_paths_translate_as_wslpath_says(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "größe" / "a b'c & 😀"
    folder.mkdir(parents=True)
    run = subprocess.run([sys.executable, STUBS / "wslpath.py", "-w", folder], env={"FAKE_WINDOWS": str(tmp_path)},
                         capture_output=True, text=True, check=True)
    assert run.stdout.rstrip("\n") == paths.wsl_to_win(folder, distribution="", root=f"{tmp_path}/")
