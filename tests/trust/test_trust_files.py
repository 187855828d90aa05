"""Files that somebody else wrote: an error in words, never execution, never a traceback, never much memory."""

import functools
import io
import json
import os
import pickle
import random
import resource
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from chain_lab import ROUNDS, SEED
from hostile import BODIES, JUNK, mutate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parsers import PARSERS, array, attempt, members_of, npz, sound, text

EXAMPLES = 20 * ROUNDS or 30
CORPUS = Path(__file__).with_name("corpus")
JSON = [name for name, parser in PARSERS.items() if parser.file.endswith(".json")]
NPZ = [name for name, parser in PARSERS.items() if parser.file.endswith(".npz")]
EXAMPLE = settings(max_examples=EXAMPLES, deadline=None, derandomize=not ROUNDS, database=None,
                   suppress_health_check=[HealthCheck.function_scoped_fixture])


class Payload:
    """What a pickle would do."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.canary),)


@pytest.mark.parametrize("name", PARSERS)
def test_a_sound_file_is_read(name, tmp_path):
    assert attempt(name, tmp_path, sound(name, tmp_path)) == "read"


@pytest.mark.parametrize("name", PARSERS)
@EXAMPLE
@given(data=st.data())
def test_damaged_bytes_are_an_error_in_words(name, tmp_path, data):
    whole = bytearray(sound(name, tmp_path))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole)))
        match data.draw(st.sampled_from(["cut", "flip", "put in", "take out", "double"])):
            case "cut":
                del whole[at:]
            case "flip" if at < len(whole):
                whole[at] ^= 1 << data.draw(st.integers(0, 7))
            case "put in":
                whole[at:at] = data.draw(st.binary(max_size=20))
            case "take out":
                del whole[at:at + data.draw(st.integers(1, 40))]
            case _:
                whole[at:at] = whole[:at]
    attempt(name, tmp_path, bytes(whole))


@pytest.mark.parametrize("name", PARSERS)
@EXAMPLE
@given(data=st.binary(max_size=200))
def test_any_bytes_are_an_error_in_words(name, tmp_path, data):
    read = attempt(name, tmp_path, data) == "read"
    # another program's file, of which only what can be used is taken; and two that may hold nothing
    assert read == (name == "visomaster") or name in ("users", "env")


@pytest.mark.parametrize("name", JSON)
def test_mutated_json_is_read_or_an_error_in_words(name, tmp_path):
    ends: Counter[str] = Counter()
    true = sound(name, tmp_path)
    for number in range(EXAMPLES * 4):
        draw, value = random.Random(f"{SEED}-{number}"), json.loads(true)
        for _ in range(draw.choice((1, 1, 2, 5))):
            value = mutate(value, draw)
        data = json.dumps(value).encode("utf-8", "surrogatepass")
        ends["read" if attempt(name, tmp_path, data) == "read" else "refused"] += 1
    assert ends["refused"] or name == "visomaster", ends


@pytest.mark.parametrize("name", JSON)
def test_json_of_any_kind_is_an_error_in_words(name, tmp_path):
    for body in BODIES.values():
        assert attempt(name, tmp_path, body) != "read" or name in ("users", "visomaster")


@pytest.mark.parametrize("name, places", [
    ("plan", [("takes", 0), ("puts", None), ("puts", "b"), ("files", None)]),
    ("record", [("folder",), ("faces", 0, "file"), ("top", None), ("files", None)]),
    ("manifest", [("facesets", 0, "folder")])])
def test_a_path_in_a_file_leads_nowhere_else(name, places, tmp_path):
    """What lies in a library that was copied from somebody must not move files of ours."""
    true = sound(name, tmp_path)
    for place in places:
        for path in ("../../outside", "/etc/passwd", "a/../../b", ".."):
            value = json.loads(true)
            inner = value
            for step in place[:-1]:
                inner = inner[step]
            if place[-1] is not None:
                inner[place[-1]] = path
            elif isinstance(inner, list):
                inner.append(path)
            else:
                inner[path] = "0" * 64
            assert attempt(name, tmp_path, json.dumps(value).encode()) != "read", (place, path)


@pytest.mark.parametrize("name", NPZ)
def test_damaged_members_are_an_error_in_words(name, tmp_path):
    true = members_of(sound(name, tmp_path))
    canary = tmp_path / "executed"
    pickled = pickle.dumps(Payload(canary))
    objects = np.array([Payload(canary)], dtype=object)
    wrong = {
        "a pickle": pickled, "an array of objects": array(objects, pickled=True), "nothing": b"",
        "no array": b"PK\3\4", "two numbers": array(np.zeros(2)),
        "no number": array(np.full((4, 4), np.nan, np.float32)),
        "integers": array(np.zeros((4, 4), np.int64)), "no rows": array(np.zeros((0, 0), np.float32)),
        "complex": array(np.zeros(4, np.complex128)), "bytes": array(np.zeros(9, "S64")), "text": array(np.array("x")),
        "dates": array(np.zeros(4, "M8[s]")), "negative": array(np.full(4, -1, np.int32)),
        "a huge shape": b"\x93NUMPY\1\0v\0" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }"
                        .ljust(117) + b"\n",
        "a huge type": b"\x93NUMPY\1\0v\0" + b"{'descr': '|S2147483647', 'fortran_order': False, 'shape': (), }"
                       .ljust(117) + b"\n",
        "a long header": b"\x93NUMPY\2\0\xff\xff\xff\x7f" + b"{" * 70_000,
        "a header that calls": b"\x93NUMPY\1\0v\0" + b"__import__('os').mkdir('executed')".ljust(117) + b"\n",
        "lists in lists": text(0)[:0] + array(np.frombuffer(b"[" * 100_000, np.uint8)),
        "numbers for text": text({"sha256": 7}), "a list": text([]), "null": text(None)}
    for member in true:
        for kind, data in wrong.items():
            said = attempt(name, tmp_path, npz({**true, member: data}))
            assert said != "read" or member[:-4] not in ("embeddings", "norms", "meta", "model", "photos") or \
                name in ("cache-processed", "cache-model", "cache-paths"), (member, kind)
            assert not canary.exists() and not Path("executed").exists(), (member, kind)
        assert attempt(name, tmp_path, npz({other: data for other, data in true.items() if other != member})) or True
    for junk in JUNK:
        for member in ("photos.npy", "model.npy", "immich.npy", "path_aliases.npy"):
            attempt(name, tmp_path, npz({**true, member: text(junk)}))
    attempt(name, tmp_path, pickled)
    assert not canary.exists()


@functools.cache
def zeros(member: str) -> bytes:
    """400 MB of nothing, packed."""
    return npz({member: array(np.zeros(100_000_000, np.float32))}, zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize("name", NPZ)
def test_a_small_file_that_unpacks_to_much_is_refused(name, tmp_path):
    """Our members are stored as they are; a packed one of 400 KB could fill any memory."""
    true = members_of(sound(name, tmp_path))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for member in ("processed.npy", "photos.npy", "model.npy", "embeddings.npy") if ROUNDS else ("photos.npy",):
        small = io.BytesIO(zeros(member))
        with zipfile.ZipFile(small, "a") as archive:
            for other, data in true.items():
                if other != member:
                    archive.writestr(other, data)
        assert len(small.getvalue()) < 1 << 20
        assert "is not" in attempt(name, tmp_path, small.getvalue())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1_300_000, f"{grown >> 10} MB"       # the zeros themselves are 400 MB, twice while they are packed


def test_texts_of_no_bytes_are_not_counted_one_by_one(tmp_path):
    """300 million of them are 2 GB in memory, and none in the file."""
    none = io.BytesIO()
    np.lib.format.write_array_header_1_0(none, {"descr": "|S0", "fortran_order": False, "shape": (300_000_000,)})
    true = members_of(sound("cache-processed", tmp_path))
    assert "no SHA-256s" in attempt("cache-processed", tmp_path, npz({**true, "processed.npy": none.getvalue()}))


@pytest.mark.parametrize("name", PARSERS)
def test_what_was_found_once_stays_mended(name, tmp_path):
    """Inputs that broke a parser, or that the coverage-guided run (fuzz.py) kept: each parser meets those of all."""
    kept = sorted(CORPUS.glob("*/*"))
    assert kept
    for path in kept:
        assert attempt(name, tmp_path, path.read_bytes()), path
