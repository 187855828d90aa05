"""Face boxes where the search does not carry them (3.x): one stream for a login, else one request an asset."""

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

from ..common.errors import Failure
from .client import WRONG_SHAPE, Client, Rejected, Transient, needed, understanding

BATCH = 1000                    # rows given at once
LONGEST_LINE = 1 << 20          # bytes; a row has some hundred
KINDS = {"PersonV1": "person", "AssetFaceV2": "face", "AssetFaceV3": "face"}   # the rows of both faces have one shape
IDS = {"person": ("id",), "face": ("id", "assetId")}
Rows = list[tuple[str, dict[str, Any]]]


@understanding("the stream of faces")
def stream(client: Client, version: tuple[int, int, int], take: Callable[[Rows], None]) -> None:
    """Give every "person" and every "face" of the library to `take`, each with its row, in batches; some twice, where
    the stream was cut off and begins again. Needs a login.
    """
    with needed(f"{client.access.url} does not stream the faces"):
        if version >= (3, 3, 0):        # it deprecates V2, so that some day that goes
            with contextlib.suppress(Rejected):
                return client.retrying(lambda: _receive(client, "AssetFacesV3", take), 3)
        client.retrying(lambda: _receive(client, "AssetFacesV2", take), 3)


@understanding("/faces")
def of_asset(client: Client, asset_id: str) -> list[dict[str, Any]]:
    """The faces of one asset. Raises Transient and Rejected."""
    found = client.get("/faces", id=asset_id)
    if not isinstance(found, list):
        raise Failure("/faces answers unlike any Immich that we know; is a proxy in between?")
    return [face for face in found if isinstance(face, dict)]


def _receive(client: Client, faces: str, take: Callable[[Rows], None]) -> None:
    """One attempt at the whole stream; a stream without its last line was cut off."""
    complete = False
    with client.open("POST", "/sync/stream", {"types": ["PeopleV1", faces]}) as answer:
        rows = map(_row, _lines(client.chunks(answer)))
        while batch := list(itertools.islice(rows, BATCH)):
            take([row for row in batch if row[0] in IDS])
            complete |= any(kind == "SyncCompleteV1" for kind, _ in batch)
    if not complete:
        raise Transient("the stream of faces was cut off")


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a body; one that does not end is damage, which must not fill the memory."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        if len(rest) > LONGEST_LINE:
            raise Transient("the stream of faces has a line without end")
    yield rest


def _row(line: bytes) -> tuple[str, dict[str, Any]]:
    """Kind (or type, where it is of no use) and row of one line; ("", {}) of an empty one."""
    if not line.strip():
        return "", {}
    try:
        event = json.loads(line)
        kind, row = KINDS.get(event["type"], event["type"]), event["data"]
        if kind in IDS and not all(isinstance(row[name], str) for name in IDS[kind]):
            raise ValueError("an id is no text")
        return kind, row
    except (RecursionError, *WRONG_SHAPE):
        raise Transient("the stream of faces is damaged") from None
