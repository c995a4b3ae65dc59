"""All questions of one suite: who is asked, about which answers, and what that would cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keepgain.core.endpoint.client import Endpoint
from keepgain.core.endpoint.spec import EndpointSpec
from keepgain.core.errors import UserError
from keepgain.core.judged import KIND
from keepgain.core.paths import expanded
from keepgain.sweeps.judging.ask import Estimate, estimate
from keepgain.sweeps.judging.labels import Label, read_labels
from keepgain.sweeps.judging.material import JudgeSettings, Material
from keepgain.sweeps.judging.prompts import Asked, Prompts

CACHE = "replies.sqlite"


class SkippedError(UserError):
    """A suite cannot be judged now; the others may be."""


@dataclass(frozen=True)
class Task:
    """All questions of one suite and split."""

    material: Material
    labels: tuple[Label, ...]
    strange_labels: int
    prompts: Prompts
    endpoint: EndpointSpec

    def questions(self) -> Iterator[Asked]:
        """Equal ones among them; those of the labels first: they say whether the rest counts."""
        for label in self.labels:
            yield from self.of_label(label)
        yield from self.of_scores()
        yield from self.of_pairs()

    def of_scores(self) -> Iterator[Asked]:
        """Each answer of each run."""
        for given in self.material.answers.values():
            for item, answer in given.items():
                yield self.of_answer(item, answer)

    def of_pairs(self) -> Iterator[Asked]:
        """Each answer against the base's, in both orders; none where both are equal."""
        for _, item, mine, other in self.pairs():
            if mine != other:
                yield from self.of_pair(item, mine, other)

    def pairs(self) -> Iterator[tuple[str, str, str, str]]:
        """(run key, item, its answer, the base's)."""
        if self.material.spec.pairs == "none":
            return
        for run, base in self.material.bases.items():
            before = self.material.answers[base]
            for item, answer in self.material.answers[run].items():
                if item in before:
                    yield run, item, answer, before[item]

    def of_answer(self, item: str, answer: str) -> Asked:
        """How good is it?"""
        text = self.material.every_text[item]
        return self.prompts.score(text.question, text.reference, answer)

    def of_pair(self, item: str, mine: str, other: str) -> tuple[Asked, Asked]:
        """Mine first, then the other one first."""
        text = self.material.every_text[item]
        known = (text.question, text.reference)
        return self.prompts.pair(*known, mine, other), self.prompts.pair(*known, other, mine)

    def of_label(self, label: Label) -> tuple[Asked, ...]:
        """What the judge is asked about what people have judged."""
        if len(label.answers) == 1:
            return (self.of_answer(label.item, label.answers[0]),)
        first, second = label.answers
        return self.of_pair(label.item, first, second) if first != second else ()


def make_task(settings: JudgeSettings, material: Material) -> Task:
    """Reads the labels and finds the endpoint.

    Raises:
        SkippedError: The spec has no such endpoint.
        UserError: Labels that cannot be read, or whose file is below no home folder.
    """
    name, spec = material.spec.endpoint, material.spec
    endpoint = settings.endpoints.get(name)
    if endpoint is None:
        known = ", ".join(settings.endpoints)
        raise SkippedError(
            f"no endpoint '{name}'.",
            where=f"{settings.source}:suites.{material.suite}.judge.endpoint",
            hint=f"Known: {known}." if known else "Name a server in `endpoints`.",
        )
    labels: tuple[Label, ...] = ()
    if spec.labels is not None:
        where = f"{settings.source}:suites.{material.suite}.judge.labels"
        labels = read_labels(_path(settings, spec.labels, where), spec.scale)
    ours = [x for x in labels if x.item in material.every_text]
    asked = tuple(x for x in ours if len(x.answers) == 1 or spec.pairs != "none")
    prompts = Prompts(spec, endpoint.parameters)
    return Task(material, asked, len(labels) - len(ours), prompts, endpoint)


def cache_file(settings: JudgeSettings, endpoint: EndpointSpec, folder: Path) -> Path:
    """Of the endpoint's replies: as the spec names it, else in the sweep's folder.

    Raises:
        UserError: It is below no home folder.
    """
    if endpoint.cache is not None:
        return _path(settings, endpoint.cache, f"{settings.source}:endpoints")
    return folder / KIND / CACHE


def _path(settings: JudgeSettings, text: str, where: str) -> Path:
    """Relative ones start at the spec's folder."""
    return settings.folder / expanded(text, where)


def estimated(task: Task, cache: Path) -> Estimate:
    """What judging would take. Nothing is sent or written, and no key is needed."""
    if not cache.exists():
        return estimate(task.questions(), lambda _: False, task.endpoint)
    with Endpoint(task.endpoint.model_copy(update={"api_key_env": None}), cache) as endpoint:
        return estimate(task.questions(), lambda r: endpoint.known(r) is not None, task.endpoint)
