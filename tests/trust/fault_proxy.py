"""A TCP proxy that harms connections by a plan that a seed makes: what lies between an operator and a home server.

kind        what happens to a connection, from some byte of what the server sends
refuse      it is reset before anything passes
drop        it is reset
truncate    it ends in order
swallow     nothing comes any more
delay       silence for a while
trickle     the next two hundred bytes come one by one
cut         the request is cut, so the server sees half of it
flip        one bit is another       \
duplicate   some bytes come twice     > only under TLS, which notices: plain HTTP has nothing to notice it by
reorder     two pieces change places /
"""

import random
import socket
import struct
import threading
import time

from busy import LIMIT

PLAIN = ("refuse", "drop", "truncate", "swallow", "delay", "trickle", "cut")
UNDER_TLS = (*PLAIN, "flip", "duplicate", "reorder")
HARM = (0.05, 0.2, 0.5, 1.0)        # shares of connections that are harmed; one is chosen per plan


class FaultProxy:
    """`with FaultProxy(port, seed, tls, patience) as proxy:` listens on 127.0.0.1:`proxy.port`, passes on to `port`.

    patience     seconds that the client waits; a delay takes up to half as much again
    """

    def __init__(self, target: int, seed: str, tls: bool, patience: float) -> None:
        self.patience = patience
        self.target, self.seed, self.kinds = target, seed, UNDER_TLS if tls else PLAIN
        self.share = random.Random(seed).choice(HARM)
        self.harmed: list[str] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()

    def __enter__(self) -> "FaultProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            _end(one, reset=True)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            draw = random.Random(f"{self.seed}/{self.connections}")
            kind = draw.choice(self.kinds) if draw.random() < self.share else ""
            if kind:
                self.harmed.append(kind)
            if kind == "refuse":
                _end(client, reset=True)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target), LIMIT)
            except OSError:
                _end(client, reset=True)
                continue
            self._open |= {client, server}
            at = int(10 ** draw.uniform(0, 4.5))
            up = (client, server, "cut", at % 700) if kind == "cut" else (client, server, "", 0)
            down = (server, client, "" if kind == "cut" else kind, at)
            for way in (up, down):
                threading.Thread(target=self._relay, args=(*way, random.Random(draw.random())), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, kind: str, at: int, draw: random.Random) -> None:
        passed = 0
        try:
            while data := source.recv(8192):
                if kind and passed + len(data) > at:
                    harmed = self._harm(kind, data, at - passed, target, draw)
                    if harmed is None:
                        return
                    data, kind = harmed, ""
                else:
                    passed += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            _end(source)
            _end(target)
        finally:
            self._open.discard(source)

    def _harm(self, kind: str, data: bytes, at: int, target: socket.socket, draw: random.Random) -> bytes | None:
        """What is sent instead of `data`, of which `at` bytes are still well; None where the connection is over."""
        head, tail = data[:max(at, 0)], data[max(at, 0):]
        if kind in ("drop", "truncate", "cut"):
            target.sendall(head)
            time.sleep(0.005)
            _end(target, reset=kind == "drop")
            return None
        if kind == "swallow":
            target.sendall(head)
            self._closing.wait(10 * self.patience)
            return None
        if kind == "delay":
            target.sendall(head)
            self._closing.wait(draw.uniform(0, 1.5 * self.patience))
            return tail
        if kind == "trickle":
            target.sendall(head)
            for place in range(min(200, len(tail))):
                target.sendall(tail[place:place + 1])
                self._closing.wait(0.001)
            return tail[200:]
        if kind == "flip":
            return head + bytes([tail[0] ^ 1 << draw.randrange(8)]) + tail[1:]
        if kind == "duplicate":
            return data + tail[:draw.randint(1, len(tail))]
        return tail + head if head else tail[1:] + tail[:1]


def _end(connection: socket.socket, reset: bool = False) -> None:
    try:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    except OSError:
        pass
