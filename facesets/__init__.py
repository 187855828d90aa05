"""What the scripts of face-sets share. Imports point one way: scripts -> package, and in it upwards only."""

import importlib.util
import sys

if importlib.util.find_spec("tqdm") is None or importlib.util.find_spec("numpy") is None:
    print("face-sets: this Python lacks the packages; run `bash finalize_immich.sh --setup` once, then "
          "`source .venv/bin/activate`", file=sys.stderr)
    raise SystemExit(78)
