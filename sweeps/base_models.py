"""Base models as the spec names them, found, checked and measured without loading them."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keepgain.core.config import ModelRef, has_adapter
from keepgain.core.errors import UserError
from keepgain.core.identity import folder_digest
from keepgain.core.paths import expanded
from keepgain.core.store.location import resolve_store
from keepgain.sweeps.iterate import find_start, merge_adapter
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.model_code import CODE, builtin_types, check_code, require_commit
from keepgain.sweeps.spec_models import ModelSpec
from keepgain.sweeps.weights import shards_of, tensor_shapes

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
"""What is fetched of a hub model, and what its digest covers; its code too if it is trusted."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")


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
    reference: ModelRef | None = None
    """Of a model that an earlier sweep tuned: the original base, which gain and forgetting are
    measured against. None: against the model itself."""
    adapter: Path | None = None
    """Still to be merged into what lies in `folder`; see `settled`."""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return Path(self.ref.path)

    def settled(self, starts: Path) -> "BaseModel":
        """With its adapter merged into a folder below `starts`; itself where there is none.

        Raises:
            UserError: It could not be merged.
        """
        if self.adapter is None:
            return self
        target = starts / self.ref.name
        merge_adapter(self.folder, self.adapter, target, self.ref.trust_remote_code)
        ref = self.ref.model_copy(update={"path": str(target)})
        return replace(self, ref=ref, adapter=None)


def find_models(
    loaded: LoadedSpec, say: Callable[[str], None] | None = None, store: str | None = None
) -> tuple[BaseModel, ...]:
    """All models of the spec, in its order.

    Args:
        loaded: The spec.
        say: Told before something is fetched.
        store: As `--store` says; looked at only if a model starts from an earlier sweep.

    Raises:
        UserError: No such folder, hub model or earlier trial, no causal LM, no safetensors, or two
            equal names.
    """
    models: list[BaseModel] = []
    for index, model in enumerate(loaded.spec.models):
        where = loaded.where(f"models.{index}")
        if model.start is not None:
            found = _tuned(model, loaded, index, say, store)
        else:
            folder, revision = _locate(model, loaded.folder, where, say)
            name = model.name or (Path(model.id).name if revision and model.id else folder.name)
            found = _inspect(name, folder, revision, where, model.trust_remote_code)
        if any(m.ref.name == found.ref.name for m in models):
            raise UserError(
                f"two models are called '{found.ref.name}'.",
                where=where,
                hint="Give one another name: `{name: ..., path: ...}`.",
            )
        models.append(found)
    return tuple(models)


def _tuned(
    model: ModelSpec,
    loaded: LoadedSpec,
    index: int,
    say: Callable[[str], None] | None,
    store: str | None,
) -> BaseModel:
    """A model that an earlier sweep of the store has tuned; see `sweeps.iterate`."""
    assert model.start is not None and model.reference is not None, "ModelSpec checks it"
    key = f"models.{index}"
    start = find_start(resolve_store(store).work, model.start, loaded.where(f"{key}.start"))
    where = loaded.where(f"{key}.reference")
    trust = model.trust_remote_code
    reference = ModelSpec(id=model.reference, trust_remote_code=trust)
    folder, revision = _locate(reference, loaded.folder, where, say)
    original = _inspect(start.reference.name, folder, revision, where, trust)
    if original.ref.digest != start.reference.digest:
        raise UserError(
            f"{start.sweep} measured against {start.reference.name} "
            f"({start.reference.digest[:12]}), and this is another model "
            f"({original.ref.digest[:12]}).",
            where=where,
            hint="Give the original base, so that the losses of all rounds add up.",
        )
    # As that sweep named it: its scores are then those of the earlier base, and are reused.
    measured = start.reference.model_copy(update={"path": str(folder)})
    name = model.name or f"{start.model}-{start.trial_id[:6]}"
    if not has_adapter(start.method):
        return replace(_inspect(name, start.folder, None, where, trust), reference=measured)
    under = original
    if start.base.digest != original.ref.digest:  # the adapter of a later round
        under = _inspect(name, Path(start.base.path), None, loaded.where(f"{key}.start"), trust)
    ref = ModelRef(
        name=name,
        path=str(under.folder),
        digest=start.merged_digest,
        trust_remote_code=trust,
    )
    return replace(under, ref=ref, reference=measured, adapter=start.folder)


def local_folder(model: ModelSpec, base: Path) -> Path | None:
    """The folder that a model of the spec names, if there is one; else it is a hub id."""
    if model.revision is not None:
        return None
    folder = (base / expanded(model.path or model.id or "")).resolve()
    return folder if folder.is_dir() else None


def is_here(model: ModelSpec, base: Path) -> bool:
    """Whether the model can be had without fetching it."""
    if model.start is not None:
        return False
    if local_folder(model, base) is not None or not HUB_ID.fullmatch(model.id or ""):
        return True  # a folder that is not there either: `find_models` says so
    patterns = [*FILES, *([CODE] if model.trust_remote_code else [])]
    return _cached(model.id or "", model.revision, patterns) is not None


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
    if model.trust_remote_code:
        require_commit(model.revision, where)
    patterns = [*FILES, *([CODE] if model.trust_remote_code else [])]
    snapshot = Path(_download(given, model.revision, patterns, where, say))
    return snapshot, snapshot.name


def _download(
    hub_id: str,
    revision: str | None,
    patterns: list[str],
    where: str,
    say: Callable[[str], None] | None,
) -> str:
    """The snapshot folder of a hub model: from the local cache if it is complete there."""
    from huggingface_hub import errors, snapshot_download

    if (cached := _cached(hub_id, revision, patterns)) is not None:
        return cached
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


def _cached(hub_id: str, revision: str | None, patterns: list[str]) -> str | None:
    from huggingface_hub import errors, snapshot_download

    try:
        found = snapshot_download(
            hub_id, revision=revision, allow_patterns=patterns, local_files_only=True
        )
    except (errors.LocalEntryNotFoundError, errors.HFValidationError, OSError, ValueError):
        return None
    return str(found) if _is_complete(Path(found), with_code=CODE in patterns) else None


def _is_complete(folder: Path, with_code: bool) -> bool:
    if not (folder / "config.json").is_file() or not (folder / "tokenizer.json").is_file():
        return False
    if with_code and not any(folder.glob(CODE)):
        return False
    shards = shards_of(folder)
    return (
        all((folder / s).is_file() for s in shards) if shards else any(folder.glob("*.safetensors"))
    )


def _inspect(
    name: str, folder: Path, revision: str | None, where: str, trust: bool = False
) -> BaseModel:
    config = _read_json(folder / "config.json", where, "A model folder has one.")
    _require_causal(config, folder, where)
    check_code(config, folder, trust, where)
    if not (folder / "tokenizer.json").is_file():
        raise UserError(
            f"{folder} has no tokenizer.json.",
            where=where,
            hint="Save the fast tokenizer there with `tokenizer.save_pretrained(FOLDER)`.",
        )
    shapes = tensor_shapes(folder, where)
    return BaseModel(
        ref=ModelRef(
            name=name,
            path=str(folder),
            revision=revision,
            digest=folder_digest(folder, (*FILES, CODE) if trust else FILES),
            trust_remote_code=trust,
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
    elif kind in builtin_types():
        return
    else:
        given = f"its model_type is {kind}" if kind else "its config.json names no architecture"
    raise UserError(
        f"{folder} is not a causal language model: {given}.",
        where=where,
        hint="Keepgain fine-tunes models whose architecture ends in ForCausalLM.",
    )


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
