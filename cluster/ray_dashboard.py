"""What a cluster's dashboard says of its nodes and jobs, asked over HTTP without importing Ray."""

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

from keepgain.core.errors import KeepgainError

# A proxy of the environment is for the internet, not for this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NoAnswer(KeepgainError):  # noqa: N818 - an event, named as such
    """The dashboard did not answer, or not with what was asked."""


def get(address: str, path: str, token: str, timeout_seconds: float = 10.0) -> Any:
    """The JSON at `address` + `path`.

    Args:
        address: http://HOST:PORT of the dashboard.

    Raises:
        NoAnswer: It did not come; the message has the address and the cause, never the token.
    """
    request = urllib.request.Request(address + path, headers={"Authorization": f"Bearer {token}"})
    try:
        with _OPENER.open(request, timeout=timeout_seconds) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise NoAnswer(f"{address}{path} answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(f"{address}{path} does not answer ({error})") from None
