"""Killed before the n-th change of a file: before a few of them, or TRUST_ROUNDS of them, up to every one."""

import random

import pytest
from chain_lab import ROUNDS, SEED
from fault_lab import SCRIPTS, Before

FEW = 3
TELLING = {     # the ends of names whose change decides something, of which some are always tried
    "immich_stage": ("queue.json.tmp",),
    "embed_worker": (".npz.tmp",),
    "cluster_immich": (".highest.tmp", "phase.tmp", "clustered.json.tmp")}


def points(before: Before, script: str) -> list[int]:
    """Numbers of the changes (from 1) to be tried."""
    every, draw = range(1, len(before.changes) + 1), random.Random(SEED)
    if ROUNDS:
        return draw.sample(every, min(ROUNDS, len(every)))
    telling = [number for number, change in enumerate(before.changes, 1) if change.endswith(TELLING[script])]
    return sorted({*draw.sample(telling, min(FEW, len(telling))), *draw.sample(every, 1)})


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_kill_before_any_change_of_a_file_shows_in_nothing(chain, faulty, script):
    before = Before(chain, faulty, script)
    done = 0
    try:
        for number in points(before, script):
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
