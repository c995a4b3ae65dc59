"""Secrets are hidden wherever text is written or shown, and nothing else is changed."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core import redaction
from keepgain.core.redaction import (
    HIDDEN,
    RedactingFormatter,
    copy_redacted,
    is_secret_key,
    known_values,
    redact,
    redact_values,
    redacted_lines,
    remember,
    remember_uri,
    secrets_in,
)
from keepgain.core.terminal import clean, shown

CANARY = "Qx7canaryQx7canary"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n{CANARY}\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "name",
    [
        "password", "DB_PASSWORD", "mlflow_tracking_password", "passwd", "sslpassword", "pwd",
        "token", "HF_TOKEN", "hfToken", "auth-token", "access.token", "RAY_AUTH_TOKEN",
        "push_to_hub_token", "secret", "clientSecret", "aws_secret_access_key", "api_key", "apiKey",
        "OPENAI_API_KEY", "apikey", "private_key", "Authorization", "credentials", "webhook",
        "SLACK_WEBHOOK_URL", "trainer.api_key", "AWS_ACCESS_KEY_ID", "cookie",
        "AZURE_STORAGE_KEY", "api_keys",
    ],
)  # fmt: skip
def test_these_names_are_of_secrets(name: str) -> None:
    assert is_secret_key(name)


@pytest.mark.parametrize(
    "name",
    [
        "tokens", "budget_tokens", "max_tokens", "max_new_tokens", "tokenizer", "tokenizer_class",
        "token-classifier", "token_classifier", "token_count", "eos_token", "pad_token",
        "bos_token_id", "eos_token_id", "TOKENIZERS_PARALLELISM", "cost/tokens", "usd_per_token",
        "token_type_ids", "patience_tokens", "run_key", "key", "keys", "trainer.keyword", "PWD",
        "model", "learning_rate", "author", "authors", "passes", "pass", "secretary", "proxy_for",
        "mixture.general", "keepgain.key.0123", "sweep_id", "password_file", "token_path", "",
    ],
)  # fmt: skip
def test_these_names_are_not(name: str) -> None:
    assert not is_secret_key(name)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://me:{CANARY}@db/mlflow",
        f"postgresql+psycopg://me:{CANARY}@db:5432/x?sslmode=require",
        f"could not connect to 'mysql://u:{CANARY}@h/d': refused",
        f"http://:{CANARY}@head:5000",
        f"https://h/x?access_token={CANARY}&y=1",
        f"https://h/x?a=1;api_key={CANARY}",
        f"hf_{CANARY}", f"sk-{CANARY}{CANARY}", f"sk-proj-{CANARY}", f"sk-ant-api03-{CANARY}",
        f"ghp_{CANARY}", f"github_pat_{CANARY}_x", f"glpat-{CANARY}", "AKIAIOSFODNN7CANARY1",
        f"xoxb-{CANARY}", f"AIza{CANARY}{CANARY}", JWT, PEM,
        f"https://hooks.slack.com/services/T0/B0/{CANARY}",
        f"https://discord.com/api/webhooks/1/{CANARY}",
        f"Authorization: Bearer {CANARY}", f"curl -H 'authorization: Basic {CANARY}=='",
        f"password={CANARY}", f"MLFLOW_TRACKING_PASSWORD={CANARY} sweep run",
        f"  api_key: {CANARY}  # mine", f'{{"api_key": "{CANARY}"}}', f"{{'token': '{CANARY}'}}",
        f"ValueError: bad token: {CANARY}", f"settings.api_key = '{CANARY}'",
        f"--hub-token={CANARY}", f"OperationalError: login failed: password: {CANARY}",
        f"settings:\n  password: {CANARY}", f"config: {{token: {CANARY}}}",
        f"'error': 'password: {CANARY}'",
    ],
)  # fmt: skip
def test_secrets_are_hidden_in_text(text: str) -> None:
    hidden = redact(text)
    assert "canary" not in hidden.lower() and JWT not in hidden
    assert HIDDEN in hidden
    assert redact(hidden) == hidden, "redacting twice changes nothing"


@pytest.mark.parametrize(
    "text",
    [
        "model: token-classifier", "models: [hf_transformers, sk-learn]", "a tokenizer of 4 tokens",
        "budget_tokens: 30000", "tokenizer: Qwen/Qwen3-0.6B", "eos_token: </s>",
        "unexpected token: '}'", "KeyError: 'token'", "usd_per_token: 0.0001", "secret: $NAME",
        "password: ${DB_PASSWORD}", "run_key=3f9a1c2b7d8e9f00-s0", "sqlite:////data/mlflow.db",
        "http://head:5000/#/experiments/1", "token: null", "sha256:9f86d081884c7d65",
        "s3://bucket/models/a@b:c", "basic configuration of the model", "the bearer of all weights",
        "git@github.com:team/repo.git", "2026-11-22 05:37:05,123 INFO step 3 of 9: loss=1.5",
        "examples/quickstart/data/far_train.jsonl", "user@host: done", "12:30", "{a: 1, b: [x, y]}",
        "suites:\n  secret-santa:\n    path: santa.jsonl", "m #3 mixture.secrets=0.25 rank=8",
    ],
)  # fmt: skip
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@given(st.text(alphabet="abcdefghij KLMNOP0123456789_.,/()[]{}<>!?-+*%~\n", max_size=200))
def test_text_without_signs_of_a_secret_is_never_changed(text: str) -> None:
    """No `=`, `:`, `@` or `$`, and no prefix of an issuer fits into this alphabet but by design."""
    assert redact(text) == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner),
        max_leaves=10,
    )
)
def test_values_that_are_no_text_stay(value: object) -> None:
    assert redact_values(value) == value


def test_values_are_hidden_by_the_name_that_they_stand_under() -> None:
    given_ = {
        "tags": {"team": "search", "api_key": CANARY, "note": f"see postgresql://u:{CANARY}@h/d"},
        "notify": {"webhook": f"https://example.com/x/{CANARY}?t={CANARY}"},
        "trainer": {"settings": {"token": CANARY, "credentials": [CANARY, {"user": "u"}],
                                 "secret": "$NAME", "max_tokens": 5, "password": ""}},
    }  # fmt: skip
    hidden = redact_values(given_)
    assert CANARY not in json.dumps(hidden)
    assert hidden["tags"] == {"team": "search", "api_key": HIDDEN,
                              "note": f"see postgresql://u:{HIDDEN}@h/d"}  # fmt: skip
    assert hidden["notify"]["webhook"] == f"https://example.com/{HIDDEN}"
    assert hidden["trainer"]["settings"] == {
        "token": HIDDEN, "credentials": [HIDDEN, {"user": "u"}], "secret": "$NAME",
        "max_tokens": 5, "password": "",
    }  # fmt: skip
    assert list(secrets_in(given_)) == [
        "tags.api_key", "tags.note", "notify.webhook", "trainer.settings.token",
        "trainer.settings.credentials.0",
    ]  # fmt: skip


def test_secrets_of_the_environment_are_hidden_whatever_they_look_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = "correct horse battery"
    assert redact(f"said {plain}") == f"said {plain}"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", plain)
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/key.json")
    monkeypatch.setenv("KEEPGAIN_STORE", "postgresql://me:p%40ssphrase@db/x")
    assert redact(f"said {plain} abc /etc/key.json") == f"said {HIDDEN} abc /etc/key.json"
    assert redact("p%40ssphrase p@ssphrase") == f"{HIDDEN} {HIDDEN}"


def test_secrets_that_came_otherwise_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_remembered", set())
    remember("opensesame123", None, "short")
    remember_uri("postgresql://u:anotherpassword@h/d")
    remember_uri("not a uri")
    assert {"opensesame123", "anotherpassword"} <= {*known_values()}
    assert redact("opensesame123 short anotherpassword") == f"{HIDDEN} short {HIDDEN}"


def test_a_key_over_several_lines_is_hidden_line_by_line() -> None:
    lines = f"before\n{PEM}\nafter\n".splitlines(keepends=True)
    assert "".join(redacted_lines(lines)) == f"before\n{HIDDEN}\nafter\n"


def test_what_a_program_prints_is_kept_without_secrets(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    program = (
        f"import sys, os; print('password={CANARY}'); print('half \\r whole')\n"
        "sys.stdout.flush(); os.write(2, b'\\xff\\xfe raw\\n'); print('end', end='')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        copy_redacted(process.stdout, log).join(30)
    text = log.read_text(encoding="utf-8")
    assert text.startswith(f"before\npassword={HIDDEN}\nhalf ")
    assert text.endswith("raw\nend") and CANARY not in text


def test_what_only_speaks_of_a_key_does_not_hide_the_rest_of_a_log() -> None:
    lines = ["expected -----BEGIN PRIVATE KEY-----\n", *(f"line {n}\n" for n in range(1000))]
    kept = list(redacted_lines(lines))
    assert kept[0] == f"expected {HIDDEN}\n" and kept[-1] == "line 999\n" and len(kept) > 500


def test_a_program_goes_on_where_its_log_finds_no_room(caplog: pytest.LogCaptureFixture) -> None:
    program = "for n in range(20000): print('a line of a log', n)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        copy_redacted(process.stdout, Path("/dev/full")).join(30)
    assert process.returncode == 0, "it met no broken pipe"
    assert [r.message for r in caplog.records] == [
        "/dev/full: lines are not kept (No space left on device)"
    ]


def test_log_lines_and_their_tracebacks_are_hidden() -> None:
    try:
        raise ValueError(f"api_key={CANARY}")
    except ValueError:
        record = logging.LogRecord("x", 40, "f", 1, f"token={CANARY}", None, sys.exc_info())
    text = RedactingFormatter("%(message)s").format(record)
    assert CANARY not in text and "Traceback" in text


@pytest.mark.fault("S5")
def test_nothing_that_is_shown_can_steer_a_terminal() -> None:
    evil = "a\x1b[31mred\x1b]0;title\x07\x9b2J\u202ec\u200bd\ttab\nline\r"
    assert clean(evil) == "a[31mred]0;title2Jcdtabline"
    assert shown(evil) == "a[31mred]0;title2Jcd\ttab\nline"


@pytest.mark.fault("S3")
def test_an_unhandled_error_is_printed_without_secrets() -> None:
    program = (
        "from keepgain.core.terminal import show_faults_redacted\nshow_faults_redacted()\n"
        f"raise RuntimeError('postgresql://u:' + '{CANARY}'[:9] + '@h')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and "RuntimeError" in done.stderr
    assert f"postgresql://u:{HIDDEN}@h" in done.stderr
    assert CANARY[:9] + "@" not in done.stderr
