"""The client against a real server: faults, the cache, limits, and that no key gets out."""

import json
import logging
import random
import socket
import stat
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from keepgain.core.endpoint import client as client_module
from keepgain.core.endpoint.cache import Cache
from keepgain.core.endpoint.client import CostLimitError, Endpoint, EndpointError
from keepgain.core.endpoint.messages import Answer, Refused, Request, cache_key
from keepgain.core.endpoint.pace import Pace, pause, retry_after
from keepgain.core.endpoint.spec import EndpointSpec
from keepgain.core.errors import UserError
from keepgain.core.redaction import redact
from keepgain.core.schema import parse
from tests.core.endpoint.server import OK, Reply, Server, serving

KEY = "qwertz-4711-not-of-any-known-form"
PRICES = {"usd_per_million_input_tokens": 1e4, "usd_per_million_output_tokens": 2e4}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "pause", lambda n, asked, rng: (asked or 0.0) + 0.01)


def endpoint(server: Server, folder: Path, **more: Any) -> Endpoint:
    spec = EndpointSpec(base_url=server.url, model="m", **more)
    return Endpoint(spec, folder / "cache.sqlite", "sweep.yaml:endpoints.writer")


def asked(text: str, **more: Any) -> Request:
    return Request([{"role": "user", "content": text}], **more)


def answer_of(given: Answer | Refused) -> Answer:
    assert isinstance(given, Answer), given
    return given


def test_it_asks_as_the_api_wants_it_and_counts_what_it_costs(tmp_path: Path) -> None:
    more: dict[str, Any] = {"parameters": {"temperature": 0.5}, "max_tokens": 30, **PRICES}
    with serving() as server, endpoint(server, tmp_path, **more) as client:
        given = answer_of(client.ask(asked("say it")))
        assert (given.text, given.finish, given.cached) == ("SAY IT", "stop", False)
        assert server.headers[0]["path"] == "/v1/chat/completions"
        assert "Authorization" not in server.headers[0]
        assert server.asked[0] == {
            "model": "m",
            "messages": [{"role": "user", "content": "say it"}],
            "max_tokens": 30,
            "temperature": 0.5,
        }
        # 6 tokens each way, at $0.01 and $0.02
        assert client.usage.usd == pytest.approx(0.06 + 0.12)
        assert client.paid == pytest.approx(0.18)


def test_a_429_is_waited_out_as_long_as_the_endpoint_asks(tmp_path: Path) -> None:
    busy = Reply(429, {"Retry-After": "0.4"}, b'{"error": {"message": "slow down"}}')
    with serving(busy, OK) as server, endpoint(server, tmp_path) as client:
        assert answer_of(client.ask(asked("hello"))).text == "HELLO"
        assert server.times[1] - server.times[0] >= 0.4
        assert client.usage.retries == 1


@pytest.mark.parametrize(
    "fault",
    [
        Reply(503, body=b"<html>busy</html>"),
        Reply(cut=20),
        Reply(body=b'{"choices": [{"message": {"con'),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": [{"message": {"content": 5}}]}'),
        Reply(body=b"[" * 100_000),
        Reply(late_seconds=1.0),
        Reply(drip_seconds=0.02),
    ],
    ids=["busy", "cut", "half a JSON", "no choice", "a number", "nested", "late", "dripping"],
)
def test_broken_answers_are_asked_for_again(fault: Reply, tmp_path: Path) -> None:
    with serving(fault, OK) as server, endpoint(server, tmp_path, timeout_seconds=0.5) as client:
        began = time.monotonic()
        assert answer_of(client.ask(asked("hello"))).text == "HELLO"
        assert time.monotonic() - began < 2.0
        assert len(server.asked) == 2
        assert client.known(asked("hello")) is not None


def test_attempts_end_and_the_error_says_the_last_cause(tmp_path: Path) -> None:
    fault = Reply(500, body=b'{"error": {"message": "no memory"}}')
    with serving(fault) as server, endpoint(server, tmp_path, max_attempts=3) as client:
        with pytest.raises(EndpointError, match="failed 3 times, at last: status 500: no memory"):
            client.ask(asked("hello"))
        assert len(server.asked) == 3
        assert client.known(asked("hello")) is None


