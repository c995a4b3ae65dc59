"""Asks the judge: each different question once, a reply that cannot be read once more."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from keepgain.core.endpoint.client import Endpoint
from keepgain.core.endpoint.messages import Answer, Refused, Request
from keepgain.core.endpoint.spec import EndpointSpec
from keepgain.core.errors import UserError
from keepgain.core.judged import Counts
from keepgain.sweeps.judging.prompts import Asked, Better

Said = int | Better | None
"""A score, which answer is better, or nothing that could be read."""


@dataclass(frozen=True)
class Replies:
    """What the judge said to each question."""

    said: Mapping[Asked, Said]
    first: frozenset[Asked]
    """Questions whose first reply could not be read."""

    def counts(self, questions: Iterable[Asked]) -> Counts:
        """Of some of the questions; equal ones count once."""
        asked = set(questions)
        missing = sum(self.said[q] is None for q in asked)
        return Counts(questions=len(asked), unreadable=len(asked & self.first), missing=missing)


def ask_judge(
    endpoint: Endpoint, questions: Iterable[Asked], tick: Callable[[int], None]
) -> Replies:
    """Asks everything; what is in the endpoint's cache is not sent.

    Args:
        endpoint: To be asked.
        questions: In any order, equal ones among them.
        tick: Called with the number of questions that are done.

    Raises:
        UserError: The endpoint takes none of them, or cannot be used at all.
        EndpointError: It fails; what was answered is in its cache.
    """
    todo = list(dict.fromkeys(questions))
    said, refused = _asked(endpoint, todo, False, tick)
    if todo and len(refused) == len(todo):
        raise UserError(f"the endpoint takes no request: {next(iter(refused.values()))}.")
    again = [q for q in todo if said[q] is None and q not in refused]
    more, _ = _asked(endpoint, again, True, lambda _: None)
    return Replies({**said, **more}, frozenset(again))


def _asked(
    endpoint: Endpoint, questions: Sequence[Asked], again: bool, tick: Callable[[int], None]
) -> tuple[dict[Asked, Said], dict[Asked, str]]:
    """What was said, and why a request was refused."""
    said: dict[Asked, Said] = {}
    refused: dict[Asked, str] = {}
    requests = (q.request(again) for q in questions)
    for question, reply in zip(questions, endpoint.ask_all(requests), strict=True):
        said[question] = _read(question, reply)
        if isinstance(reply, Refused):
            refused[question] = reply.reason
        tick(1)
    return said, refused


def _read(question: Asked, reply: Answer | Refused) -> Said:
    if isinstance(reply, Refused) or not reply.is_whole:
        return None
    return question.read(reply.text)


@dataclass(frozen=True)
class Estimate:
    """What judging would take, if every first reply can be read."""

    questions: int
    known: int
    """Of the questions: replies that are in the cache."""
    input_tokens: int
    usd: float | None
    """Without the replies, which are a few tokens each; None: no prices in the spec."""


def estimate(
    questions: Iterable[Asked], is_known: Callable[[Request], bool], spec: EndpointSpec
) -> Estimate:
    """Before anything is sent; tokens are a guess from bytes."""
    todo = list(dict.fromkeys(questions))
    unknown = [r for r in _requests(todo) if not is_known(r)]
    tokens = sum(r.expected_tokens() for r in unknown)
    return Estimate(len(todo), len(todo) - len(unknown), tokens, spec.usd(tokens, 0))


def _requests(questions: Iterable[Asked]) -> Iterator[Request]:
    return (q.request() for q in questions)
