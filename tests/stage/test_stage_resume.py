"""A download that broke off goes on where it was, by what the server answers."""

import signal
import sqlite3

import pytest
from busy import LIMIT, wait_until
from stage_lab import Lab, laboratory, photo

from facesets.stage.run import HOPELESS

SIDE = 700      # about half a megabyte


def broken_off(lab: Lab) -> int:
    """Stop a run in the middle of its one photo; how many bytes are on disk, where the last few thousand come later."""
    lab.server.faults.add("stall", "*/original", at=0.5, seconds=LIMIT, times=1)
    process = lab.start()
    lab.wait_for("*/original", 1)
    wait_until(lambda: process.poll() is not None or any(part.stat().st_size for part in lab.parts), "a part")
    process.send_signal(signal.SIGTERM)
    assert lab.finish(process).status == 2
    lab.server.faults.clear()
    lab.server.log.clear()
    return lab.parts[0].stat().st_size


def large(lab: Lab) -> None:
    lab.one(number=1, side=SIDE, face_px=300)


@pytest.mark.parametrize("version", [(2, 7, 2), (3, 1, 0)])
def test_the_rest_is_asked_for_and_appended(version, tmp_path):
    with laboratory(tmp_path, version, large) as lab:
        size = broken_off(lab)
        assert lab.stage().status == 0
        request, = lab.server.log.find("*/original")
        assert request.headers["range"] == f"bytes={size}-" and request.headers["if-range"].startswith('W/"')
        assert request.status == 206 and request.sent == len(photo(1, SIDE)) - size
        assert lab.photos[0].read_bytes() == photo(1, SIDE) and lab.parts == []


def test_a_file_that_changed_since_starts_over(tmp_path):
    with laboratory(tmp_path, fill=large) as lab:
        broken_off(lab)
        asset, = lab.server.library.assets.values()
        asset.modified += 5000
        assert lab.stage().status == 0
        request, = lab.server.log.find("*/original")
        assert "range" in request.headers and request.status == 200 and request.sent == len(photo(1, SIDE))
        assert lab.photos[0].read_bytes() == photo(1, SIDE)


def test_a_server_that_ignores_ranges_starts_over(tmp_path):
    with laboratory(tmp_path, fill=large) as lab:
        broken_off(lab)
        lab.server.faults.add("ignore_range", "*/original")
        assert lab.stage().status == 0
        assert [request.status for request in lab.server.log.find("*/original")] == [200]
        assert lab.photos[0].read_bytes() == photo(1, SIDE)


def test_a_complete_part_is_checked_and_not_asked_for(tmp_path):
    with laboratory(tmp_path, fill=large) as lab:
        broken_off(lab)
        lab.parts[0].write_bytes(photo(1, SIDE))
        assert lab.stage().status == 0
        assert lab.server.log.find("*/original") == []
        assert lab.photos[0].read_bytes() == photo(1, SIDE)


@pytest.mark.parametrize("longer", [0, 10])
def test_a_damaged_part_is_thrown_away(longer, tmp_path):
    """Right or too many bytes, but others: never past the end, where 2.x answers 500 and 3.x 404."""
    with laboratory(tmp_path, fill=large) as lab:
        broken_off(lab)
        lab.parts[0].write_bytes(bytes(len(photo(1, SIDE)) + longer))
        assert lab.stage().status == 0
        assert {request.status for request in lab.server.log.find("*/original")} == {200}
        assert lab.photos[0].read_bytes() == photo(1, SIDE)


def test_a_photo_named_but_not_recorded_by_a_killed_run_leaves_no_second_file(tmp_path):
    """Killed between the rename and the record."""
    with laboratory(tmp_path) as lab:
        calm = lab.undisturbed()
        assert lab.stage().status == 0
        with sqlite3.connect(lab.user_dir / "state.db") as db:
            sha256, = db.execute("SELECT sha256 FROM photos ORDER BY sha256 LIMIT 1").fetchone()
            db.execute("DELETE FROM photos WHERE sha256 = ?", (sha256,))
            db.execute("UPDATE assets SET outcome = 'wanted', sha256 = '' WHERE sha256 = ?", (sha256,))
        names = lab.photos
        assert lab.stage().status == 0
        assert lab.queue() == calm and lab.photos == names


def test_a_file_beside_the_folders_of_the_photos_is_no_photo(tmp_path):
    with laboratory(tmp_path) as lab:
        assert lab.stage().status == 0
        (lab.user_dir / "photos" / "ab").write_text("a note")
        assert lab.stage().status == 0


def as_named_before(lab: Lab) -> None:
    """The photos of a version that named them after their first asset."""
    with sqlite3.connect(lab.user_dir / "state.db") as db:
        db.execute("ALTER TABLE photos ADD COLUMN published INTEGER NOT NULL DEFAULT 0")
        for sha256, path, name in db.execute(
                "SELECT sha256, photos.path, name FROM photos JOIN assets USING (sha256) GROUP BY sha256").fetchall():
            old = f"{sha256[:2]}/{sha256[:16]}_{name}"
            (lab.user_dir / "photos" / path).rename(lab.user_dir / "photos" / old)
            db.execute("UPDATE photos SET path = ? WHERE sha256 = ?", (old, sha256))


def test_photos_of_an_earlier_version_take_their_names_of_today_without_a_request(tmp_path):
    with laboratory(tmp_path) as lab:
        calm = lab.undisturbed()
        assert lab.stage().status == 0
        names = lab.photos
        as_named_before(lab)
        lab.server.log.clear()
        lab.stage("--dry-run")
        assert all("_" in path.name for path in lab.photos)     # the queue still names them so
        assert lab.stage().status == 0
        assert lab.photos == names and lab.queue() == calm
        assert lab.asked()["original"] == lab.asked()["preview"] == 0


def test_a_server_that_goes_away_while_the_last_photos_are_asked_for_pauses_also_those_that_failed_before(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(3)) as lab:
        lab.server.faults.add("status", "*/original", status=500)
        for _ in range(HOPELESS):
            assert lab.stage().summary["skipped_download_error"] == 3
        lab.server.faults.clear()
        lab.server.faults.add("down", "*/original")
        run = lab.stage()
        assert run.status == 2 and "the server is away" in run.err, run.err


def test_a_disk_that_takes_the_last_bytes_only_in_part_keeps_no_photo_that_is_shorter_than_its_name_says(tmp_path):
    """The system writes what there is room for, and complains only at the next write, which does not come."""
    with laboratory(tmp_path, fill=large) as lab:
        run = lab.finish(lab.start(limit=len(photo(1, SIDE)) - 100))
        assert run.status == 2 and "room" in run.err and lab.photos == [], run.err
        assert lab.stage().status == 0
        assert lab.photos[0].read_bytes() == photo(1, SIDE)