def test_a_pause_of_hours_is_not_waited_for(tmp_path: Path) -> None:
    with serving(Reply(429, {"Retry-After": "7200"})) as server:
        with (
            endpoint(server, tmp_path) as client,
            pytest.raises(EndpointError, match="asks to wait 7200 s"),
        ):
            client.ask(asked("hello"))
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(401, body=b'{"error": {"message": "bad key"}}'), "status 401: bad key.*api_key_env"),
        (Reply(404), "status 404.*base_url"),
        (Reply(429, body=b'{"error": {"code": "insufficient_quota"}}'), "status 429.*no money"),
        (Reply(302, {"Location": "http://127.0.0.1:1/"}), "status 302.*redirects"),
    ],
)
def test_what_no_attempt_can_mend_is_refused_at_once(
    reply: Reply, says: str, tmp_path: Path
) -> None:
    with serving(reply) as server:
        with endpoint(server, tmp_path, **PRICES) as client:
            with pytest.raises(UserError, match=says) as caught:
                client.ask(asked("hello"))
            assert client.paid == 0
        assert str(caught.value).startswith("sweep.yaml:endpoints.writer: ")
        assert len(server.asked) == 1


def test_a_request_that_is_not_taken_leaves_the_others_alone(tmp_path: Path) -> None:
    long = Reply(400, body=b'{"error": {"message": "too long"}}')
    with serving(OK, long, OK) as server, endpoint(server, tmp_path, concurrency=1) as client:
        given = list(client.ask_all(asked(t) for t in "abc"))
        assert [type(g) for g in given] == [Answer, Refused, Answer]
        assert given[1] == Refused("status 400: too long")
        assert client.usage.refused == 1


def test_without_a_server_it_says_so_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        began = time.monotonic()
        with (
            endpoint(server, tmp_path) as client,
            pytest.raises(UserError, match=r"cannot be reached.*Is the server up"),
        ):
            client.ask(asked("hello"))
        assert time.monotonic() - began < 2


def test_answers_come_in_order_with_limited_concurrency(tmp_path: Path) -> None:
    slow = Reply(late_seconds=0.02)
    with serving(slow) as server, endpoint(server, tmp_path, concurrency=3) as client:
        texts = [f"text {i}" for i in range(12)]
        given = [answer_of(g).text for g in client.ask_all(map(asked, texts))]
        assert given == [t.upper() for t in texts]
        assert 2 <= server.most_at_once <= 3


def test_what_was_answered_is_never_asked_again(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(5)]
    fault = Reply(401)
    with serving(OK, OK, OK, fault) as server:
        with endpoint(server, tmp_path, concurrency=1) as client, pytest.raises(UserError):
            list(client.ask_all(map(asked, texts)))
        server.plan = [OK]
        before = len(server.asked)
        with endpoint(server, tmp_path, concurrency=1) as client:
            given = [answer_of(g) for g in client.ask_all(map(asked, texts))]
            assert [g.cached for g in given] == [True] * 3 + [False] * 2
            assert client.usage.cached == 3 and client.usage.answers == 2
        assert len(server.asked) - before == 2


def test_equal_requests_at_the_same_time_are_sent_once_and_samples_anew(tmp_path: Path) -> None:
    slow = Reply(late_seconds=0.1)
    with serving(slow) as server, endpoint(server, tmp_path, concurrency=4) as client:
        list(client.ask_all([asked("same")] * 4))
        assert len(server.asked) == 1 and client.usage.cached == 3
        list(client.ask_all(asked("same", sample=n) for n in range(3)))
        assert len(server.asked) == 3


def test_the_key_of_the_cache_is_model_messages_and_parameters() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "é"}], "temperature": 0}
    others = [
        {**body, "model": "n"},
        {**body, "messages": [{"role": "system", "content": "é"}]},
        {**body, "temperature": 0.1},
    ]
    keys = {cache_key(body, 0), cache_key(body, 1), *(cache_key(o, 0) for o in others)}
    assert len(keys) == 5
    assert cache_key(dict(reversed(body.items())), 0) == cache_key(body, 0)


