"""finalize_immich.sh with a Windows side: the real driver in a subprocess, stub programs, stub worker."""

import os
import pty
import re
import shutil
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from stubs.machine import Machine

from facesets.common import files


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.set_up_windows()
    return machine


def test_windows_and_local_runs_give_the_same_cache_and_windows_keeps_no_face(tmp_path: Path) -> None:
    results = []
    for side in ("--windows", "--local"):
        machine = Machine(tmp_path / side)
        machine.set_up_windows()
        machine.stage("face", "noface", "face")
        run = machine.run("peter", side)
        assert run.returncode == 0, run.stderr
        assert f"embedding on the {side[2:]} side: {side}" in run.stderr
        assert "clustered 2 faces of peter" in run.stderr and str(tmp_path / side / "library") in run.stderr
        results.append([(Path(photo.path).name, photo.sha256, photo.status) for photo in machine.result().photos])
        assert all(photo.path.startswith(str(machine.photos)) for photo in machine.result().photos)
        assert not machine.there.exists()
        assert "\r" not in machine.log() and machine.worked_on() == 3
        assert "embedding: 3 photos" in machine.queue.with_name("embed.log").read_text()
        assert machine.cache_path.stat().st_mode & 0o077 == 0
    assert results[0] == results[1]


def test_the_same_command_again_works_on_nothing_and_new_photos_are_added(machine: Machine) -> None:
    machine.stage("face", "noface")
    assert machine.run("peter").returncode == 0
    machine.there.mkdir()       # what a kill leaves after the way back and before the tidying up
    shutil.copy(machine.cache_path, machine.there)
    (machine.there / "carried.sha256").write_text("none")
    run = machine.run("peter")
    assert run.returncode == 0 and "changed" not in run.stderr and not machine.there.exists(), run.stderr
    assert machine.worked_on() == 2
    machine.stage("face", "noface", "face")
    assert machine.run("peter").returncode == 0
    assert machine.worked_on() == 3 and len(machine.result().photos) == 3


def test_settings_are_flags_of_the_driver_for_every_step_on_either_side(machine: Machine) -> None:
    root = machine.folder / "other root"
    machine.data = root
    machine.stage("face", "noface")
    flags = ["--data-root", str(root), "--lanes=3", "--model", "opencv_zoo"]
    run = machine.run(*flags, "peter")
    assert run.returncode == 0 and "clustered 1 faces of peter" in run.stderr, run.stderr
    told = machine.calls()[-1]
    assert told[told.index("--lanes") + 1] == "3" and told[told.index("--model") + 1] == "opencv_zoo"
    machine.cache_path.unlink()
    run = machine.run("peter", "--local", *flags)
    assert run.returncode == 0 and "clustered 1 faces of peter" in run.stderr, run.stderr
    assert "model opencv_zoo, lanes 3" in machine.log()
    run = machine.run("peter", "--lanes", "-3")
    assert run.returncode == 78 and "--lanes is -3" in run.stderr, run.stderr


def test_a_machine_that_says_no_home_embeds_all_the_same(machine: Machine) -> None:
    machine.stage("face")
    del machine.environment["HOME"]
    run = machine.run("peter")
    assert run.returncode == 0, run.stderr


def test_a_key_in_the_environment_or_in_dotenv_never_reaches_windows(machine: Machine) -> None:
    machine.stage("face")
    (machine.checkout / ".env").write_text("IMMICH_API_KEY=sesame-open\n")
    (machine.checkout / ".env").chmod(0o600)
    run = machine.run("peter", IMMICH_API_KEY="sesame-shut")
    assert run.returncode == 0, run.stderr
    texts = [run.stderr, machine.log(), repr(machine.calls())]
    texts += [path.read_text(errors="replace") for path in machine.win_venv.rglob("*") if path.is_file()]
    assert not any("sesame" in text for text in texts)


def test_a_crashed_worker_is_started_again(machine: Machine) -> None:
    machine.stage("face", "crash", "face")
    run = machine.run("peter")
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("embedding crashed (status 5") == 2
    assert machine.worked_on() == 3


def test_a_killed_worker_is_said_and_the_same_command_goes_on(machine: Machine) -> None:
    machine.stage("face", "noface", "kill", "face")
    run = machine.run("peter")
    assert run.returncode == 1      # what Windows says of a program that was ended in the Task Manager
    assert "go on with: bash finalize_immich.sh peter" in run.stderr and not machine.cache_path.exists()
    run = machine.run("peter")
    assert run.returncode == 0, run.stderr
    assert machine.worked_on() == 4 and len(machine.result().photos) == 4


@pytest.mark.parametrize(("code", "status", "words"), [
    (2, 2, "paused"), (78, 78, "failed with status 78"),
    (0xC0000409, 1, "ended from outside (status 9)"),           # a crash: Windows' codes arrive modulo 256 ...
    (0xC0000100, 1, "2 of 2 photos have no outcome"),           # ... so that one can look like success
])
def test_the_drivers_status_is_the_workers(machine: Machine, code: int, status: int, words: str) -> None:
    machine.stage("face", f"exit {code}")
    run = machine.run("peter")
    assert run.returncode == status and words in run.stderr, run.stderr
    assert "clustered" not in run.stderr and not machine.cache_path.exists()


