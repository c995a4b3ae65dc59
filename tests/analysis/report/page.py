"""Reads a report as a browser would, and says what is wrong with it."""

import json
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = ("meta", "img", "br", "link", "input", "hr")


@dataclass
class Page(HTMLParser):
    """Elements with their attributes, texts of tables and of scripts, and faults of nesting."""

    text: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    shown: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self.feed(self.text)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self._open]
        ids = Counter(a["id"] for _, a in self.elements if "id" in a)
        self.faults += [f"id {i} occurs {n} times" for i, n in ids.items() if n > 1]
        self.ids = set(ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1:]}")
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if "script" in self._open:
            self.scripts[-1] += data
        elif "style" not in self._open:
            self.shown += data
            if self._open[-1:] and ("td" in self._open or "th" in self._open):
                self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def panels(self) -> list[dict[str, Any]]:
        """What plotly is given."""
        panels: list[dict[str, Any]] = json.loads(self.scripts[0])
        return panels

    @property
    def points(self) -> list[tuple[float, float, str, str]]:
        """(x, y, text, address) of all marks."""
        return [
            (x, y, *custom)
            for panel in self.panels
            for trace in panel["traces"]
            if "customdata" in trace
            for x, y, custom in zip(trace["x"], trace["y"], trace["customdata"], strict=True)
        ]
