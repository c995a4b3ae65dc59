"""`data` of `sweep.yaml`: sources of training rows, and what all files of rows have in common.

What the rows are to be like is `data_spec`, in `sweeps.spec_data`.
"""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from keepgain.core.config import BaseAnswers, Count, NotNegative, Positive, Role
from keepgain.core.formats import FIELD_NAMES, FormatName
from keepgain.core.schema import StrictModel
from keepgain.sweeps.spec_augment import AugmentKeys
from keepgain.sweeps.spec_filters import FilterKeys


class FileSpec(StrictModel):
    """What files of rows have in common."""

    format: FormatName = "auto"
    fields: dict[str, str] = Field(default_factory=dict)
    """Our name of a field → the key in the file, e.g. `{prompt: question, answer: label}`."""
    limit: Count | None = None
    """Use only the first rows of each file."""

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if name not in FIELD_NAMES:
                raise ValueError(f"unknown field '{name}'; known: {', '.join(FIELD_NAMES)}")
        return value


class DataSpec(FileSpec, AugmentKeys, FilterKeys):
    """A source of training rows."""

    path: str | None = None
    """JSON Lines, CSV, TSV, Parquet or a saved dataset, by its name: see `core.row_files`."""
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    role: Role
    answers: Literal["given", "base"] = "given"
    """base: of a replay source, each base model writes the answers itself; rows are prompts."""
    max_new_tokens: Count | None = None
    """Of `answers: base`, for each; default 128."""
    temperature: NotNegative | None = None
    """Of `answers: base`: above 0, tokens are drawn; default 0."""
    split: Literal["auto"] | None = None
    """auto: 80/10/10 by a hash of the question. Default: auto if a suite is `from` this source."""
    max_repeats: Positive = 4.0
    """A trial that would draw a row more often than this, on average, is warned of; beyond about 4
    epochs repeated rows are worth ever less (Muennighoff et al. 2023, arXiv 2305.16264)."""

    @field_validator("answers")
    @classmethod
    def _of_replay(cls, value: str, info: ValidationInfo) -> str:
        if value == "base" and info.data.get("role", "replay") != "replay":
            raise ValueError("only rows of `role: replay` are answered by the base")
        return value

    @field_validator("max_new_tokens", "temperature")
    @classmethod
    def _of_base_answers(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("answers") != "base":
            raise ValueError("needs `answers: base`")
        return value

    @property
    def base_answers(self) -> BaseAnswers | None:
        """How the base answers; None: the rows have answers."""
        if self.answers == "given":
            return None
        asked = {"max_new_tokens": self.max_new_tokens, "temperature": self.temperature}
        return BaseAnswers(**{k: v for k, v in asked.items() if v is not None})

    @model_validator(mode="after")
    def _paths(self) -> "DataSpec":
        files = [n for n in ("train", "validation", "test") if getattr(self, n) is not None]
        if self.augment is not None:
            self._refuse_beside_augment(files)
            return self
        if self.follows is not None and (self.path is None or self.role == "replay"):
            raise ValueError("`follows` needs one `path`, and `role: task` or `synthetic`")
        if (self.path is None) == (not files):
            raise ValueError("give either `path`, or `train` (and `validation`, `test`)")
        if files and self.train is None:
            raise ValueError("`train` is missing")
        if files and self.split is not None:
            raise ValueError("`split: auto` needs one `path`; these files are split already")
        if self.follows is not None and self.split is not None:
            raise ValueError("`follows` and `split` both say where rows go")
        return self

    def _refuse_beside_augment(self, files: list[str]) -> None:
        names = ("path", "format", "fields", "limit", "split", "follows", "answers")
        if given := files or [n for n in names if n in self.model_fields_set]:
            raise ValueError(f"`augment` makes the rows; leave `{given[0]}` out")
        if self.role == "replay":
            raise ValueError("augmented rows are of `role: task` or `synthetic`")
