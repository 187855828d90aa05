"""Scripts that are run with a fault at the n-th change of a file (faulty.py), from the same start every time."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from busy import LIMIT
from chain_lab import USER, Chain

SCRIPTS = ("immich_stage", "embed_worker", "cluster_immich")


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
        self.process.wait(LIMIT)


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
