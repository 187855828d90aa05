"""Bytes once: uploads by checksum, external libraries by all of their bytes, across users and caches."""

import base64
import hashlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
from stage_lab import Lab, laboratory, photo

from facesets.fake_immich.library_model import PREVIEW_SIDE
from facesets.formats import cache
from facesets.formats import queue as queues
from facesets.stage import duplicates

MODEL = cache.Model("test", "0" * 64, "0" * 64, 4, 0.45, 0.55)
HUGE = 500      # side of a photo of about 260 KB: its first and last 64 KiB do not meet


def downloads(lab: Lab) -> list[object]:
    return lab.server.log.find("*/original")


def test_a_checksum_is_told_to_be_of_the_path_or_of_the_bytes(shared):
    """As Immich makes them: sha1("path:" + originalPath) for a file in an external library."""
    path = "/mnt/photos/Ünïcode.jpg"
    of_path = base64.b64encode(hashlib.sha1(f"path:{path}".encode()).digest()).decode()
    of_bytes = base64.b64encode(hashlib.sha1(b"bytes").digest()).decode()
    assert duplicates.is_content_checksum(of_bytes, path, None)
    assert not duplicates.is_content_checksum(of_path, path, None)
    assert not duplicates.is_content_checksum(of_bytes, path, "library")
    assert not duplicates.is_content_checksum("", path, None)


def test_an_upload_equal_to_another_users_staged_photo_is_not_downloaded(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(3)) as lab:
        assert lab.stage().status == 0
        other = lab.server.add_user("Maria")
        for number in (1, 2, 50):
            lab.one(number=number, user=other)
        lab.key, peter = lab.server.add_key(other), lab.entries()
        lab.server.log.clear()
        run = lab.stage(user="maria")
        assert len(downloads(lab)) == 1
        assert run.summary["deduped_against_existing"] == 2 and run.summary["staged_count"] == 1
        assert run.summary["bytes_saved"] == len(photo(1)) + len(photo(2))
        known = queues.read(lab.root / "immich" / "maria" / "queue.json").known
        assert {item.sha256 for item in known} < {entry["sha256"] for entry in peter}
        lab.server.log.clear()
        assert lab.stage(user="maria").summary["deduped_against_existing"] == 2     # and it stays so
        assert downloads(lab) == []


def test_equal_files_of_an_external_library_are_one_photo_that_later_runs_do_not_ask_for(tmp_path):
    def fill(lab: Lab) -> None:
        for copy in range(4):
            taken = f"2020-01-0{copy + 1}T00:00:00"
            lab.one(number=5, external=True, path=f"/mnt/{copy}/a.jpg", taken=taken)
        lab.one(number=6, external=True)
    with laboratory(tmp_path, fill=fill) as lab:
        run = lab.stage()
        assert run.summary["staged_count"] == 2 and run.summary["deduped_against_staged"] == 3
        entry = next(entry for entry in lab.entries() if entry["aliases"])
        assert [alias["path"] for alias in entry["aliases"]] == ["/mnt/1/a.jpg", "/mnt/2/a.jpg", "/mnt/3/a.jpg"]
        lab.server.log.clear()
        assert lab.stage().summary["deduped_against_staged"] == 3 and downloads(lab) == []


def test_a_photo_that_two_others_have_is_saved_once(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(1)) as lab:
        users = lab.root / "immich"
        assert lab.stage().status == 0
        (users / "peter").rename(tmp_path / "peter")        # Maria and he know nothing of each other
        for name in ("maria", "paul"):
            other = lab.server.add_user(name)
            lab.one(number=1, user=other)
            lab.key = lab.server.add_key(other)
            run = lab.stage(user=name)
            if name == "maria":
                assert run.summary["staged_count"] == 1
                (tmp_path / "peter").rename(users / "peter")
        assert run.summary["deduped_against_existing"] == 1 and run.summary["bytes_saved"] == len(photo(1))


