"""kill -9 at any instant, of any process of the chain: then the same command, and nothing shows that it happened."""

import random
import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field

import pytest
from busy import LIMIT
from chain_lab import ROUNDS, SAVE_PHOTOS, SEED, WORKERS, Chain, descendants, kill, wait_until_gone

KILLS = ROUNDS or 10
PER_ROUND = 20 if ROUNDS else 5
ENDED_FROM_OUTSIDE, PAUSED = 1, 2       # what the driver says of a step that was killed; of a step still at work
LANES = 4                               # photos that are in the models' hands at once, at most


@dataclass
class Story:
    """What was done to the chain and what it cost."""

    kills: Counter[str] = field(default_factory=Counter)        # command -> kills
    victims: Counter[str] = field(default_factory=Counter)      # program -> kills
    runs: int = 0
    refused: int = 0                                            # runs that found an orphan at work
    twice: int = 0                                              # photos that were downloaded again


def program(process: int) -> str:
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            words = file.read().decode("utf-8", "replace").split("\0")
    except OSError:
        return "gone"
    found = [re.split(r"[/.]", word)[-2 if word.endswith((".py", ".sh")) else -1] for word in words
             if word.endswith((".py", ".sh")) or word.startswith("facesets.")]
    return found[0] if found else words[0].rpartition("/")[2]


def killed(chain: Chain, command: list[str], name: str, seconds: float, draw: random.Random, story: Story) -> bool:
    """Run `command` and kill one of its processes within `seconds`; False where it had ended by then."""
    saved = chain.embedded()
    process = chain.start(command)
    try:
        process.wait(draw.uniform(0, seconds))
    except subprocess.TimeoutExpired:
        victim = draw.choice(descendants(process.pid))
        what = program(victim)
        if kill(victim):
            story.kills[name] += 1
            story.victims[what] += 1
        if draw.random() < 0.5:     # the operator repeats at once, or after all has ended
            assert not wait_until_gone(process.pid), "an orphan goes on for ever"
        out = process.communicate(timeout=LIMIT)[0] if victim != process.pid else ""
        assert "Traceback" not in out, out
        assert chain.embedded() >= saved, "photos that were saved are saved no more"
        return True
    assert process.communicate()[0] is not None
    return process.returncode != 0


def to_the_end(chain: Chain, command: list[str], story: Story) -> str:
    """The same command until it is done; at most the orphans of a kill may hold it up."""
    end = time.monotonic() + LIMIT
    while True:
        status, out = chain.run(command)
        story.runs += 1
        assert "Traceback" not in out and "(a bug" not in out, out
        if status == 0:
            return out
        assert status == PAUSED and "is at work here" in out, f"status {status}: {out}"
        assert time.monotonic() < end, out
        story.refused += 1
        time.sleep(0.1)


def play(chain: Chain, kills: int, seconds: dict[str, float], draw: random.Random, story: Story) -> None:
    """One chain with `kills` kills, shared among its commands by how long they take."""
    chain.clear()
    commands = chain.commands()
    share = [draw.random() < seconds["stage"] / sum(seconds.values()) + 0.25 for _ in range(kills)]
    for name, command in commands.items():
        here = sum(share) if name == "stage" else kills - sum(share)
        before = story.kills[name]
        for _ in range(here):
            if not killed(chain, command, name, seconds[name], draw, story):
                break
        saved = chain.embedded()
        out = to_the_end(chain, command, story)
        if name == "driver":
            done = re.search(r"(\d+) photos in .*?, (\d+) before", out)
            assert done is None or int(done[2]) >= saved, "photos that were saved were embedded again"
        else:
            again = sum(count - 1 for count in chain.downloads().values())
            threads = 2 * WORKERS       # half of them ask, the others sync, rename and record what they have
            assert again <= (story.kills[name] - before) * threads, "more was downloaded again than was in flight"
            story.twice += again


@pytest.fixture(scope="module")
def calm(chain):
    """The undisturbed chain: what it leaves, and how long its commands take."""
    chain.clear()
    seconds = {}
    for name, command in chain.commands().items():
        started = time.monotonic()
        status, out = chain.run(command)
        assert status == 0, out
        seconds[name] = time.monotonic() - started
    assert chain.stray() == []
    return chain.left(), seconds


def test_a_chain_killed_at_random_instants_ends_like_one_that_was_left_alone(chain, calm):
    left, seconds = calm
    assert sum(path.endswith(".png") for path in left) >= 10, "the chain makes no facesets, so this shows nothing"
    draw, story, number = random.Random(SEED), Story(), 0
    try:
        while sum(story.kills.values()) < KILLS:
            number, before = number + 1, sum(story.kills.values())
            play(chain, min(PER_ROUND, KILLS - before), seconds, draw, story)
            if sum(story.kills.values()) == before:     # all ended first: others are not at work here any more
                seconds = {name: took / 2 for name, took in seconds.items()}
            after = chain.left()
            assert after.keys() == left.keys(), (number, after.keys() ^ left.keys())
            assert [path for path in left if left[path] != after[path]] == [], number
            assert chain.stray() == [], number
    finally:
        print(f"\n{sum(story.kills.values())} kills in {number} chains of {chain.embedded()} photos: "
              f"{dict(story.kills)}, of {dict(story.victims)}; {story.twice} photos downloaded again, "
              f"{story.refused} runs refused while an orphan ended")


def test_a_part_of_the_cache_is_no_larger_than_what_a_kill_may_cost(chain, calm):
    """Killed in the midst of embedding, all but the last part and what is in the lanes is kept."""
    chain.clear()
    commands = chain.commands(driver=False)
    assert chain.run(commands["stage"])[0] == 0
    process = chain.start(commands["embed"], FACESETS_PROGRESS="1")
    assert process.stdout is not None
    seen, text = 0, ""
    while seen < 2 * SAVE_PHOTOS + 1 and (read := process.stdout.read(1)):
        text += read
        found = re.findall(r"(\d+)/\d+ \[", text)
        seen = int(found[-1]) if found else 0
    kill(process.pid)
    process.communicate()
    assert chain.embedded() > seen - SAVE_PHOTOS - LANES
    assert chain.embedded() % SAVE_PHOTOS == 0 and chain.embedded() >= SAVE_PHOTOS
