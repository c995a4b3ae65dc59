"""`sweep augment`: rows in other words through an endpoint, with a file for people to review."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from keepgain.core.endpoint.client import Endpoint
from keepgain.core.endpoint.messages import Answer, Refused, Request
from keepgain.core.errors import UserError
from keepgain.core.formats import ALIASES
from keepgain.core.rows import Row
from keepgain.sweeps.augment.follow import PARENT
from keepgain.sweeps.augment.keep import Items, cleaned, fault, parts_to_keep
from keepgain.sweeps.augment.prompts import Step, Way, prompt_hash
from keepgain.sweeps.augment.questions import asked_anew, asked_text, protected_parts
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.located import Located
from keepgain.sweeps.sources import SPLITS, read_sources
from keepgain.sweeps.suites import read_suites

_CONTENT = {key for keys in ALIASES.values() for key in keys}


@dataclass(frozen=True)
class Task:
    """What is to be written."""

    rows: tuple[Row, ...]
    """Training rows of the source."""
    beside: tuple[Mapping[str, str], ...]
    """Their other fields."""
    keep: tuple[tuple[str, ...], ...]
    """Words of each that must stay."""
    way: Way
    steps: tuple[Step, ...]
    copies: int
    items: Items
    """What is scored."""

    def first_requests(self) -> Iterator[Request]:
        """Of all copies of the first row, of the second, ..."""
        step = self.steps[0]
        for row, keep in zip(self.rows, self.keep, strict=True):
            for copy in range(self.copies):
                yield step.request(asked_text(row), keep, copy)


def read_task(
    loaded: LoadedSpec,
    source: str,
    way: Way,
    steps: tuple[Step, ...],
    copies: int,
    limit: int | None,
    seed: int,
) -> Task:
    """Reads the sources and the suites of a spec.

    Args:
        loaded: The spec.
        source: Its name.
        way: How rows are put in other words.
        steps: Of `steps_of`.
        copies: Of each row.
        limit: Only so many rows, drawn.
        seed: Of the draw.

    Raises:
        UserError: As `read_sources`; or no such source, or one whose rows cannot be changed.
    """
    where = f"data.{source}"
    if source not in loaded.spec.data:
        known = ", ".join(loaded.spec.data)
        raise UserError(f"no source '{source}' in this spec.", hint=f"Sources: {known}.")
    if loaded.spec.data[source].role == "replay":
        raise UserError(
            f"'{source}' is replay: its rows are there to be kept as they are.",
            where=loaded.where(where),
        )
    sources = read_sources(loaded)
    if sources[source].lineage is not None:
        raise UserError(
            f"rows of '{source}' were made from others themselves.", where=loaded.where(where)
        )
    suites = read_suites(loaded, sources)
    train = sources[source].train
    chosen = _drawn(len(train.rows), limit, seed)
    rows = tuple(train.rows[i] for i in chosen)
    if any(row.kind == "text" for row in rows[:1]):
        raise UserError(
            f"rows of '{source}' are plain text: what is changed would be learnt.",
            where=loaded.where(where),
            hint="Only prompts and chats can be augmented.",
        )
    protected = protected_parts(loaded.spec.data_spec)
    scored = [r for suite in suites.values() for s in SPLITS for r in suite.items(s).rows]
    return Task(
        rows=rows,
        beside=tuple(_beside(train, chosen, _not_copied(loaded))),
        keep=tuple(parts_to_keep(row, protected) for row in rows),
        way=way,
        steps=steps,
        copies=copies,
        items=Items(scored, rows),
    )


def _drawn(rows: int, limit: int | None, seed: int) -> list[int]:
    if limit is None or limit >= rows:
        return list(range(rows))
    drawn: list[int] = np.random.default_rng(seed).choice(rows, limit, replace=False).tolist()
    return sorted(drawn)


def _not_copied(loaded: LoadedSpec) -> set[str]:
    """Fields that tell who wrote a row, and when: not true of another wording."""
    rules = loaded.spec.data_spec
    columns = rules.columns if rules is not None else None
    own = {columns.annotator, columns.date, columns.reviewed} if columns is not None else set()
    return {name for name in own if name is not None} | _CONTENT | {"annotator", "date"}


def _beside(rows: Located, chosen: Sequence[int], without: set[str]) -> Iterator[dict[str, str]]:
    columns = [(n, c.values, c.codes) for n, c in rows.columns.items() if n not in without]
    for index in chosen:
        yield {n: values[codes[index]] for n, values, codes in columns if codes[index] >= 0}


@dataclass(frozen=True)
class Estimate:
    """What asking would take; roughly, but for `requests`."""

    requests: int
    known: int
    """Of the requests: answers that are in the cache."""
    input_tokens: int
    output_tokens: int
    usd: float | None


def estimate(
    task: Task, is_known: Callable[[Request], bool], usd: Callable[[float, float], float | None]
) -> Estimate:
    """Before anything is sent; a second step is taken to be like the first one.

    Args:
        task: What is to be written.
        is_known: Whether the cache has the answer.
        usd: Price of so many input and output tokens.
    """
    requests = known = asked = answered = 0
    for request in task.first_requests():
        requests += 1
        if is_known(request):
            known += 1
            continue
        asked += request.expected_tokens()
        answered += Request(request.messages[1:]).expected_tokens()
    steps = len(task.steps)
    return Estimate(
        requests * steps,
        known,
        asked * steps,
        answered * steps,
        usd(asked * steps, answered * steps),
    )


@dataclass(frozen=True)
class Written:
    """What was made of the answers."""

    rows: tuple[Mapping[str, Any], ...]
    review: tuple[Mapping[str, Any], ...]
    dropped: tuple[Mapping[str, Any], ...]

    @property
    def reasons(self) -> Counter[str]:
        """Kind of reason → rows that were dropped for it."""
        return Counter(str(d["reason"]).partition(":")[0] for d in self.dropped)


def ask_for(task: Task, endpoint: Endpoint, tick: Callable[[int], None]) -> Written:
    """Asks for everything and sorts out what cannot be used.

    Args:
        task: What is to be written.
        endpoint: To be asked.
        tick: Called with the number of requests that are done.

    Raises:
        UserError: The endpoint takes none of the requests, or nothing can be used.
        EndpointError: It fails; what was answered is in its cache.
    """
    given = _asked(endpoint, task.first_requests(), tick)
    for step in task.steps[1:]:
        given = _asked_on(task, step, given, endpoint, tick)
    refused = [g for g in given if isinstance(g, Refused)]
    if refused and len(refused) == len(given):
        raise UserError(f"the endpoint takes no request: {refused[0].reason}.")
    written = _sorted_out(task, given, endpoint.spec.model)
    if not written.rows:
        reasons = ", ".join(f"{n} {reason}" for reason, n in written.reasons.most_common())
        raise UserError(f"none of the {len(given)} answers can be used ({reasons}).")
    return written


def _asked(
    endpoint: Endpoint, requests: Iterable[Request], tick: Callable[[int], None]
) -> list[Answer | Refused]:
    answers = []
    for answer in endpoint.ask_all(requests):
        answers.append(answer)
        tick(1)
    return answers


def _asked_on(
    task: Task,
    step: Step,
    given: Sequence[Answer | Refused],
    endpoint: Endpoint,
    tick: Callable[[int], None],
) -> list[Answer | Refused]:
    """The next step for answers that are texts; the others stay as they are."""
    sent = [i for i, g in enumerate(given) if isinstance(g, Answer) and g.text and g.is_whole]

    def requests() -> Iterator[Request]:
        for i in sent:
            answer, row = given[i], i // task.copies
            assert isinstance(answer, Answer)
            text = cleaned(answer.text, asked_text(task.rows[row]))
            yield step.request(text, task.keep[row], i % task.copies)

    made = list(given)
    for i, answer in zip(sent, _asked(endpoint, requests(), tick), strict=True):
        made[i] = answer
    return made


def _sorted_out(task: Task, given: Sequence[Answer | Refused], model: str) -> Written:
    rows, review, dropped = [], [], []
    of_prompt, by = prompt_hash(task.steps), task.way
    for index, row in enumerate(task.rows):
        original, seen = asked_text(row), set[str]()
        for copy in range(task.copies):
            answer = given[index * task.copies + copy]
            text = cleaned(answer.text, original) if isinstance(answer, Answer) else ""
            reason = fault(answer, text, row, task.keep[index])
            if reason is None and text.casefold() in seen:
                reason = "same: an earlier copy says it"
            if reason is None and task.items.has(text):
                reason = "evaluation: it is an item of a suite, or nearly"
            made = replace(asked_anew(row, text), id=f"{row.id}~{copy + 1}")
            facts = {"id": made.id, PARENT: row.id, "by": by}
            if reason is not None:
                dropped.append({**facts, "reason": reason, "original": original, "new": text})
                continue
            seen.add(text.casefold())
            origin = {"generator": model, "prompt_hash": of_prompt, "synthetic": True}
            rows.append(
                {**task.beside[index], **as_record(made), **facts, **origin, "reviewed": False}
            )
            review.append(
                {**facts, "original": original, "new": text, "answer": row.answer, "accept": None}
            )
    return Written(tuple(rows), tuple(review), tuple(dropped))


def as_record(row: Row) -> dict[str, Any]:
    """As `core.row_files` reads it again, slices under their own names."""
    record = row.to_json()
    return {**record.pop("slices", {}), **record}


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        partial.replace(path)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror}).", where=str(path)) from None


def refuse_existing(*paths: Path) -> None:
    """Nothing is written over, and folders are there.

    Raises:
        UserError: The first one that cannot be made.
    """
    for path in paths:
        if path.exists():
            raise UserError("the file is there already.", where=str(path), hint="Name another one.")
        if not path.parent.is_dir():
            raise UserError("no such folder.", where=str(path.parent), hint="Make it first.")
