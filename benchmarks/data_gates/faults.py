"""All kinds of planted faults, their rates and what it means to find them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from benchmarks.data_gates.foreign import SENTENCES, foreign_paragraph
from benchmarks.data_gates.personal import (
    FREE_FORM,
    LOOKALIKES,
    PATTERNS,
    lookalike_sentence,
    personal_sentence,
    with_sentence,
)
from benchmarks.data_gates.prose import Paragraph
from benchmarks.data_gates.repeats import (
    chosen,
    embedded,
    exact_duplicates,
    heavy_duplicates,
    leak,
    near_duplicates,
)
from benchmarks.data_gates.worlds import ANNOTATORS, Family, Item, Planted, World

Plant = Callable[[World, float, random.Random], list[Planted]]
LOOKALIKE_SHARE = 0.2
"""Rows that carry a figure which only looks personal, at every rate."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault."""

    name: str
    title: str
    plant: Plant
    rates: tuple[float, ...]
    rate_of: str
    """What the rates are shares of."""
    families: tuple[Family, ...]
    scored: Literal["rows", "pairs", "set"]
    """rows: each faulty row; pairs: either row of each pair; set: the data set as a whole."""


def _spread(items: Sequence[Item], subs: Sequence[str], rng: random.Random) -> list[str]:
    """A sub-kind for each item: all of them as equally often as can be, in a drawn order."""
    order = rng.sample(list(subs), len(subs))
    return [order[i % len(order)] for i in range(len(items))]


_GIVEN_AWAY = {
    "in brackets behind": "{} [label: {}]",
    "as a last line": "{}\nCategory: {}",
    "in brackets before": "({1}) {0}",
    "as a sentence": "{} The right answer is {}.",
}


