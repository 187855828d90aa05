"""Print what every fault did to a stage run, as a markdown table: what the server saw, what lay on disk, how it ended.

Run     python benchmarks/stage_faults.py [PART OF A NAME]
Exit    0 every fault ended as it must and the repeated command made up for it · 1 one did not
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/stage")]

from stage_faults import SCENARIOS, play  # noqa: E402

from facesets.common import terminal  # noqa: E402


def words(asked: Counter[str]) -> str:
    return " ".join(f"{name} {count}" for name, count in sorted(asked.items())) or "nothing"


@terminal.script
def main(argv: Sequence[str] | None = None) -> int:
    parser = terminal.Parser(__doc__, prog="stage_faults.py")
    parser.add_argument("part", nargs="?", default="", help="only faults whose name holds this")
    args = parser.parse_args(argv)
    print("| fault | the server saw | on disk: photos, parts, queue | exit | repeated: the server saw | exit | "
          "queue.json as undisturbed |\n|---|---|---|---|---|---|---|")
    wrong = 0
    for scenario in SCENARIOS:
        if args.part not in scenario.name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            row = play(scenario, Path(folder))
        wrong += row.status != scenario.status or not row.same
        print(f"| {row.name} | {words(row.asked)}; {row.hit} disturbed | {row.photos}, {row.parts}, "
              f"{'yes' if row.queue else 'no'} | {row.status} | {words(row.again_asked)} | {row.again} | "
              f"{'same' if row.same else 'DIFFERS'} |", flush=True)
    print(f"\n{wrong} did not end as they must")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
