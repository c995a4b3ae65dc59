"""An endpoint as the user names it: address, model, where its key is, prices and limits."""

import os
import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from keepgain.core.config import Count, NotNegative, Positive
from keepgain.core.errors import UserError
from keepgain.core.redaction import remember, secrets_in
from keepgain.core.schema import StrictModel

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_OURS = ("model", "messages", "stream", "n", "max_tokens", "max_completion_tokens")


class EndpointSpec(StrictModel):
    """A server that answers `POST BASE_URL/chat/completions`, as vLLM, llama.cpp, Ollama and many
    vendors do."""

    base_url: str
    """Up to and with `/v1`, e.g. `http://localhost:8000/v1`."""
    model: Annotated[str, Field(min_length=1)]
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; None: the server asks for none."""
    parameters: dict[str, JsonValue] = {}
    """Sent with every request, e.g. `{temperature: 0.7}`; default: as the server has them."""
    max_tokens: Count = 1024
    """Of an answer."""
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls that."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests at a time."""
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    """Of questions and answers together."""
    timeout_seconds: Positive = 120.0
    """For a whole answer."""
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 6
    """Of a request; further ones after pauses that double."""
    usd_per_million_input_tokens: NotNegative | None = None
    usd_per_million_output_tokens: NotNegative | None = None
    max_usd: Positive | None = None
    """Nothing is asked that could pass it: see `core.endpoint.cache`."""
    cache: str | None = None
    """File that keeps answers; default: `endpoint-cache.sqlite` beside the spec."""

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an address such as http://localhost:8000/v1")
        _ = parts.port  # raises ValueError where it is none
        if value.split() != [value]:
            raise ValueError("holds white space")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("holds no key and no query: name the key's variable in `api_key_env`")
        return value.rstrip("/").removesuffix("/chat/completions")

    @field_validator("api_key_env")
    @classmethod
    def _variable(cls, value: str | None) -> str | None:
        if value is not None and not _VARIABLE.fullmatch(value):
            remember(value)  # a key in the wrong place must not be printed
            raise ValueError("is the name of an environment variable in capitals, never the key")
        return value

    @field_validator("parameters")
    @classmethod
    def _others(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in _OURS:
            if name in value:
                raise ValueError(f"'{name}' is not set here (keys of the endpoint: see docs)")
        if (found := next(secrets_in(value), None)) is not None:
            raise ValueError(f"'{found}' looks like a secret: name a variable in `api_key_env`")
        return value

    @model_validator(mode="after")
    def _priced(self) -> Self:
        prices = (self.usd_per_million_input_tokens, self.usd_per_million_output_tokens)
        if (prices[0] is None) != (prices[1] is None):
            raise ValueError("give both prices, of input and of output tokens")
        if self.max_usd is not None and None in prices:
            raise ValueError("`max_usd` needs `usd_per_million_input_tokens` and `..._output_...`")
        return self

    def key(self, where: str) -> str | None:
        """The key out of the environment; hidden in all that is printed from now on.

        Args:
            where: The endpoint's place in the spec, for the message.

        Raises:
            UserError: The variable is not set.
        """
        if self.api_key_env is None:
            return None
        value = os.environ.get(self.api_key_env, "").strip()
        if not value:
            raise UserError(
                f"the environment variable {self.api_key_env} is not set.",
                where=where,
                hint=f"`export {self.api_key_env}=...`; the spec holds its name only.",
            )
        remember(value)
        # It would be in the message of the library's error.
        if not (value.isascii() and value.isprintable()):
            raise UserError(
                f"the environment variable {self.api_key_env} holds a line break, a quote or "
                "another character that no key has.",
                where=where,
                hint="Set it again, to the key alone.",
            )
        return value

    def usd(self, input_tokens: float, output_tokens: float) -> float | None:
        """What so many tokens cost; None without prices."""
        if self.usd_per_million_input_tokens is None or self.usd_per_million_output_tokens is None:
            return None
        return (
            input_tokens * self.usd_per_million_input_tokens
            + output_tokens * self.usd_per_million_output_tokens
        ) / 1e6