def test_two_processes_share_one_cache(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from keepgain.core.endpoint.client import Endpoint\n"
        "from keepgain.core.endpoint.messages import Request\n"
        "from keepgain.core.endpoint.spec import EndpointSpec\n"
        "prices = dict(usd_per_million_input_tokens=1e4, usd_per_million_output_tokens=1e4)\n"
        "spec = EndpointSpec(base_url=sys.argv[1], model='m', **prices)\n"
        "with Endpoint(spec, Path(sys.argv[2])) as client:\n"
        "    for n in range(12):\n"
        "        client.ask(Request([{'role': 'user', 'content': f'number {n}'}]))\n"
    )
    path = tmp_path / "cache.sqlite"
    with serving() as server:
        command = [sys.executable, "-c", program, server.url, str(path)]
        processes = [subprocess.Popen(command) for _ in range(2)]
        assert [p.wait(timeout=60) for p in processes] == [0, 0]
        asked_for = len(server.asked)
        with endpoint(server, tmp_path) as client:
            for n in range(12):
                assert answer_of(client.ask(asked(f"number {n}"))).text == f"NUMBER {n}"
            assert client.usage.cached == 12
            assert 12 <= asked_for <= 24
            # Each answer that was paid is counted: 6 tokens each way at a cent.
            assert client.paid == pytest.approx(asked_for * 0.12)


def test_the_limit_of_cost_refuses_before_it_is_passed(tmp_path: Path) -> None:
    # "a b" may cost (3 + 64) × $0.01 + 10 × $0.02 = $0.87, and costs $0.06 + $0.12 = $0.18.
    limited = {"max_tokens": 10, "max_usd": 2.0, "concurrency": 4, **PRICES}
    with serving(Reply(late_seconds=0.01)) as server:
        with endpoint(server, tmp_path, **limited) as client:
            with pytest.raises(CostLimitError, match=r"max_usd \$2 is spent.*Raise it"):
                list(client.ask_all(asked(f"{i} b") for i in range(30)))
            paid = client.paid
        # 7 answers leave 2 - 1.26 = 0.74 < 0.87.
        assert len(server.asked) == 7 and paid == pytest.approx(7 * 0.18)
        with endpoint(server, tmp_path, **limited) as client, pytest.raises(CostLimitError):
            client.ask(asked("another one"))  # the next run has no fresh purse
        assert len(server.asked) == 7
        with endpoint(server, tmp_path, **{**limited, "max_usd": 3.0}) as client:
            client.ask(asked("another one"))


def test_what_may_have_been_billed_is_counted_at_its_dearest(tmp_path: Path) -> None:
    more: dict[str, Any] = {"max_tokens": 10, "max_attempts": 1, **PRICES}
    dearest = 67 * 0.01 + 10 * 0.02
    for number, (reply, counted) in enumerate(
        [(Reply(cut=20), dearest), (Reply(429), 0.0), (Reply(usage=False), dearest)]
    ):
        folder = tmp_path / str(number)
        with serving(reply) as server, endpoint(server, folder, **more) as client:
            try:
                given = client.ask(asked("a b"))
            except EndpointError:
                pass
            else:
                assert not answer_of(given).counted
            assert client.paid == pytest.approx(counted)


def test_the_key_is_sent_and_gets_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEAM_WRITER", KEY)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    echo = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()
    caplog.set_level(logging.DEBUG)
    with serving(Reply(503), OK, Reply(401, body=echo)) as server:
        with endpoint(server, tmp_path, api_key_env="TEAM_WRITER") as client:
            client.ask(asked("hello"))
            with pytest.raises(UserError) as caught:
                client.ask(asked("again"))
        assert [h["Authorization"] for h in server.headers] == [f"Bearer {KEY}"] * 3
    assert KEY not in str(caught.value) and "Incorrect API key provided" in str(caught.value)
    assert KEY not in caplog.text and "status 503" in caplog.text
    written = b"".join(p.read_bytes() for p in tmp_path.iterdir() if p.name != ".netrc")
    assert KEY.encode() not in written and b"hello" not in written and b"HELLO" in written


def test_the_cache_is_its_owners_alone(tmp_path: Path) -> None:
    Cache(tmp_path / "new" / "cache.sqlite").close()
    assert stat.S_IMODE((tmp_path / "new" / "cache.sqlite").stat().st_mode) == 0o600


