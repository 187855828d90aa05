"""Every figure that is claimed comes out of benchmarks/, so each of them must still begin."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from busy import LIMIT

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
# Each in a fork of a Python that has of foreign packages what takes long to import, and of ours nothing.
LOOK_AT = """
import json, os, runpy, sys
import cv2, onnxruntime, requests, scipy.sparse, sklearn.cluster
folder, out, *scripts = sys.argv[1:]
statuses = {}
for script in scripts:
    if (child := os.fork()) == 0:
        os.dup2(os.open(os.path.join(out, os.path.basename(script)), os.O_WRONLY | os.O_CREAT), 2)
        sys.path.insert(0, folder)
        try:
            runpy.run_path(script, run_name="looked at")
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
            os._exit(1)
    statuses[script] = os.waitpid(child, 0)[1]
print(json.dumps(statuses))
"""


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each says where it fails, by its name; "" where it does not."""
    out = tmp_path_factory.mktemp("benchmarks")
    run = subprocess.run([sys.executable, "-c", LOOK_AT, BENCHMARKS, out, *BENCHMARKS.glob("*.py")],
                         capture_output=True, text=True, timeout=LIMIT, check=True)
    return {Path(script).stem: (out / Path(script).name).read_text() or "it ended" if status else ""
            for script, status in json.loads(run.stdout).items()}


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py")))
def test_a_benchmark_finds_what_it_imports(ends: dict[str, str], name: str) -> None:
    assert not ends[name]
