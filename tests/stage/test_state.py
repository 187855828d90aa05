"""state.db: what is settled stays, what changed is asked again, and a killed writer leaves it whole."""

import sqlite3
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from facesets.common.errors import Failure, Paused
from facesets.stage import state

ASSET = state.Asset("a", "2020-01-01T00:00:00.000Z", "2020-01", "timeline", "a.jpg", "/a.jpg", "sum", True, 10, 4, 3,
                    "", "[]", "wanted")


@pytest.fixture
def db(tmp_path):
    opened = state.State(tmp_path / "deep" / "state.db")
    opened.start_run()
    yield opened
    opened.close()


def outcome(db, asset_id="a"):
    return db.one("SELECT outcome, sha256, reason FROM assets WHERE id = ?", asset_id)


def test_it_is_private(db):
    assert stat.S_IMODE(db.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(db.path.parent.stat().st_mode) == 0o700


def test_bytes_once_known_are_remembered_until_checksum_or_size_change(db):
    db.put([ASSET])
    with db.writing() as rows:
        rows.execute("UPDATE assets SET outcome = 'have', sha256 = 's'")
    db.put([replace(ASSET, name="renamed.jpg", outcome="small")])
    assert outcome(db) == ("small", "s", "")
    db.put([replace(ASSET, size=11)])
    assert outcome(db) == ("wanted", "", "")


def test_a_rejected_asset_stays_rejected_while_it_is_listed_unchanged(db):
    db.put([ASSET])
    db.settle("a", "rejected", "400 no")
    db.set_meta("listed", str(db.run))
    db.start_run()          # cut off before it came to this asset
    db.start_run()
    db.put([ASSET])
    assert outcome(db) == ("rejected", "", "400 no")
    db.put([replace(ASSET, checksum="other")])
    assert outcome(db)[0] == "wanted"
    db.settle("a", "rejected", "400 no")
    db.start_run()
    db.set_meta("listed", str(db.run))      # complete without it: it was in the trash, say
    db.start_run()
    db.put([replace(ASSET, checksum="other")])
    assert outcome(db)[0] == "wanted"


def test_walking_sees_every_asset_once_although_outcomes_change_under_it(db, monkeypatch):
    monkeypatch.setattr(state, "BATCH", 7)
    db.put([replace(ASSET, id=f"{number:03}", taken=f"2020-01-{number % 5 + 1:02}") for number in range(100)])
    seen = []
    for asset in db.walk("outcome = 'wanted'"):
        seen.append((asset.taken, asset.id))
        db.settle(asset.id, "have")
    assert len(seen) == 100 and seen == sorted(seen)


def test_many_threads_may_settle_at_once(db):
    db.put([replace(ASSET, id=str(number)) for number in range(200)])
    threads = [threading.Thread(target=lambda part=part: [db.settle(str(n), "have") for n in range(part, 200, 8)])
               for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.counts() == {"have": 200}


def test_a_killed_writer_leaves_whole_transactions(tmp_path):
    script = ("import sys; from pathlib import Path; from dataclasses import replace; "
              "sys.path.insert(0, 'tests/stage')\n"
              "from test_state import ASSET; from facesets.stage import state\n"
              "db = state.State(Path(sys.argv[1])); db.start_run(); number = 0\n"
              "while True:\n"
              "    db.put([replace(ASSET, id=f'{number}-{part}') for part in range(10)]); number += 1\n"
              "    print(number, flush=True)\n")
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "state.db")], stdout=subprocess.PIPE,
                               text=True)
    for _ in range(30):
        last = int(process.stdout.readline())
    process.kill()
    process.communicate()
    db = state.State(tmp_path / "state.db")
    count = db.counts()["wanted"]
    assert count % 10 == 0 and count >= last * 10
    assert db.one("PRAGMA integrity_check") == ("ok",)
    db.close()


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 30, b"SQLite format 3\0broken"])
def test_a_file_that_is_no_database_is_refused_in_words(content, tmp_path):
    (tmp_path / "state.db").write_bytes(content)
    with pytest.raises(Failure, match=r"is damaged .* move it aside"):
        state.State(tmp_path / "state.db")


def test_a_database_that_was_damaged_since_is_said_to_be(db):
    db.put([replace(ASSET, id=str(number), name="n" * 500) for number in range(2000)])
    db.close()
    data = bytearray(db.path.read_bytes())
    data[3 * 4096:] = bytes([7]) * (len(data) - 3 * 4096)
    db.path.write_bytes(data)
    with pytest.raises(Failure, match=r"is damaged .* move it aside"):
        again = state.State(db.path)
        again.all("SELECT name, reason FROM assets ORDER BY path")


def test_a_database_that_somebody_holds_is_said_to_be_held_and_is_waited_for_once(db):
    other = sqlite3.connect(db.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    said = []

    def write() -> None:
        try:
            db.set_meta("a", "b")
        except Paused as error:
            said.append(str(error))
    threads = [threading.Thread(target=write) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 20 and all("held by another program" in words for words in said)
    assert time.monotonic() - began < 60        # one after the other they would wait 100 s
    other.close()


def test_a_failing_disk_is_not_called_full(db):
    for code, words in ((sqlite3.SQLITE_IOERR_FSYNC, "the disk fails"), (sqlite3.SQLITE_FULL, "the disk is full"),
                        (sqlite3.SQLITE_READONLY_DBMOVED, "cannot be used")):
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        assert words in str(state.in_words(db.path, error))


def test_a_later_schema_is_refused(db):
    db.set_meta("schema", "99")
    with pytest.raises(Failure, match="another version"):
        state.State(db.path)


def test_a_full_disk_pauses(db):
    db.db.execute(f"PRAGMA max_page_count = {db.one('PRAGMA page_count')[0]}")
    with pytest.raises(Paused, match="make room"):
        db.put([replace(ASSET, id=str(number), name="n" * 100) for number in range(1000)])
    assert db.counts() == {}
    assert isinstance(db.db, sqlite3.Connection) and not db.db.in_transaction
