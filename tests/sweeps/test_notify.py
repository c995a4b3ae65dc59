"""Telling that a sweep has ended: a real command, a real HTTP server."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps import notify as module
from keepgain.sweeps.notify import Message, notify
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.spec_search import NotifySpec
from tests.sweeps.tiny_models import make_world

MESSAGE = Message("tiny-1a2b3c", "decided", 'all done; "xs" it is')


class Server:
    """Answers every POST with one status, and keeps what it got."""

    def __init__(self) -> None:
        server = self
        self.got: list[tuple[str, Any]] = []
        self.status = 200
        self.silent = 0.0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                server.got.append(
                    (self.headers["Content-Type"], json.loads(self.rfile.read(length)))
                )
                time.sleep(server.silent)
                self.send_response(server.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None: ...

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/hook"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()
    made.thread.join(10)


def told(spec: NotifySpec) -> list[str]:
    warnings: list[str] = []
    notify(spec, MESSAGE, warnings.append)
    return warnings


def test_the_webhook_gets_the_message_as_json(server: Server) -> None:
    assert told(NotifySpec(webhook=server.address)) == []
    expected = {"sweep": "tiny-1a2b3c", "status": "decided", "message": MESSAGE.message}
    assert server.got == [("application/json", expected)]


def test_a_secret_address_stays_in_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_HOOK", server.address)
    assert told(NotifySpec(webhook="$TEAM_HOOK")) == []
    assert len(server.got) == 1
    monkeypatch.delenv("TEAM_HOOK")
    assert told(NotifySpec(webhook="$TEAM_HOOK")) == [
        "warning: notify.webhook: $TEAM_HOOK is no http:// or https:// address"
    ]


def test_a_refusal_is_a_warning(server: Server) -> None:
    server.status = 500
    (warning,) = told(NotifySpec(webhook=server.address))
    assert warning.startswith("warning: notify.webhook: HTTP Error 500")


def test_a_server_that_does_not_answer_is_a_warning(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.3)
    server.silent = 1.0
    (warning,) = told(NotifySpec(webhook=server.address))
    assert "timed out" in warning


def test_nobody_listening_is_a_warning(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    (warning,) = told(NotifySpec(webhook=server.address))
    assert "refused" in warning


def test_the_command_gets_the_message_in_its_environment(tmp_path: Path) -> None:
    out = tmp_path / "told"
    line = f'printf "%s|" "$KEEPGAIN_SWEEP" "$KEEPGAIN_STATUS" "$KEEPGAIN_MESSAGE" > {out}'
    assert told(NotifySpec(command=line)) == []
    assert out.read_text() == f"tiny-1a2b3c|decided|{MESSAGE.message}|"


def test_a_failing_command_is_a_warning() -> None:
    assert told(NotifySpec(command="echo no such room >&2; exit 3")) == [
        "warning: notify.command: exit code 3: no such room"
    ]


def test_a_command_that_does_not_end_is_ended_with_what_it_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.5)
    began = time.monotonic()
    (warning,) = told(NotifySpec(command="sleep 60 | cat"))
    assert "more than 0.5 s" in warning and time.monotonic() - began < 10


def test_an_address_of_another_kind_is_refused_in_the_spec(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    path.write_text(path.read_text() + "notify: {webhook: file:///etc/passwd}\n")
    with pytest.raises(UserError, match=r"notify\.webhook .*must be an http://"):
        load_spec(path)