def wait_for(machine: Machine, run: "subprocess.Popen[str]", name: str) -> Path:
    """The folder of the parts on the Windows side, once the worker has put the file `name` there."""
    parts = machine.there / "immich_peter.npz.parts"
    while not (parts / name).exists():
        assert run.poll() is None
        time.sleep(0.05)
    return parts


def test_two_runs_at_once_the_second_is_refused_with_the_name_of_the_first(machine: Machine) -> None:
    machine.stage("face", "hold", "face")
    with machine.started("peter") as first:
        parts = wait_for(machine, first, "holding")
        second = machine.run("peter")
        (parts / "release").touch()
        assert second.returncode == 2 and "finalize_immich.sh peter (process" in second.stderr, second.stderr
        first.communicate()
        assert first.returncode == 0
    assert machine.worked_on() == 3


def test_a_worker_that_outlives_a_killed_driver_is_not_doubled(machine: Machine) -> None:
    machine.stage("face", "hold", "face")
    with machine.started("peter") as run:
        parts = wait_for(machine, run, "holding")
        os.killpg(run.pid, signal.SIGKILL)      # Windows' program lives on, and holds nothing of ours
    second = machine.run("peter")
    (parts / "release").touch()
    assert second.returncode == 2 and "embed_worker.py (process" in second.stderr, second.stderr
    last = machine.run_to_the_end("peter")
    assert last.returncode == 0, last.stderr
    assert len(machine.result().photos) == 3 and machine.worked_on() <= 3


def test_ctrl_c_pauses_it_even_where_windows_ends_the_worker_hard(machine: Machine) -> None:
    machine.stage("face", "sigint", "face")     # the stub worker ends with Windows' 0xC000013A then, not with our 2
    with machine.started("peter") as run:
        wait_for(machine, run, "interrupted")
        os.killpg(run.pid, signal.SIGINT)
        assert run.stderr is not None
        words = run.stderr.read()
    assert run.returncode == 2 and "go on with: bash finalize_immich.sh peter" in words, words
    assert machine.run("peter").returncode == 0 and len(machine.result().photos) == 3


def test_kills_at_any_moment_lose_nothing(machine: Machine, tmp_path: Path) -> None:
    contents = ("face", "noface", "face", "face")
    quiet = Machine(tmp_path / "quiet")
    quiet.stage(*contents)
    assert quiet.run("peter", "--local").returncode == 0
    machine.stage(*contents)
    for delay in (0.3, 0.7, 1.1, 1.5):
        run = subprocess.Popen(machine.command("peter"), env=machine.environment, stderr=subprocess.DEVNULL,
                               start_new_session=True)
        time.sleep(delay)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    last = machine.run_to_the_end("peter")
    assert last.returncode == 0, last.stderr
    assert [(photo.sha256, photo.status) for photo in machine.result().photos] \
        == [(photo.sha256, photo.status) for photo in quiet.result().photos]
    assert not machine.there.exists() and not list(machine.data.rglob("*.tmp"))


def test_left_over_work_of_a_cache_that_changed_here_is_dropped_with_words(machine: Machine) -> None:
    machine.stage("face", "face")
    assert machine.run("peter").returncode == 0
    machine.stage("face", "face", "face", "kill")
    assert machine.run("peter").returncode == 1
    assert len(list((machine.there / "immich_peter.npz.parts").glob("*.json"))) == 1
    machine.cache_path.unlink()
    run = machine.run("peter")
    assert run.returncode == 1 and "changed since it was carried" in run.stderr, run.stderr
    assert machine.worked_on() == 2 + 1 + 3


def test_a_full_drive_is_said_before_anything_is_done_and_the_same_command_goes_on(machine: Machine) -> None:
    drive = machine.mounts / "c"
    kept = machine.folder / "kept"
    shutil.copytree(drive, kept)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(drive)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small drive needs the right to mount")
    try:
        shutil.copytree(kept, drive, dirs_exist_ok=True)
        machine.stage("face")
        run = machine.run("peter")
        assert run.returncode == 2 and "venv has 3 MB free, 1 photos need 64 MB; make room" in run.stderr, run.stderr
        assert not machine.there.exists()
        subprocess.run(["mount", "-o", "remount,size=200m", str(drive)], check=True)
        assert machine.run("peter").returncode == 0
    finally:
        subprocess.run(["umount", "-l", str(drive)], check=True)


def test_photos_that_windows_does_not_see_are_said_before_the_worker_starts(machine: Machine) -> None:
    machine.stage("face", win_path=False)
    run = machine.run("peter", FACESETS_WINDOWS_SHARES="")
    assert run.returncode == 78 and "FACESETS_WINDOWS_SHARES=" in run.stderr, run.stderr
    run = machine.run("peter", FACESETS_WINDOWS_SHARES="nas is X:")
    assert run.returncode == 78 and "a share is written /mnt/nas=X:" in run.stderr, run.stderr
    (machine.mounts / "x").unlink()
    run = machine.run("peter")
    assert run.returncode == 2 and "Windows cannot see X:\\000" in run.stderr, run.stderr
    assert machine.log() == ""


