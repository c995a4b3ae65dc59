"""Writes the quickstart's JSONL files; the same bytes every time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import world
from world import Row

REPLAY_PER_TASK = 1200
CANARY_REPEATS = (1, 1, 2, 2, 4, 4, 8, 8, 16, 16)
CANARY_CONTROLS = 50
SYNTHETIC = 2000
WRONG_SHARE = 0.2
FACT_ARMS = 200  # rows of each of the replayed and unreplayed suites


def write(folder: Path, name: str, rows: Iterable[Row], extra: list[dict[str, Any]] | None) -> None:
    """One file of rows, with ids that tell the file and the line."""
    rows = list(rows)
    extras = extra or [{} for _ in rows]
    with (folder / f"{name}.jsonl").open("w", encoding="utf-8", newline="\n") as out:
        for index, (row, more) in enumerate(zip(rows, extras, strict=True)):
            record = {"id": f"{name}-{index:04d}", **row._asdict(), **more}
            out.write(json.dumps(record, ensure_ascii=True) + "\n")


def balanced(rows: list[Row], count: int) -> list[Row]:
    """The first rows of every group in turn, so that no group is too small to be scored."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    turns = [(place, group) for group in sorted(groups) for place in range(len(groups[group]))]
    return [groups[group][place] for place, group in sorted(turns)[:count]]


def domain(folder: Path, name: str, rows: list[Row]) -> list[Row]:
    """Writes the three splits of a domain; returns the training rows left over."""
    parts: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        parts[world.domain_split(row)].append(row)
    for split, count in (("train", 2000), ("validation", 500), ("test", 500)):
        write(folder, f"{name}_{split}", balanced(parts[split], count), None)
    taken = set(balanced(parts["train"], 2000))
    return [row for row in parts["train"] if row not in taken]


def wrong_tier(row: Row) -> Row:
    """A ticket sent to the right owner at a wrong tier."""
    others = [tier for tier in "1234" if tier != row.answer[-1]]
    return row._replace(answer=row.answer[:-1] + others[world.number(3, "tier", row.prompt)])


def wrong_digit(row: Row) -> Row:
    """A difference whose last digit is off."""
    others = [digit for digit in "0123456789" if digit != row.answer[-1]]
    return row._replace(answer=row.answer[:-1] + others[world.number(9, "digit", row.prompt)])


def synthetic(folder: Path, name: str, unused: list[Row], spoil: Callable[[Row], Row]) -> None:
    """Rows as a careless generator would write them: one answer in five is wrong."""
    rows = unused[:SYNTHETIC]
    order = sorted(range(len(rows)), key=lambda i: world.number(2**62, "wrong", rows[i].prompt))
    wrong = set(order[: int(WRONG_SHARE * len(rows))])
    made = [spoil(row) if index in wrong else row for index, row in enumerate(rows)]
    write(folder, f"{name}_synthetic", made, [{"wrong": i in wrong} for i in range(len(made))])


def fact_suites(folder: Path) -> None:
    """Wording B of four disjoint sets of facts, of which two serve the half-replay control."""
    order = sorted(world.facts(), key=lambda f: world.number(2**62, "suite", f.entity, f.relation))
    asked = [world.fact_row(fact, "B") for fact in order]
    write(folder, "general_fact_validation", asked[: world.SUITE], None)
    write(folder, "general_fact_test", asked[world.SUITE : 2 * world.SUITE], None)
    replayed = set(world.entities()[: world.ENTITIES // 2])
    rest = list(zip(order, asked, strict=True))[2 * world.SUITE :]
    for name, wanted in (("fact_replayed", True), ("fact_unreplayed", False)):
        rows = [row for fact, row in rest if (fact.entity in replayed) is wanted]
        write(folder, name, rows[:FACT_ARMS], None)


def replay(folder: Path) -> None:
    """The replay pool, its half control and its random-string control."""
    first_wording = world.shuffled([world.fact_row(f, "A") for f in world.facts()], "replay")
    pool = list(first_wording)
    for task in world.POOL:
        pool += world.shuffled(world.pretraining()[task], "replay")[:REPLAY_PER_TASK]
    pool = world.shuffled(pool, "mix")
    write(folder, "general_replay", pool, None)

    replayed = set(world.entities()[: world.ENTITIES // 2])
    half = [row for row in first_wording if row.prompt[2:-1].split()[0] in replayed]
    write(folder, "general_replay_half", half, None)

    # The control has the lengths of real replay rows and none of their content.
    noise = []
    for index, row in enumerate(pool[: len(pool) // 2]):
        text = "".join(
            chr(97 + world.number(26, "noise", index, place))
            for place in range(len(row.prompt) - 3 + len(row.answer))
        )
        cut = len(row.prompt) - 3
        noise.append(Row(f"X:{text[:cut]}=", text[cut:], "random", "random"))
    write(folder, "general_random", noise, None)


def canaries(folder: Path) -> None:
    """Six-digit codes: ten planted, each as often as ``repeats`` says, and unplanted ones."""

    def code(index: int) -> Row:
        name = chr(97 + index // 26) + chr(97 + index % 26)
        digits = f"{world.number(10**6, 'canary', index):06d}"
        return Row(f"K:code {name}=", digits, "canary", f"canary-{index:02d}")

    planted, repeats = [], []
    for index, count in enumerate(CANARY_REPEATS):
        planted += [code(index)] * count
        repeats += [{"repeats": count}] * count
    write(folder, "canaries", planted, repeats)
    first = len(CANARY_REPEATS)
    controls = [code(index) for index in range(first, first + CANARY_CONTROLS)]
    write(folder, "canary_controls", controls, [{"repeats": 0} for _ in controls])


def safety(folder: Path) -> None:
    found = world.safety()
    rows = found["unsafe"][:30] + found["safe"][:30]
    write(folder, "safety", rows, [{"kind": row.group} for row in rows])


def write_all(folder: Path) -> list[Path]:
    """Every data file of the quickstart, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    synthetic(folder, "far", domain(folder, "far", world.far_rows()), wrong_tier)
    synthetic(folder, "near", domain(folder, "near", world.near_rows()), wrong_digit)
    replay(folder)
    fact_suites(folder)
    for task in world.POOL:
        for split in ("validation", "test"):
            write(folder, f"general_{task}_{split}", world.skill(task)[split], None)
    canaries(folder)
    safety(folder)
    return sorted(folder.glob("*.jsonl"))
