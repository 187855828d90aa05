"""A server that lies: true replies, twisted. Nothing here is random but by a seed."""

import copy
import json
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from stage_lab import Lab

from facesets.fake_immich.protocol import Call, Reply

DEEP = 1_000_000
LONG = "A" * 1_000_000
NAMES = (
    "../../../../outside/evil.jpg", "/outside/evil.jpg", "a\0b.jpg", "two\nlines.jpg", "\x1b]0;title\x07\x1b[2J.jpg",
    "<script>alert(1)</script>.jpg", "photo\u202egpj.exe", LONG + ".jpg", "CON.jpg", "..", ".", "",
    "C:\\Windows\\x.jpg",
    "\ud800.jpg", "-rf", "x.jpg:stream", " trailing. ", "a/../../b.jpg", "\r\x9b31m.jpg", "%00%2e%2e%2f.jpg",
    "$(id).jpg")
JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 10 ** 30, -10 ** 30, 1e308, float("nan"), float("inf"), "", "x", LONG, "\x1b[2J\u202e\0", [], {},
    [None], [[[]]], {"": None}, "9999-99-99T99:99:99.999Z", "0000-00-00T00:00:00.000Z", "2021-01-01", "../../x", 0.5)
BODIES = {
    "a million lists": b"[" * DEEP, "a million objects": b'{"a":' * DEEP, "nothing": b"", "null": b"null",
    "a list": b"[]", "a number": b"7", "a text": b'"x"', "an object": b"{}", "half": b'{"assets": {"items": [',
    "no UTF-8": b"\xff\xfe\0",
    "a list of nulls": b"[null, null]", "digits": b"1" * 100_000, "a long text": b'"' + LONG.encode() + b'"'}

Twist = Callable[[Call, Reply], Reply]


@contextmanager
def twisted(lab: Lab, twist: Twist) -> Iterator[None]:
    """The server of `lab` answers through `twist`."""
    true = lab.server.route

    def route(call: Call) -> Reply:
        return twist(call, true(call))

    lab.server.route = route    # type: ignore[method-assign]
    try:
        yield
    finally:
        del lab.server.route    # type: ignore[method-assign]


def body_of(path: str, body: bytes) -> Twist:
    """Answer `body` to requests whose path ends so."""
    def twist(call: Call, reply: Reply) -> Reply:
        return Reply(200, body) if call.path.endswith(path) else reply
    return twist


def field_of(path: str, change: Callable[[Any], object]) -> Twist:
    """Change the JSON of replies to requests whose path ends so, in place."""
    def twist(call: Call, reply: Reply) -> Reply:
        if not call.path.endswith(path) or reply.status != 200:
            return reply
        value = json.loads(reply.body)
        change(value)
        return Reply(200, json.dumps(value).encode("utf-8", "surrogatepass"))
    return twist


def items(change: Callable[[dict[str, Any]], object]) -> Twist:
    """Change every asset that a search shows."""
    def each(value: Any) -> None:
        for item in value["assets"]["items"]:
            change(item)
    return field_of("/search/metadata", each)


def mutated(seed: str, share: float = 0.5) -> Twist:
    """Replace, drop or add a few nodes of the JSON in a part of the replies."""
    draw = random.Random(seed)

    def twist(call: Call, reply: Reply) -> Reply:
        if not reply.kind.startswith("application/json") or reply.status != 200 or draw.random() > share:
            return reply
        value = json.loads(reply.body)
        for _ in range(draw.choice((1, 1, 1, 2, 8))):
            value = mutate(value, draw)
        return Reply(200, json.dumps(value).encode("utf-8", "surrogatepass"))
    return twist


def mutate(value: Any, draw: random.Random) -> Any:
    """`value` with one node changed."""
    if isinstance(value, (dict, list)) and value and draw.random() < 0.93:
        place: Any = draw.choice(list(value)) if isinstance(value, dict) else draw.randrange(len(value))
        what = draw.random()
        if what < 0.08:
            del value[place]
        elif what < 0.12 and isinstance(value, dict):
            value[draw.choice(("id", "message", "__proto__", "\0"))] = copy.deepcopy(draw.choice(JUNK))
        elif what < 0.16 and isinstance(value, list):
            value.append(copy.deepcopy(value[place]))
        else:
            value[place] = mutate(value[place], draw)
        return value
    return copy.deepcopy(draw.choice(JUNK))


def bomb(times: int, layers: int = 1) -> bytes:
    """gzip of `times` MB of zeros, packed again `layers` - 1 times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(times)) + packer.flush()
    for _ in range(layers - 1):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        data = packer.compress(data) + packer.flush()
    return data