@pytest.mark.parametrize(("wsl", "ready", "asked", "status", "words"), [
    (True, True, [], 0, "on the windows side: it is set up in"),
    (True, False, [], 0, "on the local side: no Windows environment in"),
    (False, False, [], 0, "on the local side: no Windows environment in"),
    (True, True, ["--local"], 0, "on the local side: --local"),
    (True, True, ["--scheduler", "tls://nas:8786"], 78, "on the engine side: --scheduler tls://nas:8786"),
    (True, True, ["--scheduler", "nas"], 78, "an address is tls://host:8786"),
    (True, True, ["--scheduler", "tcp://127.0.0.1:1"], 2, "the scheduler tcp://127.0.0.1:1 does not answer"),
    (True, True, ["--windows", "--scheduler", "tls://nas:8786"], 64, "either --windows or --scheduler"),
    (True, True, ["--scheduler=tls://nas:8786", "--local"], 64, "either --local or --scheduler"),
    (True, True, ["--demo", "--lanes", "2"], 64, "--demo takes no settings"),
    (True, False, ["--windows"], 78, "first: bash finalize_immich.sh --setup-windows"),
    (False, True, ["--windows"], 78, "first: bash finalize_immich.sh --setup-windows"),
])
def test_it_finds_out_where_to_embed_and_says_why(tmp_path: Path, wsl: bool, ready: bool, asked: list[str],
                                                 status: int, words: str) -> None:
    machine = Machine(tmp_path)
    if ready:
        machine.set_up_windows()
    if not wsl:
        shutil.rmtree(machine.bin)
    machine.stage("face")
    run = machine.run("peter", "--dry-run", *asked)
    assert run.returncode == status and words in run.stderr, run.stderr
    assert not machine.cache_path.exists() and not machine.there.exists() and machine.log() == ""


def test_local_and_windows_win_over_an_engine_in_env(machine: Machine) -> None:
    files.write_bytes(machine.checkout / ".env", b"FACESETS_SCHEDULER=tls://nas:8786\n")
    machine.stage("face")
    run = machine.run("peter", "--dry-run")
    assert run.returncode == 78 and "on the engine side: --scheduler tls://nas:8786" in run.stderr, run.stderr
    for asked, words in ((["--local"], "on the local side: --local"), (["--windows"], "on the windows side: --windows"),
                         (["--scheduler", ""], "on the windows side: it is set up")):
        run = machine.run("peter", *asked)
        assert run.returncode == 0 and words in run.stderr and "on the engine ''" in run.stderr, run.stderr


def test_a_windows_side_that_is_stale_or_broken_is_named_before_anything_is_done(machine: Machine) -> None:
    machine.stage("face")
    (machine.win_venv / "requirements-win.txt").write_text("numpy==1.0\n")
    run = machine.run("peter")
    assert run.returncode == 78 and "--setup-windows" in run.stderr, run.stderr
    shutil.copy(machine.checkout / "requirements-win.txt", machine.win_venv)
    python = machine.win_venv / "Scripts" / "python.exe"
    python.write_text("#!/bin/sh\nprintf 'No Python at \"C:\\\\Python312\\\\python.exe\"\\r\\n' >&2\nexit 103\n")
    run = machine.run("peter")
    assert run.returncode == 78 and "No Python at" in run.stderr and "--setup-windows" in run.stderr, run.stderr
    python.write_text("MZ")
    python.chmod(0o644)     # as without interop
    run = machine.run("peter")
    assert run.returncode == 78 and "cannot be started" in run.stderr, run.stderr


def test_the_worker_part_over_there_is_never_stale(machine: Machine) -> None:
    machine.stage("face")
    assert machine.run("peter").returncode == 0
    worker = machine.win_venv / "face-sets" / "worker"
    (worker / "facesets" / "errors.py").write_text("raise RuntimeError('old')\n")
    (worker / "facesets" / "gone.py").write_text("")
    assert machine.run("peter").returncode == 0
    assert not (worker / "facesets" / "gone.py").exists()


def test_progress_is_live_on_a_terminal_and_kept_in_the_log(machine: Machine) -> None:
    machine.stage("face", "slow", "hold", "face")
    terminal, ours = pty.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    with subprocess.Popen(machine.command("peter"), env=machine.environment, stderr=ours, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, cwd=machine.home) as run:
        os.close(ours)
        seen, live = b"", False
        while True:
            try:
                seen += os.read(terminal, 4096)
            except OSError:     # the end of a terminal
                break
            if not live and b"2/4" in seen:         # while the worker waits for its release
                live = run.poll() is None
                (machine.there / "immich_peter.npz.parts" / "release").touch()
    assert run.returncode == 0 and live
    assert re.search(rb"\rembedding: +\d+%", seen)
    assert "embedding: 4 photos" in machine.log() and machine.log().count("embedding:") <= 2
