"""How many requests a date shared by many assets takes for each thousand, by how their times of change lie.

A simulation of the search, without a server: the page that showed that there are too many and the samples count too.

Run     python benchmarks/stage_slices.py [--assets 20000 50000] [--seeds 4]
Exit    0 nothing was lost, in at most three requests for each thousand · 1 else
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/stage")]

from test_stage_slices import swept  # noqa: E402

from facesets.common import terminal  # noqa: E402
from facesets.immich.listing import PAGE  # noqa: E402

KINDS = (("even", "equal"), ("uniform", "uniform"), ("bursts", "uniform"), ("rates", "rates"),
         ("log-normal", "log-normal"), ("sessions", "sessions"), ("small bursts", "small bursts"))


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    parser = terminal.Parser(__doc__, prog="stage_slices.py")
    parser.add_argument("--assets", type=int, nargs="+", default=[20_000, 50_000])
    parser.add_argument("--seeds", type=int, default=4)
    args = parser.parse_args(argv)
    failed = 0
    print("| updated | created |" + "".join(f" {count}: least, mean, most |" for count in args.assets))
    print("|---|---|" + "---|" * len(args.assets))
    for kinds in KINDS:
        cells = []
        for count in args.assets:
            walks = [swept(count, *kinds, order, seed) for order in ("any", "as written") for seed in range(args.seeds)]
            share = [requests / math.ceil(count / PAGE) for _, requests in walks]
            failed += any(len(ids) < count for ids, _ in walks) or max(share) > 3
            cells.append(f" {min(share):.2f}, {sum(share) / len(share):.2f}, {max(share):.2f} |")
        print(f"| {kinds[0]} | {kinds[1]} |" + "".join(cells), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
