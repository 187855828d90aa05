"""Disks: full, read-only, gone, not ours, a file in the way. Nothing is damaged, and the same command goes on."""

import os
import random
import shutil
import subprocess

import pytest
from chain_lab import ROUNDS, SEED
from fault_lab import SCRIPTS, Before

ENDINGS = {"full": (2,), "read-only": (1, 2), "gone": (1, 2), "refused": (1, 2)}


def times(mode: str) -> int:
    """How many failures of this kind are tried."""
    return ROUNDS or {"full": 2, "read-only": 1}.get(mode, 0)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_disk_that_fails_at_any_change_of_a_file_is_said_in_one_line(chain, faulty, script):
    before = Before(chain, faulty, script)
    draw = random.Random(SEED)
    every = range(1, len(before.changes) + 1)
    wrong, tried = [], 0
    for mode, endings in ENDINGS.items():
        for number in draw.sample(every, min(times(mode), len(every))):
            before.restore()
            answer, out = faulty.run(script, mode, number)
            what = (mode, before.changes[number - 1], answer, out[-400:])
            tried += 1
            if answer.get("status") not in (0, *endings) or "(a bug" in out or "Traceback" in out:
                wrong.append(what)
            answer, out = faulty.run(script)
            assert answer["status"] == 0, (what, out)
            assert chain.left() == before.left, what
            assert chain.stray() == [], what
    print(f"\n{script}: {tried} failures of the disk")
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("place", ["work", "work/immich", "work/immich/peter", "work/immich/peter/photos", "work/cache",
                                   "library"])
def test_a_file_where_a_folder_should_be_is_said_in_one_line(chain, place):
    chain.clear()
    path = chain.folder / place
    chain.root.parent.mkdir(exist_ok=True)
    commands = chain.commands(driver=False)
    if place in ("work/cache", "library"):
        assert chain.run(commands["stage"])[0] == 0
    if place == "library":
        assert chain.run(commands["embed"])[0] == 0
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a person's own file")
    name = {"work/cache": "embed", "library": "cluster"}.get(place, "stage")
    try:
        status, out = chain.run(commands[name])
        assert status in (1, 2) and "(a bug" not in out and "Traceback" not in out, out
        assert out.strip().splitlines()[-1].count(str(path)), out
        assert path.read_text() == "a person's own file"
    finally:
        path.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_really_full_pauses_the_run_and_more_room_ends_it(chain, tmp_path):
    chain.clear()
    disk = chain.root
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=220k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        stage = chain.commands()["stage"]
        status, out = chain.run(stage)
        assert status == 2 and "room" in out and "(a bug" not in out and "Traceback" not in out, out
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        status, out = chain.run(stage)
        assert status == 0, out
        assert max(chain.downloads().values()) <= 2
        assert not [name for name in chain.stray() if name.endswith((".tmp", ".part"))]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
        shutil.rmtree(disk, ignore_errors=True)