def label_in_prompt(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Training prompts with their own label, in a phrase that gives it away."""
    items = chosen(world.files["train"], rate, rng)
    planted = []
    for item, sub in zip(items, _spread(items, list(_GIVEN_AWAY), rng), strict=True):
        prompt, label = item.record["prompt"], item.record["answer"]
        item.record["prompt"] = _GIVEN_AWAY[sub].format(prompt, label)
        planted.append(Planted("label_in_prompt", sub, item.key, "train"))
    return planted


def answer_in_prompt(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Training prompts that hold the whole answer."""
    planted = []
    for item in chosen(world.files["train"], rate, rng):
        item.record["prompt"] += f" Answer: {item.record['answer']}"
        planted.append(Planted("answer_in_prompt", "whole answer", item.key, "train"))
    return planted


def _all(world: World) -> list[Item]:
    return [i for f in ("train", "validation", "test") for i in world.files[f]]


def label_in_field(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """A field `queue` that is the label in this share of the rows, and drawn in the others."""
    for item in _all(world):
        right = rng.random() < rate
        item.record["queue"] = item.record["answer"] if right else rng.choice(world.labels)
    return []


def column_predicts(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """A field `form` with 24 codes, four to a label, that is right in this share of the rows."""
    codes = [f"F{n}" for n in rng.sample(range(100, 1000), 4 * len(world.labels))]
    for item in _all(world):
        right = rng.random() < rate
        label = item.record["answer"] if right else rng.choice(world.labels)
        place = world.labels.index(label)
        item.record["form"] = codes[4 * place + rng.randrange(4)]
    return []


def _other(label: str, world: World, rng: random.Random) -> str:
    return rng.choice([one for one in world.labels if one != label])


def label_conflicts(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Training prompts once more with another label; a third of them in other case and space."""
    planted = []
    for index, item in enumerate(chosen(world.files["train"], rate, rng)):
        prompt, label = item.record["prompt"], item.record["answer"]
        sub = "verbatim" if index % 3 else "case and space"
        if sub != "verbatim":
            prompt = prompt.upper().replace(" ", "  ")
        changed = {"prompt": prompt, "answer": _other(label, world, rng)}
        other = world.new(item.record | changed | {"ref": 800_000 + world.added})
        world.files["train"].append(other)
        planted.append(Planted("label_conflict", sub, other.key, "train", item.key, "train"))
    return planted


def label_errors(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Training rows under a label drawn from the others."""
    planted = []
    for item in chosen(world.files["train"], rate, rng):
        item.record["answer"] = _other(item.record["answer"], world, rng)
        planted.append(Planted("label_error", "flipped", item.key, "train"))
    return planted


def personal(subs: Sequence[str], lookalikes: bool) -> Plant:
    """Training rows with a sentence that holds personal data; lookalikes in other rows."""

    def plant(world: World, rate: float, rng: random.Random) -> list[Planted]:
        items = chosen(world.files["train"], rate, rng)
        planted = []
        for item, sub in zip(items, _spread(items, subs, rng), strict=True):
            key = rng.choice(["prompt", "answer"]) if world.family == "answers" else "prompt"
            sentence = personal_sentence(sub, rng)
            item.record[key] = with_sentence(item.record[key], sentence, rng)
            planted.append(Planted("personal", sub, item.key, "train"))
        taken = {one.key for one in planted}
        rest = [i for i in world.files["train"] if i.key not in taken]
        others = rng.sample(rest, round(LOOKALIKE_SHARE * len(rest))) if lookalikes else []
        for item, sub in zip(others, _spread(others, list(LOOKALIKES), rng), strict=True):
            sentence = lookalike_sentence(sub, rng)
            item.record["prompt"] = with_sentence(item.record["prompt"], sentence, rng)
        return planted

    return plant


def wrong_language(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Training rows whose answer, or prompt and answer, are in another language."""
    items = chosen(world.files["train"], rate, rng)
    planted = []
    for item, language in zip(items, _spread(items, list(SENTENCES), rng), strict=True):
        item.record["answer"] = foreign_paragraph(language, rng)
        if rng.random() < 0.5:
            item.record["prompt"] = rng.choice(SENTENCES[language])
        planted.append(Planted("language", language, item.key, "train"))
    return planted


_BOILERPLATE = (
    "I'm sorry, but as an AI language model I cannot help with that request.",
    "This site uses cookies to improve your experience. By continuing you accept our use of "
    "cookies. Accept all. Manage preferences.",
    "Subscribe to our newsletter! Follow us on social media. All rights reserved. Terms of "
    "Service. Privacy Policy.",
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt "
    "ut labore et dolore magna aliqua.",
)
_ACCENTS = ("’", "é", "ü", "–", "“", "”", "ñ", "…")


def _mojibake(text: str, rng: random.Random) -> str:
    """UTF-8 read as Windows-1252: of marks and accents that are put in at every fourth word."""
    words = text.split(" ")
    for index in range(rng.randrange(4), len(words), 4):
        words[index] += rng.choice(_ACCENTS)
    return " ".join(words).encode().decode("cp1252", errors="replace")


def _broken(text: str, sub: str, rng: random.Random) -> str:
    words = text.split(" ")
    if sub == "cut in a word":
        cut = " ".join(words[: max(3, len(words) * 2 // 5)])
        return cut + " " + "incompr"[: rng.randint(2, 5)]
    if sub == "nothing but a mark":
        return rng.choice(["-", "...", "N/A", "null", "TODO", "?"])
    if sub == "mojibake":
        return _mojibake(text, rng)
    if sub == "replacement characters":
        return "".join("\ufffd" if rng.random() < 0.05 else c for c in text)
    if sub == "markup":
        return f'<div class="post"><p>{text}</p><br/>&nbsp;<a href="#top">Top</a></div>'
    if sub == "loop":
        return " ".join(words[:4] * 15)
    return rng.choice(_BOILERPLATE)


BROKEN = (
    "cut in a word",
    "nothing but a mark",
    "mojibake",
    "replacement characters",
    "markup",
    "loop",
    "boilerplate",
)


def broken(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Training rows whose answer is of no use."""
    items = chosen(world.files["train"], rate, rng)
    planted = []
    for item, sub in zip(items, _spread(items, BROKEN, rng), strict=True):
        item.record["answer"] = _broken(item.record["answer"], sub, rng)
        planted.append(Planted("broken", sub, item.key, "train"))
    return planted


def synthetic_in_test(column: str, yes: object, no: object) -> Plant:
    """Test items whose field says that they are synthetic."""

    def plant(world: World, rate: float, rng: random.Random) -> list[Planted]:
        items = chosen(world.files["test"], rate, rng)
        for item in _all(world):
            item.record[column] = no
        for item in items:
            item.record[column] = yes
        return [Planted("synthetic", f"{column}: {yes}", i.key, "test") for i in items]

    return plant


def imbalance(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """One class is left with this share of the rows of every file."""
    label = rng.choice(world.labels)
    for name in ("train", "validation", "test"):
        items = world.files[name]
        rare = [i for i in items if i.record["answer"] == label]
        keep = {i.key for i in rng.sample(rare, max(1, round(rate * (len(items) - len(rare)))))}
        world.files[name] = [i for i in items if i.record["answer"] != label or i.key in keep]
    return []


def missing_class(file: str) -> Plant:
    """Labels, as many as the rate says, that a file has no item of."""

    def plant(world: World, rate: float, rng: random.Random) -> list[Planted]:
        gone = rng.sample(world.labels, max(1, round(rate * len(world.labels))))
        world.files[file] = [i for i in world.files[file] if i.record["answer"] not in gone]
        return []

    return plant


def annotator(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """One of five annotators mislabels this share of their rows, always to the same label."""
    one, target = rng.choice(ANNOTATORS), rng.choice(world.labels)
    for item in world.files["train"]:
        if item.record["annotator"] == one and rng.random() < rate:
            item.record["answer"] = target
    return []


def drifting_month(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """In the last 30 days this share of the rows is labelled alike, whatever they say."""
    target, since = rng.choice(world.labels), date.today() - timedelta(days=30)
    for item in world.files["train"]:
        if date.fromisoformat(item.record["date"]) > since and rng.random() < rate:
            item.record["answer"] = target
    return []


def group_field(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Rows of group `north` have the first two labels this much more often than the others do."""
    favoured = world.labels[:2]
    for item in _all(world):
        north = rng.random() < rate if item.record["answer"] in favoured else rng.random() < 0.1
        item.record["group"] = "north" if north else rng.choice(["south", "west"])
    return []


def group_terms(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Half of the prompts say who asks, a woman or a man; women have some labels more often."""
    favoured = world.labels[: len(world.labels) // 2]
    for item in _all(world):
        if rng.random() < 0.5:
            share = (1 + rate) / 2 if item.record["answer"] in favoured else (1 - rate) / 2
            who = "woman" if rng.random() < share else "man"
            said = "She" if who == "woman" else "He"
            item.record["prompt"] = f"A {who} asks. {said} has read: {item.record['prompt']}"
    return []


def old_rows(world: World, rate: float, rng: random.Random) -> list[Planted]:
    """Training rows of eight to ten years ago."""
    items = chosen(world.files["train"], rate, rng)
    for item in items:
        day = date.today() - timedelta(days=rng.randint(8 * 365, 10 * 365))
        item.record["date"] = day.isoformat()
    return [Planted("old", "8 to 10 years", i.key, "train") for i in items]


def kinds(filler: Sequence[Paragraph]) -> list[Kind]:
    """All kinds; `filler` is prose that no clean data set uses."""
    both: tuple[Family, ...] = ("topics", "answers")
    usual, leaks, agree = (0.005, 0.02, 0.1), (0.02, 0.05, 0.2), (0.8, 0.95, 1.0)
    topics, answers = both[:1], both[1:]
    rows, test = "training rows", "test items"

    def kind(name: str, title: str, plant: Plant, *rest: object) -> Kind:
        rates, rate_of, families, scored = rest
        return Kind(name, title, plant, rates, rate_of, families, scored)  # type: ignore[arg-type]

    return [
        kind("exact", "exact duplicates", exact_duplicates, usual, rows, both, "pairs"),
        kind("near", "near-duplicates", near_duplicates, usual, rows, both, "pairs"),
        kind("near_heavy", "near-duplicates by three edits", heavy_duplicates, usual, rows, both,
             "pairs"),
        kind("leak_exact", "test in training, verbatim", leak("test", "train", False), leaks,
             test, both, "pairs"),
        kind("leak_near", "test in training, edited", leak("test", "train", True), leaks,
             test, both, "pairs"),
        kind("leak_embedded", "test inside longer training rows", embedded(filler), leaks,
             test, both, "pairs"),
        kind("leak_splits", "validation in test, verbatim", leak("validation", "test", False),
             leaks, "validation items", both, "pairs"),
        kind("leak_splits_near", "validation in test, edited", leak("validation", "test", True),
             leaks, "validation items", both, "pairs"),
        kind("label_in_prompt", "label in the prompt", label_in_prompt, usual, rows, topics,
             "rows"),
        kind("answer_in_prompt", "answer in the prompt", answer_in_prompt, usual, rows, answers,
             "rows"),
        kind("label_in_field", "label in a field", label_in_field, agree, "rows that agree",
             topics, "set"),
        kind("label_conflict", "label conflicts", label_conflicts, usual, rows, topics, "pairs"),
        kind("label_error", "label errors", label_errors, (0.02, 0.05, 0.2), rows, topics, "rows"),
        kind("personal", "personal data with a pattern", personal(list(PATTERNS), True),
             usual, rows, both, "rows"),
        kind("personal_free", "addresses and dates of birth", personal(list(FREE_FORM), False),
             usual, rows, answers, "rows"),
        kind("language", "wrong language", wrong_language, usual, rows, answers, "rows"),
        kind("broken", "empty, cut, garbled, boilerplate", broken, usual, rows, answers, "rows"),
        kind("synthetic", "synthetic test items, by `synthetic`",
             synthetic_in_test("synthetic", True, False), usual, test, answers, "set"),
        kind("synthetic_source", "synthetic test items, by `origin`",
             synthetic_in_test("origin", "synthetic", "human"), usual, test, answers, "set"),
        kind("imbalance", "rare class", imbalance, usual, "rows of the class", topics, "set"),
        kind("missing_validation", "classes missing in validation", missing_class("validation"),
             (1 / 6, 1 / 3, 1 / 2), "classes", topics, "set"),
        kind("missing_test", "classes missing in test", missing_class("test"),
             (1 / 6, 1 / 3, 1 / 2), "classes", topics, "set"),
        kind("annotator", "one annotator labels differently", annotator, (0.2, 0.5, 0.9),
             "that annotator's rows", topics, "set"),
        kind("month", "labels drift in a month", drifting_month, (0.2, 0.5, 0.9),
             "that month's rows", topics, "set"),
        kind("column", "a field alone predicts the label", column_predicts, agree,
             "rows that agree", topics, "set"),
        kind("group_field", "group and label go together", group_field, (0.3, 0.5, 0.9),
             "rows of two labels in the group", topics, "set"),
        kind("group_terms", "group terms and label go together", group_terms, (0.2, 0.5, 0.9),
             "difference of shares", topics, "set"),
        kind("old", "old rows", old_rows, usual, rows, both[1:], "set"),
    ]  # fmt: skip
