"""Base models as the spec names them, found, checked and measured without loading them."""

import json
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keepgain.core.config import ModelRef
from keepgain.core.errors import UserError
from keepgain.core.identity import folder_digest
from keepgain.sweeps.spec import LoadedSpec
from keepgain.sweeps.spec_models import ModelSpec

FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
    "*.safetensors",
    "*.safetensors.index.json",
)
"""What is fetched of a hub model, and what its digest covers."""
CAUSAL_TYPES = frozenset(
    "bloom cohere deepseek_v3 falcon gemma gemma2 gemma3_text glm gpt2 gpt_bigcode gpt_neo gpt_neox"
    " gptj granite llama mistral mixtral mpt olmo olmo2 opt phi phi3 qwen2 qwen2_moe qwen3"
    " qwen3_moe smollm3 stablelm starcoder2".split()
)
"""Model types that are causal LMs when `architectures` does not say."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True)
class BaseModel:
    """A base model on this machine."""

    ref: ModelRef
    config: dict[str, Any]
    """Its config.json."""
    parameters: int
    """As stored in the safetensors files: tied weights count once."""
    parameter_shapes: tuple[tuple[str, tuple[int, ...]], ...]
    """Name and shape of every stored tensor."""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(self.ref.path)


def find_models(
    loaded: LoadedSpec, say: Callable[[str], None] | None = None
) -> tuple[BaseModel, ...]:
    """All models of the spec, in its order.

    Raises:
        UserError: No such folder or hub model, no causal LM, no safetensors, or two equal names.
    """
    models: list[BaseModel] = []
    for index, model in enumerate(loaded.spec.models):
        where = loaded.where(f"models.{index}")
        folder, revision = _locate(model, loaded.folder, where, say)
        name = model.name or (Path(model.id).name if revision and model.id else folder.name)
        if any(m.ref.name == name for m in models):
            raise UserError(
                f"two models are called '{name}'.",
                where=where,
                hint="Give one another name: `{name: ..., path: ...}`.",
            )
        models.append(_inspect(name, folder, revision, where))
    return tuple(models)


def local_folder(model: ModelSpec, base: Path) -> Path | None:
    """The folder that a model of the spec names, if there is one; else it is a hub id."""
    if model.revision is not None:
        return None
    folder = (base / Path(model.path or model.id or "").expanduser()).resolve()
    return folder if folder.is_dir() else None


def _locate(
    model: ModelSpec, base: Path, where: str, say: Callable[[str], None] | None
) -> tuple[Path, str | None]:
    """The folder of a model, and the commit if it came from the hub."""
    found = local_folder(model, base)
    if found is not None:
        return found, None
    given = model.path or model.id or ""
    looks_like_path = given.startswith((".", "/", "~")) or given.count("/") > 1
    if model.path is not None or looks_like_path or not HUB_ID.fullmatch(given):
        raise UserError(
            f"no model folder '{given}' (looked for {(base / given).resolve()}).",
            where=where,
            hint="Give a folder with config.json, or a hub id such as Qwen/Qwen3-0.6B.",
        )
    snapshot = Path(_download(given, model.revision, where, say))
    return snapshot, snapshot.name


def _download(
    hub_id: str, revision: str | None, where: str, say: Callable[[str], None] | None
) -> str:
    """The snapshot folder of a hub model: from the local cache if it is complete there."""
    from huggingface_hub import errors, snapshot_download

    patterns = list(FILES)
    try:
        cached = snapshot_download(
            hub_id, revision=revision, allow_patterns=patterns, local_files_only=True
        )
        if _is_complete(Path(cached)):
            return str(cached)
    except (errors.LocalEntryNotFoundError, errors.HFValidationError, OSError, ValueError):
        pass
    if say is not None:
        say(f"fetching {hub_id} from the Hugging Face Hub")
    try:
        return str(snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except errors.GatedRepoError:
        hint = f"Accept its terms at https://huggingface.co/{hub_id} and run `hf auth login`."
        problem = f"the model '{hub_id}' is gated."
    except errors.RevisionNotFoundError:
        problem, hint = f"the model '{hub_id}' has no revision '{revision}'.", ""
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        problem = f"no model '{hub_id}' on the Hugging Face Hub, and no such folder."
        hint = "Check the spelling; a private model needs `hf auth login`."
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        problem = f"the model '{hub_id}' is not in the local cache and the Hub cannot be reached."
        hint = "Give a folder, or fetch it where there is a network: `hf download`."
    except (OSError, errors.HfHubHTTPError) as error:
        problem = f"the model '{hub_id}' could not be fetched: {str(error).splitlines()[0]}."
        hint = "Give a folder, or fetch it where there is a network: `hf download`."
    raise UserError(problem, where=where, hint=hint or None)


def _is_complete(folder: Path) -> bool:
    if not (folder / "config.json").is_file() or not (folder / "tokenizer.json").is_file():
        return False
    shards = _index(folder)
    return (
        all((folder / s).is_file() for s in shards) if shards else any(folder.glob("*.safetensors"))
    )


def _inspect(name: str, folder: Path, revision: str | None, where: str) -> BaseModel:
    config = _read_json(folder / "config.json", where, "A model folder has one.")
    _require_causal(config, folder, where)
    if not (folder / "tokenizer.json").is_file():
        raise UserError(
            f"{folder} has no tokenizer.json.",
            where=where,
            hint="Save the fast tokenizer there with `tokenizer.save_pretrained(FOLDER)`.",
        )
    shapes = _tensor_shapes(folder, where)
    return BaseModel(
        ref=ModelRef(
            name=name, path=str(folder), revision=revision, digest=folder_digest(folder, FILES)
        ),
        config=config,
        parameters=sum(math.prod(shape) for _, shape in shapes),
        parameter_shapes=shapes,
    )


def _require_causal(config: dict[str, Any], folder: Path, where: str) -> None:
    architectures = config.get("architectures") or []
    kind = config.get("model_type")
    if isinstance(architectures, list) and architectures:
        if any(str(a).endswith(("ForCausalLM", "LMHeadModel")) for a in architectures):
            return
        given = f"its architecture is {architectures[0]}"
    elif kind in CAUSAL_TYPES:
        return
    else:
        given = f"its model_type is {kind}" if kind else "its config.json names no architecture"
    raise UserError(
        f"{folder} is not a causal language model: {given}.",
        where=where,
        hint="Keepgain fine-tunes models whose architecture ends in ForCausalLM.",
    )


def _tensor_shapes(folder: Path, where: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes from the headers of the safetensors files; no weight is read."""
    files = [folder / name for name in _index(folder)] or sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{folder} has no *.safetensors file.",
            where=where,
            hint="Pickled weights are not read; save with `save_pretrained(...)`.",
        )
    shapes: list[tuple[str, tuple[int, ...]]] = []
    for file in files:
        if not file.is_file():
            raise UserError(f"{file} is named by the index and missing.", where=where)
        shapes += _header_shapes(file, where)
    return tuple(shapes)


def _header_shapes(file: Path, where: str) -> list[tuple[str, tuple[int, ...]]]:
    try:
        with file.open("rb") as handle:
            (size,) = struct.unpack("<Q", handle.read(8))
            if size > min(MAX_HEADER_BYTES, file.stat().st_size):
                raise ValueError("header longer than the file")
            header = json.loads(handle.read(size))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if 8 + size + end > file.stat().st_size:
            raise ValueError(f"{8 + size + end} bytes announced, {file.stat().st_size} there")
        return [(name, tuple(entry["shape"])) for name, entry in header.items()]
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not a whole safetensors file ({error}).",
            where=where,
            hint="Copy or fetch it again.",
        ) from None


def _index(folder: Path) -> list[str]:
    """File names of the shards, if there is an index."""
    for path in sorted(folder.glob("*.safetensors.index.json")):
        try:
            return sorted(set(json.loads(path.read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError("not readable as a safetensors index.", where=str(path)) from None
    return []


def _read_json(path: Path, where: str, hint: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} has no {path.name}.", where=where, hint=hint) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable as JSON ({error}).", where=where) from None
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object.", where=where)
    return value
