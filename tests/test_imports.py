"""Which package may import what: the architecture, read from the source."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("core", "trainers", "cluster", "analysis", "sweeps")
TORCH = ("torch", "transformers", "peft", "accelerate", "deepspeed", "safetensors")
WRITES_TO_MLFLOW = ("shipper", "runs", "bootstrap", "server", "client")
# Modules of core/store that never lead to MLflow, not even lazily.
WITHOUT_MLFLOW = ("spool", "location", "record_files", "names", "tail", "heartbeat")


@dataclass(frozen=True)
class Import:
    name: str
    """Absolute dotted name, members of `from x import y` included."""
    top_level: bool
    """Runs when the module is imported: outside functions and TYPE_CHECKING."""

    def of(self, *packages: str) -> bool:
        return any(self.name == p or self.name.startswith(f"{p}.") for p in packages)


def imports(source: str, module: str) -> list[Import]:
    """All imports of a module; `module` is its dotted name, for relative ones."""
    return list(_walk(ast.parse(source), module, top_level=True))


def _walk(node: ast.AST, module: str, top_level: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(a.name, top_level) for a in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                parents = module.split(".")[: -child.level]
                base = ".".join([*parents, *([base] if base else [])])
            yield from (Import(f"{base}.{a.name}", top_level) for a in child.names)
        else:
            lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from _walk(child, module, top_level and not lazy and not typing)


def fault(path: str, found: Import) -> str | None:
    """Why the file at `path` (relative to the root) may not import this; None if it may."""
    package, _, rest = path.partition("/")
    if found.of(*PACKAGES):
        return "our packages are imported as keepgain.NAME, never by plain names"
    ours = found.name.split(".")[1] if found.of("keepgain") and "." in found.name else None
    if ours is not None and package != "sweeps" and ours not in ("core", package):
        return f"{package} knows no package of ours but core"
    if found.of("mlflow") and not path.startswith("core/store/"):
        return "only core/store imports mlflow"
    return _RULES[package](rest, found)


def _core(rest: str, found: Import) -> str | None:
    if found.of(*TORCH, "ray", "optuna", "matplotlib"):
        return "core is free of torch, ray, optuna and plotting"
    if not rest.startswith("store/"):
        inward = found.of("keepgain.core.store")
        return "core.store is built on core, not the other way" if inward else None
    if found.of("mlflow") and found.top_level:
        return "mlflow is imported lazily"
    writers = tuple(f"keepgain.core.store.{m}" for m in WRITES_TO_MLFLOW)
    if rest[len("store/") : -len(".py")] in WITHOUT_MLFLOW and found.of("mlflow", *writers):
        return "this module must not lead to mlflow"
    return None


def _trainers(rest: str, found: Import) -> str | None:
    if found.of("ray", "optuna"):
        return "trainers knows neither ray nor optuna"
    if found.of(*(f"keepgain.core.store.{m}" for m in WRITES_TO_MLFLOW)):
        return "workers write to the spool only"
    if rest in ("shape.py", "cost.py", "memory.py") and found.of(*TORCH):
        return "sizes, costs and memory are free of torch"
    return None


def _cluster(rest: str, found: Import) -> str | None:
    server = found.of(*(f"keepgain.core.store.{m}" for m in ("server", "location")))
    serves = server and rest in ("mlflow_server.py", "cli/mlflow.py")
    if found.of(*TORCH, "optuna", "keepgain.core.store") and not serves:
        return "cluster knows ray, not what runs on it; but it starts a team's MLflow server"
    return None


def _analysis(rest: str, found: Import) -> str | None:
    if found.of(*TORCH, "ray"):
        return "analysis is free of torch and ray"
    if found.of("optuna") and found.top_level:
        return "analysis imports optuna lazily"
    if found.of("matplotlib", "plotly") and not rest.startswith(("plots", "report/")):
        return "plotting is in one module of analysis, and in its report"
    if found.of(*(f"keepgain.core.store.{m}" for m in ("shipper", "runs", "spool"))):
        return "analysis only reads"
    return None


def _sweeps(rest: str, found: Import) -> str | None:
    draws_by_gp = rest == "search/samplers.py" and not found.top_level
    if found.of(*TORCH) and not draws_by_gp:
        return "torch lives in the workers of trainers"
    gates = ("keepgain.core", "keepgain.sweeps.gates")
    if rest.startswith("gates/") and (
        (found.of("keepgain") and not found.of(*gates)) or found.of("ray", "optuna")
    ):
        return "gates knows core only"
    if rest.startswith("cli/") and found.top_level and found.of("ray", "optuna"):
        return "check and plan start without ray and optuna"
    return None


_RULES = {
    "core": _core,
    "trainers": _trainers,
    "cluster": _cluster,
    "analysis": _analysis,
    "sweeps": _sweeps,
}


def sources(*folders: str) -> list[Path]:
    return [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]


def test_every_import_follows_the_table() -> None:
    faults = []
    for path in sources(*PACKAGES):
        relative = path.relative_to(ROOT)
        module = ".".join(["keepgain", *relative.with_suffix("").parts])
        for found in imports(path.read_text(encoding="utf-8"), module):
            reason = fault(relative.as_posix(), found)
            if reason:
                faults.append(f"{relative} imports {found.name}: {reason}")
    assert not faults, "\n".join(faults)


def test_nobody_imports_the_folders_by_plain_name() -> None:
    faults = []
    for path in sources("tests", "examples", "benchmarks"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for found in imports(path.read_text(encoding="utf-8"), module):
            if found.of(*PACKAGES):
                faults.append(f"{path.relative_to(ROOT)} imports {found.name}")
    assert not faults, "\n".join(faults)


def test_package_files_are_empty_and_listed() -> None:
    inits = [p for p in sources(*PACKAGES) if p.name == "__init__.py"]
    assert [str(p) for p in inits if p.stat().st_size] == []
    folders = {p.parent.relative_to(ROOT).as_posix() for p in sources(*PACKAGES)}
    assert folders <= {p.parent.relative_to(ROOT).as_posix() for p in inits}
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    missing = [f for f in sorted(folders) if f'"keepgain.{f.replace("/", ".")}"' not in listed]
    assert not missing, f"not in pyproject.toml's packages: {missing}"


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/items.py", "import torch"),
        ("core/items.py", "import mlflow"),
        ("core/items.py", "from keepgain.core.store.spool import Spool"),
        ("core/store/runs.py", "import mlflow.entities"),
        ("core/store/spool.py", "def f():\n    from mlflow import MlflowClient"),
        ("core/store/location.py", "from keepgain.core.store import client"),
        ("core/config.py", "from keepgain.trainers import loop"),
        ("trainers/loop.py", "def f():\n    import ray"),
        ("trainers/cost.py", "import torch.nn"),
        ("trainers/loop.py", "from keepgain.core.store.shipper import Shipper"),
        ("cluster/local.py", "from keepgain.trainers.worker import main"),
        ("cluster/local.py", "import torch"),
        ("analysis/decide.py", "from optuna import importance"),
        ("analysis/decide.py", "from keepgain.sweeps import spec"),
        ("analysis/tables.py", "import matplotlib.pyplot as plt"),
        ("sweeps/trial.py", "import mlflow"),
        ("sweeps/gates/data.py", "from keepgain.sweeps import spec"),
        ("sweeps/gates/data.py", "from ..search import space"),
        ("sweeps/cli/main.py", "import ray"),
        ("sweeps/trial.py", "import torch"),
        ("analysis/cli.py", "from core import items"),
    ],
)
def test_the_check_itself_refuses(path: str, line: str) -> None:
    module = ".".join(["keepgain", *Path(path).with_suffix("").parts])
    assert any(fault(path, found) for found in imports(line, module))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/store/runs.py", "def f():\n    import mlflow.entities"),
        ("core/store/runs.py", "if TYPE_CHECKING:\n    from mlflow import MlflowClient"),
        ("trainers/loop.py", "import torch, deepspeed\nfrom keepgain.core.store import spool"),
        ("analysis/importance.py", "def f():\n    import optuna"),
        ("analysis/plots.py", "import matplotlib"),
        ("sweeps/trial.py", "from keepgain.analysis import decide\nimport ray, optuna"),
        ("sweeps/gates/data.py", "from keepgain.sweeps.gates import lengths"),
        ("sweeps/cli/main.py", "def f():\n    import ray"),
    ],
)
def test_the_check_itself_allows(path: str, line: str) -> None:
    module = ".".join(["keepgain", *Path(path).with_suffix("").parts])
    assert not any(fault(path, found) for found in imports(line, module))


def test_no_package_knows_the_tiny_world() -> None:
    """Examples show the product; nothing in it may depend on them."""
    words = ("tiny_world", "tiny world", "quickstart", "far_train", "general_replay")
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not [w for w in words if w in text], path
