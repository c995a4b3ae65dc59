"""The project's one client of OpenAI-compatible endpoints: cached, paced, retried, within a limit
of cost.
"""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from keepgain.core.endpoint.cache import Cache
from keepgain.core.endpoint.messages import Answer, Refused, Request, cache_key
from keepgain.core.endpoint.pace import LONGEST_ASKED, Pace, pause
from keepgain.core.endpoint.spec import EndpointSpec
from keepgain.core.endpoint.transport import AgainError, Transport
from keepgain.core.errors import KeepgainError, UserError

POLL_SECONDS = 0.05
_log = logging.getLogger(__name__)


class EndpointError(KeepgainError):
    """The endpoint cannot be used now; what was answered is in the cache."""


class CostLimitError(UserError):
    """The next request could pass `max_usd`, so that it was not sent."""


@dataclass(frozen=True)
class Usage:
    """What a client has used since it was made."""

    answers: int = 0
    """That the endpoint gave."""
    cached: int = 0
    """That the cache gave."""
    refused: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    """Of the answers; 0 without prices."""


class Endpoint:
    """Asks one model; threads may share it. Close it, or use it in a `with`.

    Args:
        spec: Address, model, limits.
        cache: File of answers.
        where: The endpoint's place in the spec, for messages.

    Raises:
        UserError: The key's variable is not set, or the cache cannot be used.
    """

    def __init__(self, spec: EndpointSpec, cache: Path, where: str = "endpoint") -> None:
        self.spec, self._where = spec, where
        self._transport = Transport(spec, where)
        self._cache = Cache(cache)
        self._lock = threading.Lock()
        self._usage = Usage()
        self._under_way: dict[str, Future[Answer | Refused]] = {}
        self._rng = random.Random()
        self._stopped = threading.Event()
        limits = (spec.requests_per_minute, spec.tokens_per_minute)
        self._pace = Pace(*limits, sleep=self._stopped.wait)
        self._attempts = 0
        """Under way."""

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the cache."""
        self._stopped.set()
        self._cache.close()

    @property
    def usage(self) -> Usage:
        """So far."""
        return self._usage

    @property
    def paid(self) -> float:
        """US dollars that this cache's answers have cost, in this run and before."""
        return self._cache.paid

    def known(self, request: Request) -> Answer | None:
        """The cached answer; nothing is sent."""
        return self._cache.get(self._keyed(request)[0])

    def ask(self, request: Request) -> Answer | Refused:
        """The answer, out of the cache or from the endpoint.

        Equal requests of several threads are sent once.

        Raises:
            EndpointError: It cannot be used now, after all attempts.
            UserError: It refuses the key, the model or the address; or `CostLimitError`.
        """
        key, body = self._keyed(request)
        mine: Future[Answer | Refused] = Future()
        with self._lock:
            under_way = self._under_way.get(key)
            if under_way is None:
                self._under_way[key] = mine
        if under_way is not None:
            return self._counted(under_way.result(), once=False)
        try:
            given = self._cache.get(key) or self._asked(key, body, request)
        except BaseException as error:
            mine.set_exception(error)
            raise
        else:
            mine.set_result(given)
        finally:
            with self._lock:
                del self._under_way[key]
        return self._counted(given, once=True)

    def _counted(self, given: Answer | Refused, once: bool) -> Answer | Refused:
        """Of the one that asked (`once`), an answer of the endpoint is counted already."""
        if isinstance(given, Refused):
            self._count(refused=1)
        elif given.cached or not once:
            self._count(cached=1)
        return given

    def ask_all(self, requests: Iterable[Request]) -> Iterator[Answer | Refused]:
        """Answers in the order of their requests, of which a few are read ahead.

        Raises:
            As `ask`; no further request is sent then, nor when the caller goes away.
        """
        todo = iter(requests)
        with ThreadPoolExecutor(self.spec.concurrency, "endpoint") as pool:
            waiting: deque[Future[Answer | Refused]] = deque()
            try:
                ahead = islice(todo, 2 * self.spec.concurrency)
                waiting.extend(pool.submit(self.ask, r) for r in ahead)
                while waiting:
                    yield waiting.popleft().result()
                    waiting.extend(pool.submit(self.ask, r) for r in islice(todo, 1))
            finally:
                if waiting:  # an error, or the caller has gone
                    self._stopped.set()
                pool.shutdown(wait=True, cancel_futures=True)
                self._stopped.clear()

    def _keyed(self, request: Request) -> tuple[str, dict[str, Any]]:
        """Key of the cache, and what is posted."""
        body = {
            "model": self.spec.model,
            "messages": list(request.messages),
            self.spec.max_tokens_key: request.max_tokens or self.spec.max_tokens,
            **self.spec.parameters,
            **request.parameters,
        }
        return cache_key(body, request.sample), body

    def _asked(self, key: str, body: Mapping[str, Any], request: Request) -> Answer | Refused:
        """From the endpoint, after as many attempts as it takes."""
        most = (request.most_tokens(), int(body[self.spec.max_tokens_key]))
        dearest = self.spec.usd(*most) or 0.0
        expected = request.expected_tokens()
        for attempt in range(1, self.spec.max_attempts + 1):
            with self._reserved(dearest) as settle:
                self._pace.wait(expected)
                if self._stopped.is_set():
                    settle(False)
                    raise EndpointError("asking was stopped.")
                try:
                    answer = self._transport.post(body, most)
                except AgainError as error:
                    settle(error.billed)
                    failed = error
                else:
                    settle(isinstance(answer, Answer))
                    if isinstance(answer, Answer):
                        self._keep(key, answer, dearest, expected)
                    return answer
            self._rest(attempt, failed)
        raise AssertionError("the last attempt raises")

    @contextmanager
    def _reserved(self, usd: float) -> Iterator[Callable[[bool], None]]:
        """Sets the price of an attempt aside; what the caller calls with false gives it back.

        Where it would pass the limit, this waits for what is under way: that mostly costs less than
        was set aside for it.
        """
        while True:
            if self._stopped.is_set():
                raise EndpointError("asking was stopped.")
            with self._lock:
                if self._cache.set_aside(usd, self.spec.max_usd):
                    self._attempts += 1
                    break
                nothing_comes = self._attempts == 0
            if nothing_comes:
                raise CostLimitError(
                    f"the next request could cost ${usd:.4g}; ${self._cache.paid:.4g} of max_usd "
                    f"${self.spec.max_usd:g} is spent.",
                    where=f"{self._where}.max_usd",
                    hint="Raise it and run again: what was answered is kept in "
                    f"{self._cache.path.name}.",
                )
            self._stopped.wait(POLL_SECONDS)
        billed = True  # what is not known to be free is counted

        def settle(is_billed: bool) -> None:
            nonlocal billed
            billed = is_billed

        try:
            yield settle
        except UserError:  # the endpoint takes no request at all
            billed = False
            raise
        finally:
            if not billed:
                self._cache.give_back(usd)
            with self._lock:
                self._attempts -= 1

    def _keep(self, key: str, answer: Answer, dearest: float, expected: int) -> None:
        usd = self.spec.usd(answer.input_tokens, answer.output_tokens) or 0.0
        self._cache.put(key, self.spec.model, answer, dearest, usd)
        self._pace.correct(answer.input_tokens + answer.output_tokens - expected)
        self._count(
            answers=1,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            usd=usd,
        )

    def _rest(self, attempt: int, error: AgainError) -> None:
        """Before another attempt; raises where there is none."""
        name = self._transport.name
        if error.asked is not None and error.asked > LONGEST_ASKED:
            raise EndpointError(
                f"{name} asks to wait {error.asked:.0f} s ({error.reason}). Run again then: "
                "what was answered is kept."
            ) from None
        if attempt >= self.spec.max_attempts:
            raise EndpointError(
                f"{name} failed {attempt} times, at last: {error.reason}. Run again to go "
                "on: what was answered is kept."
            ) from None
        self._count(retries=1)
        if error.asked is not None:
            self._pace.hold(error.asked)
        seconds = pause(attempt, error.asked, self._rng)
        _log.info("%s: %s; again in %.1f s", name, error.reason, seconds)
        self._stopped.wait(seconds)

    def _count(self, **more: float) -> None:
        with self._lock:
            values = {name: getattr(self._usage, name) + n for name, n in more.items()}
            self._usage = replace(self._usage, **values)
