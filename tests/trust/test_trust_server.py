"""A hostile server: nothing outside the data root changes, memory stays bounded, one line says what is wrong."""

import json
import shutil
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_lab import ROUNDS, SEED
from hostile import BODIES, NAMES, Twist, body_of, bomb, field_of, items, mutated, twisted
from memory import peak_of
from stage_lab import Lab, Run

from facesets.fake_immich.protocol import Call, Reply

MUTATED = 20 * ROUNDS or 40
MOST_MEMORY = 700 << 20     # bytes; the largest JSON that is taken is 256 MB
SECONDS = 120               # for any run of a dozen photos, on a machine that has other things to do
ENDINGS = (0, 1, 2, 77, 78)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    fill(made)
    with made.server:
        yield made


def fill(lab: Lab) -> None:
    lab.add(3)
    lab.add(1, faces=0)
    lab.one(number=7001, external=True)
    lab.extra |= {"FACESETS_RETRY_PAUSE": "0.0002"}


def run(lab: Lab, twist: Twist) -> Run:
    """A run against the twisted server that ends in time."""
    def late(*_: object) -> None:
        raise AssertionError(f"still at it after {SECONDS} s")
    before, _ = signal.signal(signal.SIGALRM, late), signal.alarm(SECONDS)
    try:
        with twisted(lab, twist):
            return lab.stage()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def judge(lab: Lab, ended: Run, what: object = "") -> None:
    """What holds whatever the server says."""
    said = ended.out + ended.err
    assert ended.status in ENDINGS, (what, ended)
    assert "(a bug" not in said and "Traceback" not in said, (what, said[-2000:])
    if ended.status:
        last = ended.err.splitlines()[-1]
        assert last.startswith("immich_stage: ") and len(last) < 2100, (what, last)
    assert all(char.isprintable() or char in "\n\t" for char in ended.err.replace("\ufffd", "")), (what, ended.err)
    assert lab.key not in said, what
    outside = {path.name for path in lab.folder.iterdir()} - {lab.root.name, "calm"}
    assert not outside, (what, outside)
    photos = lab.user_dir / "photos"
    for path in lab.root.rglob("*"):
        assert not path.is_symlink() and (path.suffix != ".jpg" or photos in path.parents), (what, path)


@pytest.mark.parametrize("field", ["originalFileName", "originalPath", "person", "checksum"])
def test_names_of_any_kind_are_only_names(lab, field):
    for name in NAMES:
        def change(item: dict, name: str = name) -> None:
            if field == "person":
                item["people"] = [{"id": name, "name": name, "faces": item["unassignedFaces"]}]
                item["unassignedFaces"] = []
            else:
                item[field] = name
        shutil.rmtree(lab.root, ignore_errors=True)
        ended = run(lab, items(change))
        judge(lab, ended, (field, name[:40]))
        if field != "checksum":
            assert ended.status == 0, (name[:40], ended.err)
            assert len(lab.photos) >= 4 or field == "originalPath", name[:40]
        for entry in lab.entries() if ended.status == 0 else ():
            assert lab.user_dir / "photos" in Path(entry["path"]).parents and ".." not in Path(entry["path"]).parts


@pytest.mark.parametrize("name", ["../../x", "", "x" * 65, "a b", "%2e%2e", "\0", 7, None, [], {"a": 1}, "9" * 10 ** 6],
                         ids=range(11))
def test_ids_that_are_no_ids_are_refused(lab, name):
    ended = run(lab, items(lambda item: item.update(id=name)))
    judge(lab, ended)
    assert ended.status == 1 and not lab.photos


@pytest.mark.parametrize("path", ["/server/ping", "/server/version", "/api-keys/me", "/users/me", "/search/metadata",
                                  "/timeline/buckets", "/timeline/bucket"])
def test_json_of_any_kind_is_an_error_in_one_line(lab, path):
    for name, body in BODIES.items():
        ended = run(lab, body_of(path, body))
        judge(lab, ended, name)
        assert ended.status in (1, 2, 78) or (path.startswith("/timeline") and ended.status == 0), (name, ended.err)


