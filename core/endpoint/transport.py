"""One attempt at an endpoint: what is posted, what comes back, and which faults may pass.

By `requests` rather than the `openai` package: docs/DECISIONS.md says why.
"""

import json
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keepgain.core.endpoint.messages import Answer, Refused
from keepgain.core.endpoint.pace import retry_after
from keepgain.core.endpoint.spec import EndpointSpec
from keepgain.core.errors import UserError
from keepgain.core.redaction import redact
from keepgain.core.terminal import clean

if TYPE_CHECKING:
    import requests

MOST_BYTES = 20_000_000
"""Of an answer's body."""
MOST_TOKENS = 1 << 40
"""That an answer is believed to count."""
_PIECE = 1 << 16
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529)
_THIS_ONE = (400, 413, 422)
"""The request is at fault, not the endpoint."""
_NOT_BILLED = (429, 500, 502, 503, 504, 529)
_NOT_SENT = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError")
_NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached")


class AgainError(Exception):
    """This attempt failed; another one may not.

    Args:
        reason: For people.
        asked: Seconds that the endpoint asks to wait.
        billed: It may have been.
    """

    def __init__(self, reason: str, asked: float | None = None, billed: bool = False) -> None:
        self.reason, self.asked, self.billed = reason, asked, billed
        super().__init__(reason)


class Transport:
    """Posts to one endpoint; threads may share it.

    Args:
        spec: Address, model, key.
        where: The endpoint's place in the spec, for messages.

    Raises:
        UserError: The key's variable is not set.
    """

    def __init__(self, spec: EndpointSpec, where: str) -> None:
        self.spec, self._where = spec, where
        self._key = spec.key(where)
        self._threads = threading.local()
        self._reached = False
        self.name = f"the endpoint {spec.base_url} ({spec.model})"
        """For messages."""

    def post(self, body: Mapping[str, Any], most: tuple[int, int]) -> Answer | Refused:
        """One request.

        Args:
            body: JSON.
            most: Tokens of question and answer at most, where the endpoint does not count them.

        Raises:
            AgainError: Another attempt may work.
            UserError: None will.
        """
        import requests
        import urllib3

        late = f"no whole answer within {self.spec.timeout_seconds:g} s"
        try:
            status, headers, content = self._posted(body)
        except requests.exceptions.SSLError as error:
            raise UserError(
                f"{self.name}: no safe connection ({_short(error)}).", where=self._where
            ) from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            if "ReadTimeout" in _short(error):
                raise AgainError(late, billed=True) from None
            if _short(error) not in _NOT_SENT:
                raise AgainError(f"a broken answer ({_short(error)})", billed=True) from None
            if not self._reached:  # it never worked: no reason to be patient
                raise UserError(
                    f"{self.name} cannot be reached ({_short(error)}).",
                    where=f"{self._where}.base_url",
                    hint="Is the server up, and the address right?",
                ) from None
            raise AgainError(f"no connection ({_short(error)})") from None
        except TimeoutError:
            raise AgainError(late, billed=True) from None
        self._reached = True
        if status == 200:
            return _read(content, most)
        return self._refusal(status, headers, content)

    def _posted(self, body: Mapping[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body, the whole within the time limit: a timeout of `requests` is
        between two bytes."""
        deadline = time.monotonic() + self.spec.timeout_seconds
        with self._session().post(
            f"{self.spec.base_url}/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            timeout=(min(10.0, self.spec.timeout_seconds), self.spec.timeout_seconds),
            stream=True,
            allow_redirects=False,  # another host must not get the rows
        ) as reply:
            parts, size = [], 0
            while part := reply.raw.read1(_PIECE, decode_content=True):
                parts.append(part)
                size += len(part)
                if time.monotonic() > deadline:
                    raise TimeoutError
                if size > MOST_BYTES:
                    raise AgainError("an answer of more than 20 MB", billed=True)
            return reply.status_code, reply.headers, b"".join(parts)

    def _session(self) -> "requests.Session":
        """Of this thread: sessions are not made to be shared."""
        import requests

        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = requests.Session()
            session.auth = self._sign  # else ~/.netrc would take the place of the header
        return session

    def _sign(self, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _refusal(self, status: int, headers: Mapping[str, str], content: bytes) -> Refused:
        """Of a status that is not 200; raises unless only this request is at fault."""
        code, said = _complaint(content)
        reason = f"status {status}{f': {said}' if said else ''}"
        if status in _AGAIN and code not in _NO_MONEY:
            asked = retry_after(headers.get("Retry-After"))
            raise AgainError(reason, asked, billed=status not in _NOT_BILLED)
        if status in _THIS_ONE:
            return Refused(reason)
        hints = {
            401: "Is the key in the variable that `api_key_env` names right?",
            403: "May this key use this model?",
            404: "Do `base_url` (it ends with /v1) and `model` exist?",
            429: "The account has no money or quota left.",
        }
        redirected = "It redirects: give the address that it leads to as `base_url`."
        hint = redirected if 300 <= status < 400 else hints.get(status)
        raise UserError(f"{self.name} says {reason}.", where=self._where, hint=hint)


def _read(content: bytes, most: tuple[int, int]) -> Answer:
    """The answer in a body of status 200.

    Args:
        content: JSON.
        most: Tokens of question and answer, where the endpoint does not count them.
    """
    try:
        reply = json.loads(content)
        choice = reply["choices"][0]
        text, finish = choice["message"].get("content"), choice.get("finish_reason")
        usage = reply.get("usage") or {}
        tokens = [usage.get(f"{side}_tokens") for side in ("prompt", "completion")]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise AgainError(
            f"an answer in another form ({type(error).__name__})", billed=True
        ) from None
    if not isinstance(text, str | None):
        raise AgainError("an answer whose content is no text", billed=True)
    counts = [n for n in tokens if type(n) is int and 0 <= n < MOST_TOKENS]
    counted = len(counts) == len(tokens)
    asked, answered = counts if counted else most
    return Answer(_whole(text or ""), _whole(str(finish or "stop")), asked, answered, counted)


def _whole(text: str) -> str:
    """With U+FFFD where JSON had half a character (`\\ud83d`), which no file can hold."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _complaint(content: bytes) -> tuple[str, str]:
    """Code and message of an error's body, as far as it has them."""
    try:
        error = json.loads(content)["error"]
        code, said = error.get("code") or error.get("type"), error.get("message")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        code, said = None, content[:200].decode("utf-8", "replace")
    return str(code), redact(clean(str(said or ""))).strip()[:300].rstrip(".")


def _short(error: Exception) -> str:
    """The kind of an error: its text may hold what was sent."""
    cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    reason = getattr(cause, "reason", None)
    return type(reason if isinstance(reason, Exception) else cause).__name__
