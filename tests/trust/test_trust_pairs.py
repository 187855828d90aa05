"""Two commands at once, every pair: each ends right or is refused, and what they leave is sound."""

import itertools
import json
import signal
import subprocess
import sys
import time

import pytest
from busy import LIMIT, wait_until
from chain_lab import CHECKOUT, ROUNDS, USER, Chain

COMMANDS = ("stage", "driver", "embed", "cluster", "status", "name", "undo", "extend", "merge", "report", "forget")
PAIRS = [*itertools.combinations_with_replacement(COMMANDS, 2)]
FEW = [("driver", "driver"), ("stage", "embed"), ("undo", "cluster")]
DONE, FAILED, PAUSED = 0, 1, 2


def command_lines(chain: Chain) -> dict[str, list[str]]:
    sort_faces = [sys.executable, str(CHECKOUT / "sort_faces.py")]
    return {**chain.commands(driver=False), "driver": chain.commands()["driver"], "status": [*sort_faces, "status"],
            "name": [*sort_faces, "name", "1", "Ann"], "undo": [*sort_faces, "undo"], "extend": [*sort_faces, "extend"],
            "merge": [*sort_faces, "merge", str(chain.cache), str(chain.cache.with_name("nl_full.npz"))],
            "report": [*sort_faces, "report"], "forget": [*sort_faces, "forget", "1", "--yes"]}


def sound(chain: Chain) -> None:
    """The library agrees with itself and nothing is half done."""
    manifest = json.loads((chain.library / "manifest.json").read_text())
    listed = {entry["folder"] for entry in manifest["facesets"]}
    assert listed == {path.name for path in chain.library.glob("faceset_[0-9][0-9][0-9]")}
    for folder in listed:
        record = json.loads((chain.library / folder / "manifest.json").read_text())
        pictures = {path.name for path in (chain.library / folder).glob("*.png")}
        assert {face["file"] for face in record["faces"]} == pictures
    assert len(json.loads(chain.queue.read_text())["entries"]) > 5
    assert chain.stray() == []


@pytest.fixture(scope="module")
def chain_done(chain):
    chain.clear()
    for command in chain.commands().values():
        status, out = chain.run(command)
        assert status == 0, out
    return chain


@pytest.mark.parametrize("pair", PAIRS if ROUNDS else FEW, ids=lambda pair: "+".join(pair))
def test_two_at_once_end_right_or_are_refused(chain_done, pair):
    chain, lines = chain_done, command_lines(chain_done)
    running = []
    for name in pair:
        running.append(chain.start(lines[name]))
        time.sleep(0.02)
    for name, process in zip(pair, running, strict=True):
        out = process.communicate(timeout=LIMIT)[0]
        assert "Traceback" not in out and "(a bug" not in out, (name, out)
        assert process.returncode in (DONE, PAUSED) or said_why(name, out), (name, process.returncode, out)
        if process.returncode == PAUSED:
            assert "at work here" in out, (name, out)
    for name in ("stage", "driver"):        # the operator's own commands mend whatever was undone or forgotten
        end = time.monotonic() + LIMIT
        while (ended := chain.run(lines[name]))[0] == PAUSED and time.monotonic() < end:
            time.sleep(0.1)
        assert ended[0] == DONE, ended
    sound(chain)


def said_why(name: str, out: str) -> bool:
    """There was nothing to take back, or nobody of that name: an answer, not an accident."""
    return (name in ("undo", "name", "forget", "extend", "merge", "report")
            and sum(line.startswith(("sort_faces: ", "sort_faces.py: ")) for line in out.splitlines()) == 1)


def test_the_pairs_are_real(chain_done):
    """Two stages at once: one does it, the other is told who does."""
    chain, stage = chain_done, command_lines(chain_done)["stage"]
    chain.clear()
    chain.server.faults.add("delay", "*/original", seconds=3)      # the second takes its time to start
    try:
        first = chain.start(stage)
        wait_until(lambda: chain.server.log.find("*/original"), "a download")
        first.send_signal(signal.SIGSTOP)       # or it might be done first
        chain.server.faults.clear()
        status, out = chain.run(stage)
        first.send_signal(signal.SIGCONT)
        assert status == PAUSED and f"immich_stage.py --user {USER} (process {first.pid}" in out, out
        assert first.wait(LIMIT) == DONE
    finally:
        chain.server.faults.clear()
    assert isinstance(first, subprocess.Popen)
