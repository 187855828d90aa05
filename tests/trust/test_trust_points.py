"""Killed before the n-th change of a file: before a few of them, or TRUST_ROUNDS of them, up to every one."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chain_lab import ROUNDS, SEED, USER, Chain

FEW = 4
SCRIPTS = ("immich_stage", "embed_worker", "cluster_immich")
TELLING = {     # the ends of names whose change decides something, of which some are always tried
    "immich_stage": ("queue.json.tmp",),
    "embed_worker": (".npz.tmp",),
    "cluster_immich": (".highest.tmp", "phase.tmp", "clustered.json.tmp")}


class Faulty:
    """faulty.py at work on the roots of `chain`."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("faulty.py")), str(chain.root), str(chain.library)],
            env={**chain.environment, "IMMICH_URL": chain.server.url}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=chain.folder)
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def run(self, script: str, mode: str = "none", at: int = 0) -> tuple[dict[str, Any], str]:
        """How the run ended, and its output."""
        arguments = {"embed_worker": ["--queue", str(self.chain.queue), "--out", str(self.chain.cache)]}
        out = self.chain.folder / "out"
        order = {"script": script, "argv": arguments.get(script, ["--user", USER]), "mode": mode, "at": at,
                 "out": str(out)}
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer, out.read_text(errors="replace")

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(10)


@pytest.fixture(scope="module")
def faulty(chain: Chain) -> Iterator[Faulty]:
    made = Faulty(chain)
    yield made
    made.close()


class Before:
    """What lies there before a script runs, to be restored for every run of it."""

    def __init__(self, chain: Chain, faulty: Faulty, script: str) -> None:
        self.chain, self.copy = chain, chain.folder / "before"
        chain.clear()
        for earlier in SCRIPTS[:SCRIPTS.index(script)]:
            assert faulty.run(earlier)[0]["status"] == 0
        shutil.rmtree(self.copy, ignore_errors=True)
        for folder in (chain.root, chain.library):
            if folder.exists():
                shutil.copytree(folder, self.copy / folder.name)
        answer, out = faulty.run(script, "list")
        assert answer["status"] == 0, out
        self.changes: list[str] = answer["seen"]
        self.left = chain.left()

    def restore(self) -> None:
        self.chain.clear()
        for folder in (self.chain.root, self.chain.library):
            if (self.copy / folder.name).exists():
                shutil.copytree(self.copy / folder.name, folder)

    def points(self, script: str) -> list[int]:
        """Numbers of the changes (from 1) to be tried."""
        every, draw = range(1, len(self.changes) + 1), random.Random(SEED)
        if ROUNDS:
            return draw.sample(every, min(ROUNDS, len(every)))
        telling = [number for number, change in enumerate(self.changes, 1) if change.endswith(TELLING[script])]
        return sorted({*draw.sample(telling, min(FEW, len(telling))), *draw.sample(every, 2)})


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_kill_before_any_change_of_a_file_shows_in_nothing(chain, faulty, script):
    before = Before(chain, faulty, script)
    points = before.points(script)
    done = 0
    try:
        for number in points:
            before.restore()
            answer, _ = faulty.run(script, "kill", number)
            what = before.changes[number - 1]
            assert answer.get("killed") or answer["status"] == 0, (what, answer)    # threads change the order a little
            answer, out = faulty.run(script)
            assert answer["status"] == 0, (what, out)
            assert chain.left() == before.left, what
            assert chain.stray() == [], what
            done += 1
    finally:
        print(f"\n{script}: {done} kills, each before one of {len(before.changes)} changes of files")
