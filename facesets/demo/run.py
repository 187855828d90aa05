"""The demo: the whole chain over a small sample library, served by a local server that speaks Immich's protocol.

Run     bash finalize_immich.sh --demo, or python -m facesets.demo.run when the environment is there
Writes  work/demo/ and nothing else; `rm -r work/demo` leaves no trace. Every photo is a variation of one of seven
        portraits, see facesets/demo/credits.md. A second run finds nothing to do.
Exit    0 done, else the status of the step that stopped
"""

import hashlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..common import files, terminal
from ..embed import packs
from ..fake_immich.server import ImmichServer
from . import sample_library

CHECKOUT = Path(__file__).resolve().parents[2]
CREDITS = Path(__file__).resolve().with_name("credits.md")
MODEL = "opencv_zoo"
USER = "demo"


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    parser = terminal.Parser(__doc__, prog="python -m facesets.demo.run")
    parser.add_argument("--root", type=Path, default=CHECKOUT / "work" / "demo", metavar="DIR",
                        help="folder of everything that the demo writes (default work/demo)")
    root = parser.parse_args(argv).root.absolute()
    terminal.stop_on_terminate()
    with files.only_one(files.private_folder(root) / "demo.lock", "the demo"):
        return demo(root)


def demo(root: Path) -> int:
    """Build, serve, run the steps, and say what came out."""
    began = time.monotonic()
    sample = root / "sample"
    if not (sample / "library.json").is_file():
        terminal.say("building the sample library out of seven portraits")
        os.environ["PIP_NO_CACHE_DIR"] = "1"    # pip would keep the downloads outside of `root`
        detector = packs.open_pack(MODEL, root / "models").detector.path
        sample_library.build(sample, detector, root / "archive")
    before = results(root)
    with _server(root) as server:
        environment = settings(root, server.url, sample_library.serve(sample, server.library))
        terminal.say(f"serving {len(server.library.assets)} items at {server.url}")
        for step in steps(root, sample):
            status = run(step, environment)
            if status:
                terminal.say(f"demo: {Path(step[0]).name} stopped with status {status}; bash finalize_immich.sh --demo "
                             "goes on")
                return status
    tell(root, before, time.monotonic() - began)
    return 0


def steps(root: Path, sample: Path) -> list[list[str]]:
    """The command lines of the chain, as an operator would type them."""
    chain = [["immich_stage.py", "--user", USER],
             ["embed_worker.py", "--queue", str(root / "immich" / USER / "queue.json"),
              "--out", str(root / "cache" / f"immich_{USER}.npz")],
             ["cluster_immich.py", "--user", USER], ["sort_faces.py", "extend"]]
    if not (root / "facesets_swap_ready" / "manifest.json").exists():
        chain = [["sort_faces.py", "import-folders", str(sample / "known")], *chain,
                 ["sort_faces.py", "consolidate", "3", "6"]]    # a slip, for the review to find
    return [*chain, ["sort_faces.py", "report"]]


def settings(root: Path, url: str, key: str) -> dict[str, str]:
    """The environment of the steps: nothing of the operator's own settings, everything below `root`."""
    own = {name: value for name, value in os.environ.items()
           if not name.startswith(("FACESETS_", "IMMICH_")) or name == "FACESETS_DEBUG"}
    return {**own, "IMMICH_URL": url, "IMMICH_API_KEY": key, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
            "FACESETS_ENV_FILE": str(root / ".env"), "FACESETS_DATA_ROOT": str(root),
            "FACESETS_LIBRARY": str(root / "facesets_swap_ready"),
            "STAGE_DIR": str(root / "stage"), "FACESETS_MODEL": MODEL, "FACESETS_MODELS_DIR": str(root / "models"),
            "FACESETS_PROVIDER": "cpu"}


def run(step: Sequence[str], environment: Mapping[str, str]) -> int:
    """One script as a process of its own; its status."""
    terminal.say(f"\n$ python {shlex.join(step)}")
    return subprocess.run([sys.executable, str(CHECKOUT / step[0]), *step[1:]], env=dict(environment), cwd=CHECKOUT,
                          check=False).returncode


def results(root: Path) -> dict[str, str]:
    """A digest of what each step left; equal before and after means that it added nothing."""
    left = {"stage": root / "immich" / USER / "queue.json", "embed": root / "cache" / f"immich_{USER}.npz",
            "cluster": root / "facesets_swap_ready" / "manifest.json"}
    return {step: hashlib.sha256(path.read_bytes()).hexdigest() for step, path in left.items() if path.is_file()}


def tell(root: Path, before: Mapping[str, str], seconds: float) -> None:
    """The last words: what changed, and where to look."""
    after = results(root)
    if before == after:
        terminal.say(f"\nnothing to do: staging, embedding and clustering added nothing ({seconds:.0f} s)")
    else:
        terminal.say(f"\ndone in {seconds:.0f} s")
    library = root / "facesets_swap_ready"
    for folder in sorted(library.glob("faceset_*")):
        name = next((file.read_text(encoding="utf-8").strip() for file in folder.glob("NAME.txt")), "")
        terminal.answer(f"{folder}  {len(list(folder.glob('[0-9]*.png')))} faces  {terminal.safe(name)}")
    for path in (library / "index.html", library / "manifest.json"):
        if path.is_file():
            terminal.answer(str(path))
    terminal.answer(f"{CREDITS}  whose photographs these are")


def _server(root: Path) -> ImmichServer:
    """On the port of the first run, so that the second is the same to the scripts; on another if that is taken."""
    remembered = root / "port"
    port = int(remembered.read_text()) if remembered.is_file() else 0
    try:
        server = ImmichServer(port=port)
        server.up()
    except OSError:
        server = ImmichServer()
        server.up()
    files.write_bytes(remembered, str(server.port).encode())
    return server


if __name__ == "__main__":
    sys.exit(main())