def test_a_file_that_is_no_cache_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a"}\n' * 100)
    with pytest.raises(UserError, match=r"rows\.jsonl: the cache of answers cannot be used"):
        Cache(path)
    assert path.read_text() == '{"prompt": "a"}\n' * 100


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"base_url": "localhost:8000"}, "must be an address"),
        ({"base_url": f"http://me:{KEY}@host/v1"}, "holds no key"),
        ({"base_url": "http://localhost:99999/v1"}, "(?i)port"),
        ({"base_url": "http://localhost:8000/v1\n"}, "white space"),
        ({"api_key_env": KEY}, "never the key"),
        ({"api_key": KEY}, "unknown key 'api_key'"),
        ({"parameters": {"model": "other"}}, "'model' is not set here"),
        ({"parameters": {"extra": {"api_key": KEY}}}, "looks like a secret"),
        ({"max_usd": 5}, "`max_usd` needs"),
        ({"usd_per_million_input_tokens": 5}, "give both prices"),
    ],
)
def test_faults_of_the_spec_are_named_without_the_key(change: dict[str, Any], says: str) -> None:
    given = {"base_url": "http://localhost/v1", "model": "m", **change}
    with pytest.raises(UserError, match=says) as caught:
        parse(EndpointSpec, given, source="sweep.yaml")
    assert KEY not in redact(str(caught.value))


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"\u201c{KEY}\u201d", f"{KEY}\u200b"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_WRITER", key)
    with pytest.raises(UserError, match="TEAM_WRITER holds a line break") as refused:
        endpoint(Server("http://localhost/v1"), tmp_path, api_key_env="TEAM_WRITER")
    assert KEY not in str(refused.value)


def test_half_characters_and_impossible_counts_of_an_answer_are_kept_as_far_as_they_go(
    tmp_path: Path,
) -> None:
    body = (
        b'{"choices": [{"message": {"content": "half \\ud83d"}}], '
        b'"usage": {"prompt_tokens": 1, "completion_tokens": 99999999999999999999}}'
    )
    with serving(Reply(body=body)) as server, endpoint(server, tmp_path) as client:
        given = answer_of(client.ask(asked("hello")))
        assert given.text.rstrip("\ufffd") == "half " and not given.counted
        assert answer_of(client.ask(asked("hello"))).cached


def test_a_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"TEAM_NOT_SET is not set.*export TEAM_NOT_SET"):
        endpoint(Server("http://localhost/v1"), tmp_path, api_key_env="TEAM_NOT_SET")
    assert not list(tmp_path.iterdir())


def test_the_pace_spreads_requests_and_tokens_over_the_minute() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(60, None, clock=lambda: now[0], sleep=sleep)
    for _ in range(4):
        pace.wait(1000)
    assert now[0] == pytest.approx(3.0)  # one a second
    pace = Pace(None, 600, clock=lambda: now[0], sleep=sleep)
    begin = now[0]
    pace.wait(20)  # takes 2 s of the rate
    pace.correct(30)  # it was 50: 3 s more
    pace.wait(20)
    assert now[0] - begin == pytest.approx(5.0)
    pace.hold(40)
    pace.wait(1)
    assert now[0] - begin == pytest.approx(45.0)


def test_pauses_double_and_are_never_shorter_than_asked_for() -> None:
    rng = random.Random(0)
    for attempt, most in ((1, 1.0), (2, 2.0), (5, 16.0), (12, 60.0)):
        drawn = [pause(attempt, None, rng) for _ in range(200)]
        assert 0 <= min(drawn) and 0.9 * most < max(drawn) <= most
    assert min(pause(1, 30.0, rng) for _ in range(50)) >= 30


def test_retry_after_is_read_in_both_forms() -> None:
    assert retry_after("2.5") == 2.5 and retry_after("-3") == 0
    assert retry_after(None) is None and retry_after("soon") is None and retry_after("nan") is None
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after(date) == pytest.approx(90, abs=2)


def test_who_waits_for_its_turn_can_be_stopped(tmp_path: Path) -> None:
    limited: dict[str, Any] = {"requests_per_minute": 1, "max_tokens": 10, **PRICES}
    with serving() as server, endpoint(server, tmp_path, **limited) as client:
        answers = client.ask_all(asked(f"{i} b") for i in range(10))
        next(answers)
        began = time.monotonic()
        answers.close()  # type: ignore[attr-defined]
        assert time.monotonic() - began < 2
        assert len(server.asked) == 1 and client.paid == pytest.approx(0.18)


def test_a_caller_that_goes_away_leaves_nothing_running(tmp_path: Path) -> None:
    with serving(Reply(late_seconds=0.02)) as server, endpoint(server, tmp_path) as client:
        answers = client.ask_all(asked(str(i)) for i in range(1000))
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        assert len(server.asked) <= 20
        assert not [t for t in threading.enumerate() if t.name.startswith("endpoint")]
        assert answer_of(client.ask(asked("further"))).text == "FURTHER"