def test_files_that_differ_in_one_byte_anywhere_are_two_photos(tmp_path):
    """Of one size, in an external library: a rotten copy that came first once took the place of the good one."""
    original = photo(5, HUGE)
    size = len(original)

    def changed(place: int) -> bytes:
        return original[:place] + bytes([original[place] ^ 1]) + original[place + 1:]
    contents = [changed(size // 2), original, changed(100), changed(size - 5), original]
    with laboratory(tmp_path, fill=lambda lab: [
            lab.one(number=number, side=HUGE, content=content, external=True, name=f"{number}.jpg",
                    taken=f"2020-01-0{number + 1}T00:00:00")
            for number, content in enumerate(contents)]) as lab:
        run = lab.stage()
        assert run.summary["staged_count"] == 4 and run.summary["deduped_against_staged"] == 1, run.err
        assert {entry["sha256"] for entry in lab.entries()} == {hashlib.sha256(one).hexdigest() for one in contents}
        assert all(hashlib.sha256(Path(entry["path"]).read_bytes()).hexdigest() == entry["sha256"]
                   for entry in lab.entries())


def test_an_external_copy_of_an_upload_is_recognised(tmp_path):
    def fill(lab: Lab) -> None:
        lab.one(number=5, side=HUGE, name="upload.jpg")
        lab.one(number=5, side=HUGE, external=True, name="copy.jpg", taken="2001-01-01T00:00:00")
    with laboratory(tmp_path, fill=fill) as lab:
        run = lab.stage()
        assert run.summary["staged_count"] == 1 and run.summary["deduped_against_staged"] == 1
        assert [entry["name"] for entry in lab.entries()] == ["copy.jpg"]      # the first by date


def test_photos_of_the_operators_own_library_are_known_by_their_files(tmp_path):
    """nl_full.npz holds SHA-256 and paths; its files lie here, so the server's SHA-1 can be held against them."""
    own = tmp_path / "own"
    own.mkdir()
    with laboratory(tmp_path, fill=lambda lab: (lab.add(3), lab.one(number=9, side=HUGE, external=True))) as lab:
        photos = []
        for name, data in (("a.jpg", photo(1)), ("b.jpg", photo(9, HUGE)), ("lies.jpg", photo(2))):
            (own / name).write_bytes(data if name != "lies.jpg" else data[::-1])
            photos.append(cache.Photo(str(own / name), hashlib.sha256(data).hexdigest()))
        photos.append(cache.Photo("/gone.jpg", hashlib.sha256(photo(3)).hexdigest()))
        write_cache(lab.root / "cache" / "nl_full.npz", photos)
        write_cache(lab.root / "cache" / "immich_peter.npz", [cache.Photo("x", hashlib.sha256(photo(3)).hexdigest())])
        run = lab.stage()
        assert run.summary["deduped_against_existing"] == 4, run.err
        assert {request.path.split("/")[3] for request in downloads(lab)} == {
            asset.id for asset in lab.server.library.assets.values() if asset.name != "IMG_0001.jpg"}
        assert lab.photos == []     # what turned out equal after its download is not kept
        lab.server.log.clear()
        assert lab.stage().summary["deduped_against_existing"] == 4 and downloads(lab) == []


def test_what_nobody_has_any_more_is_not_known(tmp_path):
    """A cache that is gone, one that could not read the photo, and a photo that its user's server no longer has."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "a.jpg").write_bytes(photo(1))
    caches = tmp_path / "work" / "cache"
    with laboratory(tmp_path, fill=lambda lab: lab.add(4)) as lab:
        write_cache(caches / "nl_full.npz", [
            cache.Photo(str(own / "a.jpg"), hashlib.sha256(photo(1)).hexdigest()),
            cache.Photo(str(own / "b.jpg"), hashlib.sha256(photo(2)).hexdigest()),
            cache.Photo("/x/c.jpg", hashlib.sha256(photo(3)).hexdigest(), "error", "OSError: truncated")])
        other = lab.server.add_user("Maria")
        hers, peters = lab.one(number=4, user=other), lab.key
        lab.key = lab.server.add_key(other)
        assert lab.stage(user="maria").summary["staged_count"] == 1
        lab.key = peters
        run = lab.stage()
        assert (run.summary["deduped_against_existing"], run.summary["staged_count"]) == (3, 1), run.err
        (caches / "nl_full.npz").unlink()
        lab.server.delete_asset(hers)
        lab.key = lab.server.add_key(other)
        assert lab.stage(user="maria").status == 0
        lab.key = peters
        run = lab.stage()
        assert (run.summary["deduped_against_existing"], run.summary["staged_count"]) == (0, 4), run.err


def test_another_users_photo_whose_file_is_gone_is_known_only_by_a_cache(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(2)) as lab:
        lab.stage()
        first, second = (Path(entry["path"]) for entry in lab.entries())
        write_cache(lab.root / "cache" / "immich_peter.npz", [cache.Photo(str(first), lab.entries()[0]["sha256"])])
        first.unlink()
        second.unlink()
        other = lab.server.add_user("Maria")
        for number in (1, 2):
            lab.one(number=number, user=other)
        lab.key = lab.server.add_key(other)
        summary = lab.stage(user="maria").summary
        assert (summary["deduped_against_existing"], summary["staged_count"]) == (1, 1)


def test_a_state_that_kept_the_ends_of_files_is_read_on(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(2)) as lab:
        lab.stage()
        with sqlite3.connect(lab.user_dir / "state.db") as db:
            for column in ("head", "tail"):
                db.execute(f"ALTER TABLE photos ADD COLUMN {column} TEXT NOT NULL DEFAULT 'x'")
        lab.add(1)
        lab.server.log.clear()
        assert lab.stage().summary["staged_count"] == 3 and len(downloads(lab)) == 1


def write_cache(path: Path, photos: list[cache.Photo]) -> None:
    cache.write(path, cache.Cache(MODEL, photos, np.zeros(0, cache.FACE)))


def test_a_cache_that_is_none_is_said_to_be_none(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(1)) as lab:
        (lab.root / "cache").mkdir(parents=True)
        (lab.root / "cache" / "other.npz").write_bytes(b"PK\x03\x04 no cache")
        run = lab.stage()
        assert run.status == 1 and "other.npz is not a cache" in run.err and "move it" in run.err


def test_raw_files_and_what_no_decoder_reads_come_as_previews(tmp_path):
    def fill(lab: Lab) -> None:
        lab.one(number=1, name="IMG_1.CR2")
        odd = lab.one(number=2, name="odd.jxl", content=b"a format of tomorrow" * 50, width=400, height=400, side=400)
        lab.server.library.thumbnails[odd.id, PREVIEW_SIDE, "JPEG"] = photo(2)
        lab.one(number=3, name="hopeless.jpg", content=b"no picture at all" * 50, width=400, height=400, side=400)
    with laboratory(tmp_path, fill=fill) as lab:
        run = lab.stage()
        sources = {entry["name"]: entry["source"] for entry in lab.entries()}
        assert sources == {"IMG_1.CR2": "preview", "odd.jxl": "preview"}
        assert [path.suffix for path in lab.photos] == [".jpg", ".jpg"]
        assert run.summary["skipped_download_error"] == 1 and "hopeless.jpg" in run.err
        raw = next(asset for asset in lab.server.library.assets.values() if asset.name == "IMG_1.CR2")
        assert not lab.server.log.find(f"*/{raw.id}/original")


def test_equal_uploads_are_downloaded_once_and_another_one_where_the_first_is_missing(tmp_path):
    def fill(lab: Lab) -> None:
        for number in (1, 2):
            for copy in range(3):
                lab.one(number=number, name=f"{number} {copy}.jpg", taken=f"2020-0{number}-0{copy + 1}T00:00:00")
    with laboratory(tmp_path, fill=fill) as lab:
        missing = next(one.id for one in lab.server.library.assets.values() if one.name == "2 0.jpg")
        lab.server.faults.add("status", f"*/{missing}/original", status=404)
        run = lab.stage()
        assert run.status == 0 and run.summary["staged_count"] == 2 and run.summary["skipped_download_error"] == 1
        assert run.summary["deduped_against_staged"] == 3
        assert len({one.path for one in lab.server.log.find("*/original") if one.status == 200}) <= 3
        lab.server.faults.clear()
        lab.server.log.clear()
        assert lab.stage().summary["deduped_against_staged"] == 4 and downloads(lab) == []


def test_what_only_a_cache_of_another_model_has_is_staged_once_the_users_own_model_is_known(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(3)) as lab:
        assert lab.stage().status == 0
        whose = {name: lab.root / "cache" / f"{name}.npz" for name in ("immich_peter", "nl_full", "immich_maria")}
        staged = [cache.Photo(entry["path"], entry["sha256"], "noface") for entry in lab.entries()]
        other = lab.server.add_user("Maria")
        for number in (1, 2, 50):
            lab.one(number=number, user=other)
        lab.key = lab.server.add_key(other)
        cache.write(whose["immich_peter"], cache.Cache(MODEL, staged, np.zeros(0, cache.FACE)))
        cache.write(whose["nl_full"], cache.Cache(MODEL, staged[:1], np.zeros(0, cache.FACE)))
        assert lab.stage(user="maria").summary["deduped_against_existing"] == 2
        cache.write(whose["immich_maria"], cache.Cache(MODEL, [], np.zeros(0, cache.FACE)))
        assert lab.stage(user="maria").summary["deduped_against_existing"] == 2
        cache.write(whose["immich_maria"], cache.Cache(replace(MODEL, sha256="1" * 64), [], np.zeros(0, cache.FACE)))
        summary = lab.stage(user="maria").summary
        assert (summary["staged_count"], summary["deduped_against_existing"]) == (3, 0)
