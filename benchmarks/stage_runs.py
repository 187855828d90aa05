"""Requests of a first run, of one that follows at once, and of one after ten changes, by version and by key or login.

The changes: three new photos, three names given, two faces of somebody known on staged photos, a first face on a photo
without any, a photo deleted. The library is made up: 5 % videos, 45 % with faces, a block of one date.

Run     python benchmarks/stage_runs.py [--assets 2000]
Exit    0 every change arrived in queue.json · 1 one did not
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/stage")]

from immich_lab.library_bulk import FRAME, fill  # noqa: E402
from stage_lab import NEEDED, Lab, laboratory, photo  # noqa: E402

from facesets.common import terminal  # noqa: E402

WAYS = (((2, 7, 2), False), ((3, 1, 0), False), ((3, 1, 0), True), ((3, 2, 2), False), ((3, 2, 2), True))
KINDS = {"metadata": "listing", "random": "listing", "buckets": "gate", "bucket": "gate", "statistics": "gate",
         "faces": "faces", "stream": "stream", "original": "photos", "thumbnail": "photos"}


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    parser = terminal.Parser(__doc__, prog="stage_runs.py")
    parser.add_argument("--assets", type=int, default=2000)
    args = parser.parse_args(argv)
    print("| version | by | run | listing | gate | faces | stream | photos | other | all | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    arrived = [measured(version, login, args.assets) for version, login in WAYS]
    return 0 if all(arrived) else 1


def measured(version: tuple[int, int, int], login: bool, assets: int) -> bool:
    """Print the rows of one way; did every change arrive?"""
    def made_up(lab: Lab) -> None:
        fill(lab.server.library, lab.user, assets, photos=[photo(number) for number in range(20)])
    with tempfile.TemporaryDirectory() as folder, laboratory(Path(folder), version, made_up) as lab:
        lab.key = lab.server.add_key(lab.user, (*NEEDED, "asset.statistics"))
        lab.extra["FACESETS_READ_TIMEOUT"] = "60"
        if login:
            lab.extra |= {"IMMICH_EMAIL": lab.user.email, "IMMICH_PASSWORD": lab.user.password, "IMMICH_API_KEY": ""}
        for run in ("first", "again", "after ten changes"):
            wanted = change(lab) if run.startswith("after") else set()
            lab.server.log.clear()
            ended = lab.stage()
            assert ended.status == 0, ended.err
            asked = Counter(KINDS.get(one.path.rsplit("/", 1)[-1], "other") for one in lab.server.log)
            columns = [asked[kind] for kind in ("listing", "gate", "faces", "stream", "photos", "other")]
            print(f"| {'.'.join(map(str, version))} | {'login' if login else 'key'} | {run} | "
                  f"{' | '.join(map(str, columns))} | {asked.total()} | {ended.summary['elapsed']:.1f} |", flush=True)
        seen = {(entry["asset_id"], face["person_name"]) for entry in lab.entries() for face in entry["faces"]}
        return wanted <= seen


def change(lab: Lab) -> set[tuple[str, str]]:
    """Ten changes on the server, and the (asset, name) pairs that the queue has to show for them."""
    library, staged = lab.server.library, [entry["asset_id"] for entry in lab.entries()]
    nameless = [person for person in library.people.values() if not person.name][:3]
    wanted: set[tuple[str, str]] = set()
    for number, person in enumerate(nameless):
        person.name = f"Named {number}"
        wanted |= {(one, person.name) for one in staged for face in library.assets[one].faces if face.person is person}
    bare = next(asset for asset in library.assets.values() if not asset.faces and asset.type == "IMAGE")
    for asset in (library.assets[staged[0]], library.assets[staged[1]], bare):
        anna = library.add_person(lab.user, f"Anna {asset.id[:4]}")
        lab.server.library.add_face(asset, lab.server.face((10, 10, 300, 300), *FRAME, anna))
        wanted.add((asset.id, anna.name))
    lab.server.delete_asset(library.assets[staged[2]])
    lab.add(3)
    return {pair for pair in wanted if pair[0] != staged[2]}


if __name__ == "__main__":
    sys.exit(main())
