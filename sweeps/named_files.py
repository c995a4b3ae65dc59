"""The files that a spec names: what a job is sent, and what may not lie outside of that."""

import ast
import os.path
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.core.paths import expanded
from keepgain.core.scorers import users_function
from keepgain.core.users_code import located
from keepgain.sweeps.base_models import FILES, local_folder
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.model_code import CODE
from keepgain.sweeps.spec_models import ModelSpec


@dataclass(frozen=True)
class Named:
    """A file or folder as the spec names it."""

    key: str
    text: str
    """As written there; relative ones start at the spec's folder."""
    path: Path
    patterns: tuple[str, ...] = ()
    """Files of a folder that are used; empty: all of them."""
    is_code: bool = False
    """Python that may import what lies beside it."""

    @property
    def is_absolute(self) -> bool:
        """Absolute paths name what every node has."""
        return expanded(self.text, self.key).is_absolute()

    def files(self) -> Iterator[Path]:
        """What is there: the file, or the files of the folder, hidden ones (`.env`) apart.

        A `.gitignore` among them would make Ray leave files out of the upload.
        """
        if not self.path.is_dir():
            yield from [self.path] if self.path.is_file() else []
        elif self.patterns:
            yield from sorted({p for g in self.patterns for p in self.path.glob(g) if p.is_file()})
        else:
            yield from sorted(p for p in self.path.rglob("*") if p.is_file() and self._is_used(p))

    def _is_used(self, file: Path) -> bool:
        parts = file.relative_to(self.path).parts
        return not any(part.startswith((".", "__pycache__")) for part in parts)


def named_files(loaded: LoadedSpec) -> list[Named]:
    """Everything that the spec names by a path or a module of its folder, in the spec's order."""
    return [*_models(loaded), *_rows(loaded), *_rules(loaded), *_code(loaded)]


def refuse_outside(named: Iterable[Named], loaded: LoadedSpec, root: Path) -> None:
    """A job's files must be in what was submitted, or be absolute paths that every node has.

    Raises:
        UserError: Names the key.
    """
    for one in named:
        if not one.is_absolute and not one.path.resolve().is_relative_to(root.resolve()):
            raise UserError(
                f"'{one.text}' lies outside the job's working directory, which alone is uploaded.",
                where=loaded.where(one.key),
                hint="Put it below --working-dir (for `sweep submit`: below the folder that you "
                "are in, or the spec's), or give an absolute path that all nodes have.",
            )


def to_upload(loaded: LoadedSpec, root: Path) -> Mapping[str, Path]:
    """Path below `root` → file, of the spec and of all that it names by a relative path.

    Python code brings the modules of its folder that it imports, and theirs.

    Raises:
        UserError: Something named lies outside `root`.
    """
    named = named_files(loaded)
    refuse_outside(named, loaded, root)
    relative = [n for n in named if not n.is_absolute]
    files = {loaded.path.resolve(): None}
    for one in relative:
        files.update(dict.fromkeys(one.files()))
    code = [f for n in relative if n.is_code for f in n.files()]
    files.update(dict.fromkeys(_imported(code, loaded.folder)))
    base = root.resolve()
    return {str(f.absolute().relative_to(base)): f for f in sorted(files)}


def _models(loaded: LoadedSpec) -> Iterator[Named]:
    for index, model in enumerate(loaded.spec.models):
        patterns = (*FILES, CODE) if model.trust_remote_code else FILES
        # A folder may also stand where a hub id may (`models: [../small]`).
        folder = local_folder(model, loaded.folder)
        text = model.path or (model.id if folder else None)
        if text is not None:
            yield _named(loaded, f"models.{index}", text, patterns)
        reference = model.reference
        if reference and local_folder(ModelSpec(id=reference), loaded.folder) is not None:
            yield _named(loaded, f"models.{index}.reference", reference, patterns)


def _rows(loaded: LoadedSpec) -> Iterator[Named]:
    for kind, group in (("data", loaded.spec.data), ("suites", loaded.spec.suites)):
        for name, entry in group.items():
            for field in ("path", "train", "validation", "test"):
                if (text := getattr(entry, field, None)) is not None:
                    yield _named(loaded, f"{kind}.{name}.{field}", text)
            task = getattr(entry, "lm_eval", None)
            if task is not None and task.include is not None:
                yield _named(loaded, f"{kind}.{name}.lm_eval.include", task.include)


def _rules(loaded: LoadedSpec) -> Iterator[Named]:
    if isinstance(text := loaded.raw.get("data_spec"), str):
        yield _named(loaded, "data_spec", text)


def _code(loaded: LoadedSpec) -> Iterator[Named]:
    spec = loaded.spec
    if isinstance(spec.training.deepspeed, str):
        yield _named(loaded, "training.deepspeed", spec.training.deepspeed)
    users = [(f"suites.{n}", users_function(s.scorer), s.command) for n, s in spec.suites.items()]
    if (trainer := spec.trainer) is not None:
        users.append(("trainer", trainer.function, (*(trainer.command or ()), *trainer.files)))
    for key, entry, command in users:
        for module in _modules(entry.partition(":")[0], loaded.folder) if entry else ():
            yield _named(loaded, key, module.name, is_code=True)
        for word in command or ():
            if located(word, str(loaded.folder)):
                yield _named(loaded, key, word, is_code=True)


def _named(
    loaded: LoadedSpec,
    key: str,
    text: str,
    patterns: tuple[str, ...] = (),
    is_code: bool = False,
) -> Named:
    # Without `..`, and with links as they are: the upload has them under the names given here.
    path = Path(os.path.normpath(loaded.folder / expanded(text, key)))
    return Named(key, text, path, patterns, is_code)


def _modules(name: str, folder: Path) -> list[Path]:
    """The module and the package in `folder` that an import of `name` may mean."""
    first = name.partition(".")[0]
    return [p for p in (folder / first, folder / f"{first}.py") if first and p.exists()]


def _imported(code: Iterable[Path], folder: Path) -> set[Path]:
    """Python files that `code` imports from its own folders or from `folder`, and those theirs."""
    found: set[Path] = set()
    todo = list(code)
    while todo:
        file = todo.pop()
        if file in found or file.suffix != ".py":
            continue
        found.add(file)
        for name in _imports(file):
            for path in (*_modules(name, file.parent), *_modules(name, folder)):
                todo += path.rglob("*.py") if path.is_dir() else [path]
    return found


def _imports(file: Path) -> set[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return set()  # the check of the user's code says so, with the place
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from . import x`: x may be a module beside this one.
            names.update([node.module] if node.module else [a.name for a in node.names])
    return {name.partition(".")[0] for name in names}
