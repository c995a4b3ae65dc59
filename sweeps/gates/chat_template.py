"""Chat templates of model folders, rendered as transformers does, without importing it."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from keepgain.core.errors import UserError


class ChatTemplate:
    """A compiled template.

    Raises:
        UserError: It is not valid Jinja.
    """

    def __init__(self, text: str, special: Mapping[str, str], folder: Path) -> None:
        self.text = text
        self._special = special
        # In a sandbox: templates of downloaded models are foreign code.
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Marks]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        self._marks: _Marks = environment.extensions[_Marks.identifier]  # type: ignore[assignment]
        try:
            self._template = environment.from_string(text)
        except jinja2.TemplateError as error:
            raise UserError(
                f"its chat template is not valid Jinja ({error}).", where=str(folder)
            ) from None

    def render(
        self, messages: Sequence[Mapping[str, str]], generate: bool = False
    ) -> tuple[str, list[tuple[int, int]]]:
        """The text, and the (start, end) of each part that generation markers enclose.

        Positions count from the blocks rendered before, which is how transformers counts them.

        Args:
            messages: The turns.
            generate: Open the assistant's turn at the end.

        Raises:
            jinja2.TemplateError, TypeError, ValueError: The template refuses these turns.
        """
        blocks: list[str] = []
        marked = self._marks.begin(blocks)
        variables = {"messages": messages, "tools": None, "documents": None, **self._special}
        for block in self._template.generate(
            **variables, add_generation_prompt=generate, enable_thinking=False
        ):
            blocks.append(block)
        return "".join(blocks), marked


class _Marks(Extension):
    """`{% generation %}` marks what the assistant wrote."""

    tags = {"generation"}

    def __init__(self, environment: jinja2.Environment) -> None:
        super().__init__(environment)
        self.begin([])

    def begin(self, blocks: list[str]) -> list[tuple[int, int]]:
        """Marks go to the returned list from now on; `blocks` is what has been rendered."""
        self._blocks: list[str] = blocks
        self._marked: list[tuple[int, int]] = []
        return self._marked

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        text = caller()
        start = sum(map(len, self._blocks))
        self._marked.append((start, start + len(text)))
        return text


def _to_json(value: Any, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)
