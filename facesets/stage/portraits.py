"""Immich's pictures of people, where the key may have them: in the report one sees who is there before any photo is.

What the server sends is decoded within limits and written anew, small; a picture that does not come is not shown.
"""

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..common.errors import NotAllowed
from ..formats.summary import SHOWN, Person
from ..immich import allowed
from ..immich.client import Client, Rejected, Transient
from ..immich.preflight import Server

PERMISSION = "person.read"
SIDE, QUALITY = 96, 80      # pixels and of 100, of what is kept; Immich's have 250
MOST_BYTES, MOST_PIXELS = 1 << 20, 1 << 20
PATIENCE = 20.0             # seconds for all of them: the downloads wait
SILENCE = 5.0               # seconds that one may keep us waiting for its next byte
FAILURES = 3                # in a row; after them no more are asked for


def given(client: Client, server: Server, people: Sequence[Person],
          clock: Callable[[], float] = time.monotonic) -> tuple[Person, ...]:
    """The people, those who are shown with a picture."""
    end, failures, shown = clock() + PATIENCE, 0, list(people)
    brief = Client(replace(client.access, connect_timeout=SILENCE, read_timeout=SILENCE), client.breaker, client.stop)
    brief.counts = client.counts
    for place, person in enumerate(shown[:SHOWN] if server.may(PERMISSION) else ()):
        if failures == FAILURES or clock() > end:
            break
        if allowed.ID.fullmatch(f"/{person.immich}"):
            try:
                shown[place] = replace(person, picture=_small(_thumbnail(brief, person.immich, lambda: clock() > end)))
                failures = 0
            except NotAllowed:
                break
            except Rejected:
                pass
            except Transient as error:      # one who has no picture is a 404
                failures = FAILURES if error.retry_after else failures + 1
    return tuple(shown)


def _thumbnail(client: Client, person: str, late: Callable[[], bool]) -> bytes:
    data = b""
    with client.open("GET", f"/people/{person}/thumbnail") as answer:
        for piece in client.chunks(answer, MOST_BYTES):
            data += piece
            if late():
                raise Transient("it comes too slowly")
    return data


def _small(data: bytes) -> str:
    """The middle square of a picture as a JPEG in base64, "" where it is none."""
    import cv2  # heavy, and few runs have a backup

    from ..embed import decode
    try:
        bgr = decode.decode(data, MOST_PIXELS)
    except decode.Unreadable:
        return ""
    side = min(bgr.shape[:2])
    y, x = ((whole - side) // 2 for whole in bgr.shape[:2])
    small = cv2.resize(bgr[y:y + side, x:x + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()).decode()
