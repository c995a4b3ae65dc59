"""Files for real machines: KubeRay, Slurm and a container image, rendered from `manifests/`.

They hold no secret: tokens and passwords are made on the target and named by reference.
"""

import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from keepgain.core.errors import UserError

KINDS = ("kuberay", "slurm", "container")
_TEMPLATES = Path(__file__).parent / "manifests"

# What is written into YAML and shell: nothing that ends a line, a quote or a word.
_FORMS = {
    "name": (r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?", "1 to 30 of a-z, 0-9 and '-', a letter first"),
    "image": (r"[A-Za-z0-9][A-Za-z0-9./_:@-]{0,200}", "an image, such as example.org/keepgain:1"),
    "shared": (r"(/[A-Za-z0-9._-]+)+", "an absolute path without spaces"),
    "venv": (r"(/[A-Za-z0-9._-]+)+", "an absolute path without spaces"),
    "partition": (r"[A-Za-z0-9_,.-]{0,60}", "the name of a partition"),
}
_LEAST = {"nodes": 1, "cpus": 1, "gpus": 0, "memory_gb": 1, "hours": 1, "storage_gb": 1}


@dataclass(frozen=True)
class Machines:
    """What to render for; not every kind uses every field."""

    name: str = "keepgain"
    """First part of the names of all objects."""
    image: str = "keepgain:latest"
    """Made from the container file."""
    nodes: int = 2
    """Workers beside the head; Slurm: nodes in all."""
    cpus: int = 8
    """Of each worker."""
    gpus: int = 1
    """Of each worker; 0: none."""
    memory_gb: int = 64
    """Of each worker."""
    hours: int = 24
    """Slurm: time limit."""
    partition: str = ""
    """Slurm: empty for the default one."""
    shared: str = "/shared/keepgain"
    """Folder that all nodes have: store, checkpoints, specs and data."""
    venv: str = "/shared/venv"
    """Slurm: a virtual environment with Keepgain that all nodes have."""
    storage_gb: int = 500
    """KubeRay: of the shared volume."""

    def __post_init__(self) -> None:
        for key, (form, allowed) in _FORMS.items():
            value = getattr(self, key)
            if not re.fullmatch(form, value) or ".." in value:
                raise UserError(f"'{value}' is not {allowed}.", where=_option(key))
        for key, least in _LEAST.items():
            if getattr(self, key) < least:
                raise UserError(f"{getattr(self, key)} is below {least}.", where=_option(key))


def render(kind: str, machines: Machines) -> dict[str, str]:
    """File name → text.

    Args:
        kind: One of `KINDS`.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        comment_start_string="{##",  # `{#` is shell: the number of elements
        comment_end_string="##}",
        autoescape=False,  # YAML and shell; `Machines` lets nothing through that must be escaped
    )
    values = {**asdict(machines), "keepgain": version("keepgain"), "ray": version("ray")}
    files = {}
    for path in sorted((_TEMPLATES / kind).glob("*.j2")):
        name = path.name.removesuffix(".j2")
        if name.startswith("_"):  # a part of others
            continue
        files[name] = environment.get_template(f"{kind}/{path.name}").render(values)
    return files


def write(files: dict[str, str], folder: Path) -> list[Path]:
    """Writes them; scripts are executable.

    Raises:
        UserError: One is there already with another content, and nothing was written; or the folder
            cannot be written to.
    """
    paths = {folder / name: text for name, text in files.items()}
    try:
        for path, text in paths.items():
            if path.exists() and path.read_bytes() != text.encode():
                raise UserError(
                    "is there already with another content.",
                    where=str(path),
                    hint="Move it away, or give --to another folder.",
                )
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in paths.items():
            path.write_text(text, encoding="utf-8")
            if text.startswith("#!"):
                path.chmod(0o755)
    except OSError as error:
        raise UserError(f"cannot be written ({error}).", where=f"--to {folder}") from None
    return list(paths)


def _option(key: str) -> str:
    return f"--{key.replace('_', '-')}"
