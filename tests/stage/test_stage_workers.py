"""No thread waits without an end, and one odd photo is one photo."""

import io
import sqlite3
import struct
import threading
import time

import pytest
from busy import LIMIT, wait_until
from PIL import Image
from stage_lab import Lab, laboratory, photo
from test_state import ASSET

from facesets.common.errors import Paused
from facesets.stage import workers

HOLDS = 30      # seconds; longer than the stage waits for its database


def test_a_database_that_somebody_holds_pauses_the_run_although_photos_pour_in(tmp_path):
    """Whoever records waits for the database while whoever downloads goes on."""
    with laboratory(tmp_path, fill=lambda lab: lab.add(60)) as lab:
        calm = lab.undisturbed()
        lab.server.faults.add("delay", "*/original", seconds=0.5)
        process = lab.start()
        lab.wait_for("*/original", 1)
        other = sqlite3.connect(lab.user_dir / "state.db", timeout=LIMIT, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        run = lab.finish(process)
        other.close()
        assert run.status == 2 and "state.db is held by another program" in run.err, run.err
        lab.server.faults.clear()
        assert lab.stage().status == 0
        assert lab.queue() == calm


def test_a_failure_ends_all_threads_and_is_raised_also_when_the_list_of_jobs_fails():
    def source():
        yield ASSET
        raise Paused("no more rows")
    for _ in range(20):
        with pytest.raises(Paused, match="no more rows"):
            workers.run(source(), lambda asset: None, 8, threading.Event())


def test_threads_that_hang_do_not_keep_the_run(tmp_path):
    began = time.monotonic()

    def work(asset):
        if asset.id == "a":
            raise Paused("the disk is gone")
        time.sleep(HOLDS)
    jobs = [ASSET, *(ASSET.__class__(**{**vars(ASSET), "id": str(number)}) for number in range(3))]
    with pytest.raises(Paused, match="the disk is gone"):
        workers.run(iter(reversed(jobs)), work, 4, threading.Event())
    assert time.monotonic() - began < HOLDS


def developed(lab: Lab) -> None:
    """Nobody says how long a preview is."""
    lab.one(number=1, name="developed.dng", side=700, face_px=300)


@pytest.mark.parametrize("version", [(2, 7, 2), (3, 1, 0)])
def test_a_preview_that_was_complete_when_the_run_stopped_is_staged_by_the_next(version, tmp_path):
    with laboratory(tmp_path, version, developed) as lab:
        calm = lab.undisturbed()
        whole = next(lab.folder.glob("calm/immich/peter/photos/??/*")).read_bytes()
        lab.server.faults.add("stall", "*/thumbnail*", at=0.5, seconds=LIMIT, times=1)
        process = lab.start()
        wait_until(lambda: process.poll() is not None or any(part.stat().st_size for part in lab.parts), "a part")
        process.kill()
        lab.finish(process)
        lab.server.faults.clear()
        lab.parts[0].write_bytes(whole)
        run = lab.stage()
        assert run.status == 0 and run.summary["skipped_download_error"] == 0, run.err
        assert lab.queue() == calm and lab.parts == []


def avif_with_one_changed_byte() -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(photo(1, 64))).save(out, "AVIF")
    for place in range(60, 240):
        data = bytearray(out.getvalue())
        data[place] ^= 0xff
        try:
            Image.open(io.BytesIO(data))
        except RuntimeError:
            return bytes(data)
        except Exception:
            continue
    raise AssertionError("no byte makes the decoder raise what it raised")


DDS = (b"DDS " + struct.pack("<7I", 124, 0x1007, 100, 100, 0, 0, 0) + bytes(44)
       + struct.pack("<II4s5I", 32, 4, b"XXXX", 0, 0, 0, 0, 0) + bytes(2000))


@pytest.mark.parametrize("content", [DDS, avif_with_one_changed_byte()], ids=["DDS named .jpg", "a damaged AVIF"])
def test_whatever_a_decoder_raises_is_about_one_photo(content, tmp_path):
    def fill(lab: Lab) -> None:
        lab.add(3)
        lab.one(name="odd.jpg", content=content, width=100, height=100)
    with laboratory(tmp_path, fill=fill) as lab:
        run = lab.stage()
        assert run.status == 0 and run.summary["staged_count"] == 3, run.err
        assert run.summary["skipped_download_error"] == 1