@pytest.mark.parametrize("version, path", [((3, 1, 0), "/faces"), ((3, 1, 0), "/sync/stream")])
def test_faces_of_any_kind_are_an_error_in_one_line(tmp_path, version, path):
    lab = Lab(tmp_path, version)
    fill(lab)
    if path == "/sync/stream":
        lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password}
    with lab.server:
        for name, body in BODIES.items():
            ended = run(lab, body_of(path, body))
            judge(lab, ended, name)
            assert ended.status in ((2,) if path == "/sync/stream" else (0, 1)) and not lab.photos, (name, ended.err)


@pytest.mark.parametrize("change, status", [({"person": 7}, 1), ({"person": ["x"]}, 1),
                                            ({"boundingBoxX1": 10 ** 400}, 0)])
def test_a_face_of_any_kind_is_an_error_in_one_line(tmp_path, change, status):
    lab = Lab(tmp_path, (3, 1, 0))
    fill(lab)
    with lab.server:
        ended = run(lab, field_of("/faces", lambda faces: [face.update(change) for face in faces]))
        judge(lab, ended, change)
        assert ended.status == status and not lab.photos, ended.err


@pytest.mark.parametrize("status, endings", [(400, (2, 78)), (401, (77,)), (404, (78,)), (500, (2,))])
def test_error_replies_of_any_kind_are_shown_in_one_line(lab, status, endings):
    for message in (b'{"message": "\\u001b[2J\\u202e<b>' + b"x" * 9999 + b'"}', b'{"message": [1, {"a": []}]}',
                    b"[" * 10 ** 6, b'{"message": ' * 9999, b"", b'{"message": {"message": null}}'):
        ended = run(lab, lambda call, reply, message=message: Reply(status, message))
        judge(lab, ended, message[:40])
        assert ended.status in endings, (message[:40], ended.err)


def test_mutated_replies_end_in_words(lab):
    ends: Counter[int] = Counter()
    try:
        for number in range(MUTATED):
            shutil.rmtree(lab.root, ignore_errors=True)
            ended = run(lab, mutated(f"{SEED}-{number}", (0.1, 0.5, 1.0)[number % 3]))
            judge(lab, ended, number)
            ends[ended.status] += 1
    finally:
        print(f"\n{sum(ends.values())} runs with mutated replies, ended with {dict(ends)}")
    assert len(ends) > 1


def measured(lab: Lab, twist: Twist) -> tuple[Run, int]:
    """A run in a process of its own, and the most memory that it had, in bytes."""
    with twisted(lab, twist):
        process = lab.start()
        peak = peak_of(process)
        ended = lab.finish(process)
    return ended, peak()


def packed(path: str, layers: str, body: bytes) -> Twist:
    """Answer a body that is small on the wire and large unpacked."""
    def twist(call: Call, reply: Reply) -> Reply:
        return Reply(200, body, "image/jpeg" if "original" in path else reply.kind,
                     {"Content-Encoding": layers}) if call.path.endswith(path) else reply
    return twist


@pytest.mark.parametrize("path, layers", [("/original", "gzip"), ("/users/me", "gzip, gzip"),
                                          *([("/search/metadata", "gzip")] if ROUNDS else [])])
def test_bombs_of_gzip_fill_neither_memory_nor_disk(lab, path, layers):
    body = bomb(400, layers.count("gzip"))
    assert len(body) < 1 << 20
    ended, memory = measured(lab, packed(path, layers, body))
    judge(lab, ended, (path, layers))
    assert memory < MOST_MEMORY, f"{memory >> 20} MB"
    assert sum(file.stat().st_size for file in lab.root.rglob("*") if file.is_file()) < 4 << 20


def test_a_file_that_never_ends_does_not_fill_the_disk(lab):
    """The record says 8 KB, the server sends 300 MB without saying so beforehand."""
    def twist(call: Call, reply: Reply) -> Reply:
        if not call.path.endswith("/original"):
            return reply
        return Reply(200, bytes(300 << 20), "image/jpeg", {"Content-Length": "x"})
    most = 0
    process = None
    with twisted(lab, twist):
        process = lab.start()
        while process.poll() is None:
            most = max(most, sum(map(size_now, lab.root.rglob("*.part"))))
    ended = lab.finish(process)
    judge(lab, ended)
    assert most < 32 << 20, f"{most >> 20} MB on disk"


