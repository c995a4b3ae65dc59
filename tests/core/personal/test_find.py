"""Personal data is found where it is and shown masked; what only looks like it is left alone."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepgain.core.personal.find import KINDS, find_personal, mask
from keepgain.core.personal.patterns import PATTERNS


def found(text: str) -> list[tuple[str, str]]:
    return [(s.kind, text[s.start : s.end]) for s in find_personal(text)]


FOUND = [
    ("email", "Ask anna.b+x@mail.example.org, please.", "anna.b+x@mail.example.org"),
    ("email", "<jürgen@uni-köln.de>", "jürgen@uni-köln.de"),
    ("email", "write to anna [at] example [dot] com", "anna [at] example [dot] com"),
    ("email", "my mail is anna at example dot com", "anna at example dot com"),
    ("card", "paid with 4111 1111 1111 1111.", "4111 1111 1111 1111"),
    ("card", "(5555-5555-5555-4444)", "5555-5555-5555-4444"),
    ("card", "amex 378282246310005", "378282246310005"),
    ("iban", "to DE89 3704 0044 0532 0130 00 and then on", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB82WEST12345698765432", "GB82WEST12345698765432"),
    ("us_ssn", "It is 078-05-1120.", "078-05-1120"),
    ("us_ssn", "SSN 078051120", "078051120"),
    ("gb_nino", "NI: AB 12 34 56 C", "AB 12 34 56 C"),
    ("gb_nhs", "NHS number 943 476 5919", "943 476 5919"),
    ("de_tax_id", "Steuer-ID 36574261809", "36574261809"),
    ("fr_nir", "2 95 10 99 126 111 93 est à elle", "2 95 10 99 126 111 93"),
    ("es_dni", "DNI 54362315K", "54362315K"),
    ("it_codice_fiscale", "C.F. RCCMNL83S18D969H", "RCCMNL83S18D969H"),
    ("nl_bsn", "BSN 111222333", "111222333"),
    ("in_aadhaar", "2341 2341 2346", "2341 2341 2346"),
    ("br_cpf", "CPF 390.533.447-05", "390.533.447-05"),
    ("pl_pesel", "PESEL 44051401359", "44051401359"),
    ("passport", "passport no. C01234567", "C01234567"),
    ("date_of_birth", "She was born on 14 May 1990 in Kell.", "14 May 1990"),
    ("date_of_birth", "DOB: 1990-05-14", "1990-05-14"),
    ("ip_address", "from 93.184.216.34 at noon", "93.184.216.34"),
    ("ip_address", "2a00:1450:4001:82b::200e", "2a00:1450:4001:82b::200e"),
    ("mac_address", "card 3c:22:fb:1a:2b:3c up", "3c:22:fb:1a:2b:3c"),
    ("phone", "+44 20 7946 0958", "+44 20 7946 0958"),
    ("phone", "(415) 555-0132", "(415) 555-0132"),
    ("phone", "415.555.0132", "415.555.0132"),
    ("phone", "06 12 34 56 78", "06 12 34 56 78"),
    ("phone", "030/1234567", "030/1234567"),
    ("phone", "0049 89 1234567", "0049 89 1234567"),
    ("phone", "+55 (11) 91234-5678", "+55 (11) 91234-5678"),
    ("phone", "call me at 5550132", "5550132"),
    ("phone", "mobile: 98765 43210", "98765 43210"),
    ("street_address", "He lives at 12 Maple Street, Kell.", "12 Maple Street"),
    ("street_address", "in der Hauptstraße 12a", "Hauptstraße 12a"),
    ("street_address", "12 bis, rue de Rivoli", "12 bis, rue de Rivoli"),
    ("secret", "api_key=q7Rk29dWmz01", "q7Rk29dWmz01"),
    ("secret", "ghp_" + "a1B2" * 9, "ghp_" + "a1B2" * 9),
    ("url_password", "https://anna:s3cr3t9@host.org/x", "anna:s3cr3t9"),
]


@pytest.mark.parametrize(("kind", "text", "value"), FOUND)
def test_it_is_found_alone_and_in_prose(kind: str, text: str, value: str) -> None:
    assert found(text) == [(kind, value)]
    prose = f"The rest of the row says little, as most do. {text}\nIt goes on with this."
    assert found(prose) == [(kind, value)]
    assert found(mask(prose)) == []


LEFT = [
    "Order 415-555-0132 has been sent.",
    "order number: 4111111111111111",
    "4111 1111 1111 1112",
    "ISBN 978-3-16-148410-0, or 9783161484100",
    "version 10.2.33.4 and v1.2.3.4, 1.2.3.4.5, 8.8.8.8",
    "on 2024-01-15, 15.01.2024 10:30, 2024-01-15T10:30:00Z, 20240115, 1999-2004",
    "123e4567-e89b-12d3-a456-426614174000",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "$1,234,567.89, €12.345.678,90 and 1,234,567,890",
    "52.520008, -13.404954",
    "doi:10.1000/182.1234567, arXiv:2305.16264, J. Phys. 12(3), 123-1456",
    "127.0.0.1, 10.1.2.3, 192.168.1.20, 203.0.113.9, 2001:db8::1, fe80::1",
    "000-12-3456 and 123-45-0000",
    "DE00 3704 0044 0532 0130 00",
    "@mention, user@localhost, icon@2x.png, package@1.2.3, git@github.com:a/b.git",
    "std::vector, dead::beef, 12:30:45:10",
    "In 2019 Wall Street fell. Boston, MA 02110-1301",
    "Foundation, Inc., 51 Franklin Street, Fifth Floor",
    "password: must be long; token: next_token; https://user:password@host/",
    "https://example.org/items/4155550132/07700900123",
    "3.14159265358979",
    "00:00:00:00:00:00",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
]


@pytest.mark.parametrize("text", LEFT)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert found(text) == []
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("anna@mail.example.org", "a***@m***.org"),
        ("4111 1111 1111 1111", "**** **** **** 1111"),
        ("DE89 3704 0044 0532 0130 00", "**** **** **** **** **30 00"),
        ("078-05-1120", "***-**-**20"),
        ("(415) 555-0132", "(***) ***-**32"),
        ("born on 14 May 1990", "born on ** *** ****"),
        ("12 Maple Street", "1***"),
        ("api_key=q7Rk29dWmz01", "api_key=q***"),
    ],
)
def test_a_masked_display_keeps_a_little(text: str, shown: str) -> None:
    assert mask(text) == shown


def test_a_number_is_one_thing_even_where_forms_overlap() -> None:
    text = "IBAN DE89 3704 0044 0532 0130 00, call +49 30 1234567 or 4111 1111 1111 1111"
    assert [kind for kind, _ in found(text)] == ["iban", "phone", "card"]


def test_every_kind_of_the_table_is_counted_under_its_name() -> None:
    assert {p.kind for p in PATTERNS} < set(KINDS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*[t for _, t, _ in FOUND], *LEFT, "\n", "é", "-"]), max_size=5))
def test_spans_are_in_order_and_masked_text_has_none_left(parts: list[str]) -> None:
    text = " ; ".join(parts)
    spans = find_personal(text)
    assert all(0 <= s.start < s.end <= len(text) for s in spans)
    assert all(a.end <= b.start for a, b in pairwise(spans))
    assert find_personal(mask(text)) == []


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="0123456789 +-.()/@:aBcd", max_size=60))
def test_any_text_is_read(text: str) -> None:
    for span in find_personal(text):
        assert text[span.start : span.end].strip()


def test_no_text_takes_long() -> None:
    """Nested repeats would."""
    began = time.process_time()
    for text in ("1 " * 1500, "a." * 5000 + "@", "(0" * 3000, "a@" * 4000, "Aa " * 4000 + "1 St"):
        find_personal(text)
    assert time.process_time() - began < 5


def test_a_mailbox_in_brackets_is_masked_with_its_host() -> None:
    for text in ("to anna [@] example [dot] com", "to anna(@)example(dot)com"):
        assert mask(text) == "to a***"


def test_long_rows_of_figures_or_of_finds_take_no_longer_than_their_length_asks_for() -> None:
    figures = "Series: " + " ".join(str(i % 90) for i in range(30_000))
    mails = " ".join(f"user{i}@mail{i}.com" for i in range(12_000))
    began = time.process_time()
    assert find_personal(figures) == []
    assert len(find_personal(mails)) == 12_000
    assert time.process_time() - began < 5, "each took minutes"
