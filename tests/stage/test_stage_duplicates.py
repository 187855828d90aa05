"""Bytes once: uploads by checksum, external libraries by head and tail, across users and caches."""

import base64
import hashlib
from pathlib import Path

import numpy as np
import pytest
from stage_lab import Lab, laboratory, photo

from facesets.fake_immich.library_model import PREVIEW_SIDE
from facesets.formats import cache
from facesets.formats import queue as queues
from facesets.stage import duplicates

MODEL = cache.Model("test", "0" * 64, "0" * 64, 4, 0.45, 0.55)
LARGE = 300     # side of a photo of about 95 KB: longer than one piece, shorter than two
HUGE = 500      # about 260 KB: head and tail do not meet


def downloads(lab: Lab) -> list[object]:
    """Whole downloads, without ranged pieces."""
    return [request for request in lab.server.log.find("*/original") if "range" not in request.headers]


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


@pytest.mark.parametrize("side", [100, LARGE, HUGE])
def test_equal_files_of_an_external_library_cost_no_more_than_their_ends(side, tmp_path):
    def fill(lab: Lab) -> None:
        for copy in range(4):
            taken = f"2020-01-0{copy + 1}T00:00:00"
            lab.one(number=5, side=side, external=True, path=f"/mnt/{copy}/a.jpg", taken=taken)
        lab.one(number=6, side=side, external=True)
    with laboratory(tmp_path, fill=fill) as lab:
        run = lab.stage()
        assert run.summary["staged_count"] == 2 and run.summary["deduped_against_staged"] == 3
        size = len(photo(5, side))
        whole = [request for request in lab.server.log.find("*/original") if request.sent == size]
        assert len(whole) == (4 if size <= duplicates.PIECE else 1)
        saved = max(0, size - 2 * duplicates.PIECE)
        assert run.summary["bytes_saved"] == (0 if size <= duplicates.PIECE else 3 * saved)
        entry = next(entry for entry in lab.entries() if entry["aliases"])
        assert [alias["path"] for alias in entry["aliases"]] == ["/mnt/1/a.jpg", "/mnt/2/a.jpg", "/mnt/3/a.jpg"]


def test_files_that_differ_only_in_the_middle_or_at_an_end_are_not_taken_for_equal(tmp_path):
    original = photo(5, HUGE)
    size = len(original)

    def changed(place: int) -> bytes:
        return original[:place] + bytes([original[place] ^ 1]) + original[place + 1:]
    with laboratory(tmp_path, fill=lambda lab: [
            lab.one(number=number, side=HUGE, content=content, external=True, name=f"{number}.{suffix}")
            for number, (content, suffix) in enumerate([
                (original, "jpg"), (changed(100), "jpg"), (changed(size - 5), "jpg"), (original, "bmp"),
                (changed(size // 2), "bmp")])]) as lab:
        run = lab.stage()
        assert run.summary["staged_count"] == 4, run.err        # a bitmap is settled by all of its bytes
        assert run.summary["deduped_against_staged"] == 1


def test_an_external_copy_of_an_upload_is_recognised(tmp_path):
    def fill(lab: Lab) -> None:
        lab.one(number=5, side=HUGE, name="upload.jpg")
        lab.one(number=5, side=HUGE, external=True, name="copy.jpg", taken="2001-01-01T00:00:00")
    with laboratory(tmp_path, fill=fill) as lab:
        run = lab.stage()
        assert len([one for one in lab.server.log.find("*/original") if one.sent > 200_000]) == 1
        assert run.summary["staged_count"] == 1 and run.summary["deduped_against_staged"] == 1
        assert [path.name.split("_", 1)[1] for path in lab.photos] == ["copy.jpg"]      # the first by date


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
            asset.id for asset in lab.server.library.assets.values() if asset.name in ("IMG_0002.jpg", "IMG_0003.jpg")}
        assert lab.photos == []     # what turned out equal after its download is not kept


def write_cache(path: Path, photos: list[cache.Photo]) -> None:
    cache.write(path, cache.Cache(MODEL, photos, np.zeros(0, cache.FACE)))


def test_a_cache_that_is_none_is_said_to_be_none(tmp_path):
    with laboratory(tmp_path, fill=lambda lab: lab.add(1)) as lab:
        (lab.root / "cache").mkdir(parents=True)
        (lab.root / "cache" / "other.npz").write_bytes(b"PK\x03\x04 no cache")
        run = lab.stage()
        assert run.status == 1 and "other.npz is not a cache" in run.err


def test_raw_files_and_what_no_decoder_reads_come_as_previews(tmp_path):
    def fill(lab: Lab) -> None:
        lab.one(number=1, name="IMG_1.CR2")
        odd = lab.one(number=2, name="odd.jxl", content=b"a format of tomorrow" * 50, width=400, height=400, side=400)
        lab.server.thumbnails[odd.id, PREVIEW_SIDE, "JPEG"] = photo(2)
        lab.one(number=3, name="hopeless.jpg", content=b"no picture at all" * 50, width=400, height=400, side=400)
    with laboratory(tmp_path, fill=fill) as lab:
        run = lab.stage()
        entries = {Path(entry["path"]).name.split("_", 1)[1]: entry for entry in lab.entries()}
        assert {name: entry["source"] for name, entry in entries.items()} == {
            "IMG_1.preview.jpg": "preview", "odd.preview.jpg": "preview"}
        assert run.summary["skipped_download_error"] == 1 and "hopeless.jpg" in run.err
        raw = next(asset for asset in lab.server.library.assets.values() if asset.name == "IMG_1.CR2")
        assert not lab.server.log.find(f"*/{raw.id}/original")