def size_now(path: Path) -> int:
    """Bytes of a file that the run may remove at any time."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_searches_without_end_are_ended(lab):
    def same_page(value: dict) -> None:
        value["assets"]["nextPage"] = "2"
    ended = run(lab, field_of("/search/metadata", same_page))
    judge(lab, ended)

    def one_date(value: dict) -> None:
        same_page(value)
        for item in value["assets"]["items"]:
            item["fileCreatedAt"] = "2021-01-01T00:00:00.000Z"
    ended = run(lab, field_of("/search/metadata", one_date))
    judge(lab, ended)
    assert ended.status == 1


@pytest.mark.parametrize("path", ["/server/ping", "/users/me", "/search/metadata", "/original"])
def test_the_key_follows_no_redirect_to_another_host(lab, path):
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0.05)
        port = elsewhere.getsockname()[1]
        ours = f"http://127.0.0.1:{lab.server.port}"
        for where in (f"http://127.0.0.1:{port}/", f"http://localhost:{lab.server.port}/api/users/me", "http://[",
                      f"//127.0.0.1:{port}", f"{ours}@127.0.0.1:{port}/", f"{ours}\\@127.0.0.1:{port}/",
                      "http://127.0.0.1:99999999/", "file:///etc/passwd", "gopher://x", ""):
            def twist(call: Call, reply: Reply, where: str = where) -> Reply:
                return Reply(302, b"", headers={"Location": where}) if call.path.endswith(path) else reply
            ended = run(lab, twist)
            judge(lab, ended, where)
            assert ended.status or path == "/original", where
            with pytest.raises(TimeoutError):
                elsewhere.accept()


@pytest.mark.parametrize("name, value", [
    ("Content-Range", "bytes 0-9/" + "9" * 5000), ("Content-Range", "bytes " + "9" * 5000 + "-1/2"),
    ("Content-Range", "bytes 5-9/10"), ("ETag", '"' + "x" * 30_000 + '"'), ("ETag", '"../../\xff\x80"'), ("ETag", ""),
    ("Content-Type", "image/jpeg; \x1b[2J"), ("Content-Encoding", "br, zstd, rot13"), ("Content-Encoding", "gzip"),
    ("Retry-After", "nan"), ("Retry-After", "Mon, 01 Jan 0001 00:00:00 GMT"), ("Retry-After", "\xb2")])
@pytest.mark.parametrize("status", [200, 206])
def test_headers_of_any_kind_are_only_headers(lab, name, value, status):
    lab.server.sleep = lambda seconds: None     # type: ignore[method-assign]

    def twist(call: Call, reply: Reply) -> Reply:
        if not call.path.endswith("/original"):
            return reply
        kind = value if name == "Content-Type" else reply.kind
        return Reply(429 if name == "Retry-After" else status, reply.body, kind, {**reply.headers, name: value})
    ended = run(lab, twist)
    judge(lab, ended, value[:40])
    harmless = status == 200 and name != "Retry-After" and value != "gzip"     # what is sent is the whole photo
    assert ended.status == 0 and len(lab.photos) == (4 if harmless else 0), ended.err


def test_hostile_photos_are_staged_or_left_and_nothing_is_drawn_from_them(lab, tmp_path):
    """What the stage reads of a photo is its header."""
    photos = {"huge.png": png(30_000, 30_000), "evil.svg": b"<svg><image href='file:///etc/passwd'/></svg>",
              "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file\n",
              "empty.jpg": b"\xff\xd8", "dots.gif": b"GIF89a\xff\xff\xff\xff\0\0\0",
              "heif.heic": b"\0\0\0\x18ftypheic" + bytes(40)}
    for name, content in photos.items():
        asset = lab.server.add_asset(lab.user, content, name=name, taken="2022-01-01", width=4000, height=4000)
        lab.server.library.add_face(asset, lab.server.face((9, 9, 300, 300), 400, 400))
    ended, memory = measured(lab, lambda call, reply: reply)
    judge(lab, ended)
    assert ended.status == 0 and memory < MOST_MEMORY
    assert json.loads(ended.out)["staged_count"] >= 4


def png(width: int, height: int) -> bytes:
    """A picture of nothing that is small packed: 900 megapixels in 900 KB."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(width // 8 + 1)) for _ in range(height)) + packer.flush()
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
            + chunk(b"IDAT", data) + chunk(b"IEND", b""))
