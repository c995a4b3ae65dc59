"""What is asked of an endpoint and what it answers, free of how they travel."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from keepgain.core.identity import canonical_json

BYTES_PER_TOKEN = 4.0
"""Of English text, roughly; other languages have fewer."""
TOKENS_PER_MESSAGE = 8
"""For what a chat template adds."""


class Message(TypedDict):
    """A turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Request:
    """One question."""

    messages: Sequence[Message]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """On top of the endpoint's own."""
    max_tokens: int | None = None
    """Of the answer; None: as the endpoint's spec says."""
    sample: int = 0
    """Equal requests with different numbers are asked anew: another draw."""

    def expected_tokens(self) -> int:
        """Tokens of the question, roughly."""
        size = sum(len(m["content"].encode()) for m in self.messages)
        return round(size / BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * len(self.messages)

    def most_tokens(self) -> int:
        """Tokens of the question at most: of a byte-level tokenizer none is less than a byte. A
        chat template may add 64 a message."""
        return sum(len(m["content"].encode()) + 64 for m in self.messages)


def cache_key(body: Mapping[str, Any], sample: int) -> str:
    """SHA-256 of model, messages and parameters; a `sample` of 0 is not in it."""
    content = canonical_json([body, sample] if sample else [body])
    return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What an endpoint said."""

    text: str
    finish: str
    """`stop`, `length` (cut at the limit of tokens), `content_filter`, ..."""
    input_tokens: int
    output_tokens: int
    counted: bool = True
    """The endpoint counted the tokens; else they are the most that there can be."""
    cached: bool = False

    @property
    def is_whole(self) -> bool:
        """False of one that was cut."""
        return self.finish != "length"


@dataclass(frozen=True)
class Refused:
    """The endpoint does not take this one request (too long, filtered); others may do."""

    reason: str
