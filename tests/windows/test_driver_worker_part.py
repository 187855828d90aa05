"""The part that is copied to Windows is complete by itself, and holds nothing that it does not need."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

from facesets.windows import copies

HIDE = """
import importlib, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(name + " is not in requirements-win.txt", name=name)
hidden = set({names})
sys.meta_path.insert(0, Hidden())
sys.path.insert(0, {folder!r})
for name in {modules}:
    importlib.import_module(name)
outside = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] in ("facesets", "config")
           and not module.__file__.startswith({folder!r})]
assert not outside, outside
"""


def hidden(checkout: Path) -> list[str]:
    """Modules of this environment that requirements-win.txt does not install; onnxruntime is there by another name."""
    lock = set(re.findall(r"^([\w.-]+)==", (checkout / "requirements-win.txt").read_text(), re.M))
    owners = importlib.metadata.packages_distributions()
    return sorted(name for name, dists in owners.items() if name != "onnxruntime"
                  and not any(re.sub(r"[-_.]+", "-", dist).lower() in lock for dist in dists))


def test_every_module_of_the_part_imports_in_an_empty_folder_with_the_packages_of_its_lock(
        checkout: Path, tmp_path: Path) -> None:
    copies.carry_worker(checkout, tmp_path / "worker")
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__")
               for path in copies.worker_part(checkout) if path.suffix == ".py"]
    code = HIDE.format(names=hidden(checkout), folder=str(tmp_path / "worker"), modules=modules)
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr


def test_the_part_runs_by_itself(checkout: Path, tmp_path: Path) -> None:
    copies.carry_worker(checkout, tmp_path)
    run = subprocess.run([sys.executable, "embed_worker.py", "--queue", "none", "--out", "none.npz"],
                         capture_output=True, text=True, cwd=tmp_path, env={})
    assert run.returncode == 1 and "none does not exist" in run.stderr, run.stderr


def test_the_part_is_what_the_worker_imports_and_no_more(checkout: Path) -> None:
    part = {path for path in copies.worker_part(checkout) if path.suffix == ".py"}
    reached, todo = set(), [Path("embed_worker.py"), Path("facesets/cluster/linkage.py")]
    while todo:
        path = todo.pop()
        if path not in reached:
            reached.add(path)
            todo += imports(checkout, path)
    reached |= {Path("facesets/__init__.py"), *(Path(f"facesets/{room}/__init__.py")
                                                for room in ("common", "formats", "embed", "cluster"))}
    assert reached <= part, f"not copied to Windows: {sorted(map(str, reached - part))}"
    assert part <= reached, f"copied, but never imported: {sorted(map(str, part - reached))}"


def imports(checkout: Path, path: Path) -> list[Path]:
    """Our own modules that `path` imports, inside functions as well."""
    found = []
    for node in ast.walk(ast.parse((checkout / path).read_bytes())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = path.parent.parts[:len(path.parent.parts) - node.level + 1] if node.level else ()
            base = ".".join([*package, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            module = Path(*name.split(".")).with_suffix(".py")
            if (checkout / module).is_file() and module.parts[0] in ("facesets", "config.py"):
                found.append(module)
    return found
