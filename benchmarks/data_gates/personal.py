"""Personal data of many formats, and figures that only look like them.

All values are drawn: numbers follow the published numbering plans and check digits, and belong to
nobody on purpose. Check digits are computed here, not by the libraries that the gates use.
"""

import random
import string
import uuid
from collections.abc import Callable

Draw = Callable[[random.Random], str]

_NAMES = ("anna", "joe", "m.keller", "li.wei", "sofia", "tom_baker", "p.rossi", "nadia.k", "jan")
_LAST = ("meyer", "oconnor", "garcia", "novak", "dubois", "lind", "tanaka", "haas", "brown")
_HOSTS = ("gmail.com", "web.de", "orange.fr", "mail.co.uk", "firma-schulz.de", "uni.edu", "ya.ru")


def digits(rng: random.Random, count: int, first: str = string.digits) -> str:
    """Digits; the first from a given set."""
    return rng.choice(first) + "".join(rng.choices(string.digits, k=count - 1))


def luhn_digit(payload: str) -> str:
    """Check digit by ISO/IEC 7812-1."""
    total = 0
    for place, char in enumerate(reversed(payload)):
        value = int(char) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def iban_of(country: str, account: str) -> str:
    """With check digits by ISO 13616 (mod 97)."""
    figures = "".join(str(int(c, 36)) for c in f"{account}{country}00")
    return f"{country}{98 - int(figures) % 97:02d}{account}"


def _grouped(text: str, size: int, mark: str) -> str:
    return mark.join(text[i : i + size] for i in range(0, len(text), size))


def email(rng: random.Random) -> str:
    """Plain, with a tag, or in angle brackets."""
    name = f"{rng.choice(_NAMES)}.{rng.choice(_LAST)}{rng.choice(['', str(rng.randint(1, 99))])}"
    if rng.random() < 0.2:
        name += "+news"
    address = f"{name}@{rng.choice(_HOSTS)}"
    return rng.choice([address, f"<{address}>", address.capitalize()])


def phone_international(rng: random.Random) -> str:
    """With the country's code, in usual groups."""
    end = digits(rng, 4)
    return rng.choice(
        [
            f"+1 415 {digits(rng, 3, '23456')} {end}",
            f"+1-212-{digits(rng, 3, '3467')}-{end}",
            f"+44 20 7{digits(rng, 3)} {end}",
            f"+49 30 {digits(rng, 4, '23456789')}{end}",
            f"+49 (0)89 {digits(rng, 4, '23456789')} {end}",
            f"+33 1 4{digits(rng, 1)} {digits(rng, 2)} {digits(rng, 2)} {digits(rng, 2)}",
            f"+3491{digits(rng, 3, '2345')}{end}",
            f"+39 06 {digits(rng, 4, '3456789')} {end}",
            f"0041 44 {digits(rng, 3, '2346')} {end[:2]} {end[2:]}",
        ]
    )


def phone_national(rng: random.Random) -> str:
    """As written within the United States and Great Britain."""
    end = digits(rng, 4)
    return rng.choice(
        [
            f"(415) {digits(rng, 3, '23456')}-{end}",
            f"212-{digits(rng, 3, '3467')}-{end}",
            f"415.{digits(rng, 3, '23456')}.{end}",
            f"020 7{digits(rng, 3)} {end}",
            f"07{digits(rng, 3, '789')} {digits(rng, 3)} {digits(rng, 3)}",
        ]
    )


def card(rng: random.Random) -> str:
    """A payment card's number with a right check digit."""
    prefix, length = rng.choice([("4", 16), ("51", 16), ("55", 16), ("37", 15), ("6011", 16)])
    payload = prefix + digits(rng, length - len(prefix) - 1)
    number = payload + luhn_digit(payload)
    if length == 15:
        return rng.choice([number, f"{number[:4]} {number[4:10]} {number[10:]}"])
    return rng.choice([number, _grouped(number, 4, " "), _grouped(number, 4, "-")])


def iban(rng: random.Random) -> str:
    """Of five countries, in groups or not."""
    found = rng.choice(
        [
            iban_of("DE", digits(rng, 18, "123456789")),
            iban_of("GB", rng.choice(["NWBK", "BARC", "LOYD"]) + digits(rng, 14)),
            iban_of("NL", rng.choice(["ABNA", "INGB", "RABO"]) + "0" + digits(rng, 9)),
            iban_of("AT", digits(rng, 16, "123456")),
            iban_of("CH", "0" + digits(rng, 16)),
        ]
    )
    return rng.choice([found, _grouped(found, 4, " ")])


def us_ssn(rng: random.Random) -> str:
    """Social security number of the United States, in its usual groups."""
    area = rng.choice([a for a in range(1, 900) if a != 666])
    return f"{area:03d}-{rng.randint(1, 99):02d}-{rng.randint(1, 9999):04d}"


def uk_nino(rng: random.Random) -> str:
    """National insurance number of the United Kingdom."""
    prefix = rng.choice(["AB", "CE", "JK", "LM", "PR", "SX", "WA"])
    number = prefix + digits(rng, 6) + rng.choice("ABCD")
    return rng.choice([number, _grouped(number, 2, " ")])


def es_dni(rng: random.Random) -> str:
    """Identity number of Spain: eight digits and a letter by modulus 23."""
    number = digits(rng, 8, "1234567")
    return number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def br_cpf(rng: random.Random) -> str:
    """Tax number of Brazil with its two check digits."""
    number = digits(rng, 9)
    for _ in range(2):
        total = sum(int(c) * w for c, w in zip(number, range(len(number) + 1, 1, -1), strict=True))
        number += str(0 if total % 11 < 2 else 11 - total % 11)
    return f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}"


def ipv4(rng: random.Random) -> str:
    """A public address."""
    return f"{rng.choice([23, 62, 84, 91, 138, 187, 212])}." + ".".join(
        str(rng.randint(1, 254)) for _ in range(3)
    )


def ipv6(rng: random.Random) -> str:
    """A public address, some of it shortened."""
    parts = [f"{rng.randint(0x1000, 0xFFFF):x}" for _ in range(5)]
    return rng.choice([f"2a02:{':'.join(parts[:2])}::{parts[3]}", f"2a01:{':'.join(parts)}:1:2"])


def mac(rng: random.Random) -> str:
    """Of a network card."""
    return rng.choice(":-").join(f"{rng.randint(16, 255):02x}" for _ in range(6))


def secret(rng: random.Random) -> str:
    """A key or token as well-known services issue them, or the head of a private key."""
    letters = string.ascii_letters + string.digits
    return rng.choice(
        [
            "AKIA" + "".join(rng.choices(string.ascii_uppercase + "234567", k=16)),
            "ghp_" + "".join(rng.choices(letters, k=36)),
            "xoxb-" + digits(rng, 12) + "-" + "".join(rng.choices(letters, k=24)),
            "-----BEGIN RSA PRIVATE KEY-----",
        ]
    )


def postal(rng: random.Random) -> str:
    """An address in one line."""
    number = rng.randint(2, 240)
    return rng.choice(
        [
            f"{number} Maple Street, Springfield, IL 62704",
            f"{number} Elm Avenue, Apt 4, Portland, OR 97205",
            f"Lindenstraße {number}, 10969 Berlin",
            f"{number} High Street, Oxford OX1 4DP",
            f"{number} rue des Lilas, 75020 Paris",
        ]
    )


def birth(rng: random.Random) -> str:
    """A date of birth with the words that make it one."""
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1940, 2005)
    return rng.choice(
        [f"born on {day:02d}.{month:02d}.{year}", f"DOB {year}-{month:02d}-{day:02d}"]
    )


PATTERNS: dict[str, tuple[Draw, tuple[str, ...]]] = {
    "e-mail": (email, ("Write to {} for details.", "The reply went to {} yesterday.")),
    "phone, international": (phone_international, ("Call me on {} after six.", "Tel. {}")),
    "phone, national": (phone_national, ("Please phone {} after lunch.", "Mobile: {}.")),
    "payment card": (card, ("She paid with card {} last week.", "Card number {} was refused.")),
    "IBAN": (iban, ("Send the money to {} please.", "IBAN: {}")),
    "US social security": (us_ssn, ("My SSN is {}.", "Social security number {}, as asked.")),
    "UK insurance": (uk_nino, ("National Insurance number {}.", "His NI number is {}.")),
    "Spanish identity": (es_dni, ("DNI {}.", "Her DNI number is {}.")),
    "Brazilian tax": (br_cpf, ("CPF {}.", "The form names the CPF {}.")),
    "IPv4": (ipv4, ("The customer logged in from {}.", "Client address {} was seen twice.")),
    "IPv6": (ipv6, ("The customer logged in from {}.", "Client address {} was seen twice.")),
    "MAC": (mac, ("Her laptop has the address {}.", "MAC {} joined the network.")),
    "secret": (secret, ("Use the key {} for it.", "token: {}")),
}
"""Kind → its values, and sentences around them: what a pattern and a check digit can find."""
FREE_FORM: dict[str, tuple[Draw, tuple[str, ...]]] = {
    "postal address": (postal, ("Send it to {}.", "She lives at {}.")),
    "date of birth": (birth, ("The patient, {}, was seen today.", "Customer {}.")),
}
"""The same for what has no form of its own."""


def _wrong_luhn(rng: random.Random) -> str:
    payload = "4" + digits(rng, 14)
    wrong = (int(luhn_digit(payload)) + rng.randint(1, 9)) % 10
    return rng.choice([payload + str(wrong), _grouped(payload + str(wrong), 4, " ")])


def _wrong_iban(rng: random.Random) -> str:
    right = iban_of("DE", digits(rng, 18, "123456789"))
    return f"DE{(int(right[2:4]) + 1) % 100:02d}{right[4:]}"


LOOKALIKES: dict[str, tuple[Draw, str]] = {
    "order number": (lambda r: f"{digits(r, 4)}-{digits(r, 4)}-{digits(r, 4)}", "Order no. {}."),
    "16 digits, no card": (_wrong_luhn, "Serial number {} is on the back."),
    "account, wrong check": (_wrong_iban, "The sample form shows {}."),
    "ISBN": (lambda r: f"978-3-{digits(r, 3)}-{digits(r, 5)}-{digits(r, 1)}", "ISBN {}."),
    "version": (
        lambda r: f"{r.randint(0, 9)}.{r.randint(0, 30)}.{r.randint(0, 20)}",
        "It needs version {} at least.",
    ),
    "version with four parts": (
        lambda r: f"{r.randint(1, 9)}.{r.randint(0, 30)}.{r.randint(0, 20)}.{r.randint(0, 9)}",
        "Since release v{} it is gone.",
    ),
    "date": (
        lambda r: f"{r.randint(2015, 2026)}-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}",
        "Released on {}.",
    ),
    "time stamp": (lambda r: f"2026{digits(r, 1, '0')}{digits(r, 1, '1234')}14T103000Z", "Log {}."),
    "UUID": (lambda r: str(uuid.UUID(int=r.getrandbits(128), version=4)), "Request {}."),
    "hash": (lambda r: f"{r.getrandbits(160):040x}", "Fixed in commit {}."),
    "money": (
        lambda r: f"{r.randint(1, 999)},{digits(r, 3)},{digits(r, 3)}.{digits(r, 2)}",
        "The total is ${}.",
    ),
    "coordinates": (
        lambda r: f"{r.randint(10, 60)}.{digits(r, 4)}, {r.randint(10, 99)}.{digits(r, 4)}",
        "The station is at {}.",
    ),
    "part number": (
        lambda r: f"HX-{digits(r, 4)}-{digits(r, 3)}-{digits(r, 4)}",
        "Order the part {} as a spare.",
    ),
    "address of documentation": (
        lambda r: r.choice(["192.0.2.", "198.51.100.", "203.0.113."]) + str(r.randint(1, 254)),
        "For instance, {} is a host.",
    ),
    "loopback": (lambda r: r.choice(["127.0.0.1", "0.0.0.0", "::1"]), "It listens on {} only."),
    "package at version": (
        lambda r: f"@types/node@{r.randint(10, 22)}.{r.randint(0, 9)}.{r.randint(0, 9)}",
        "Install {} first.",
    ),
    "decorator": (lambda r: r.choice(["@cached", "@property.setter"]), "Mark it with {} instead."),
    "ratio": (lambda r: f"{r.randint(1, 9)}:{digits(r, 2)}:{digits(r, 2)}", "Done in {} hours."),
    "large number": (lambda r: digits(r, 11, "123456789"), "About {} tokens were read."),
    "range": (lambda r: f"{digits(r, 3, '123')}-{digits(r, 3, '456')}", "See pages {}."),
}
"""What must not be taken for personal data, and the sentence around it."""


def with_sentence(text: str, sentence: str, rng: random.Random) -> str:
    """The sentence before or behind the text."""
    return f"{sentence} {text}" if rng.random() < 0.5 else f"{text} {sentence}"


def personal_sentence(kind: str, rng: random.Random) -> str:
    """One sentence with one value of the kind."""
    draw, frames = (PATTERNS | FREE_FORM)[kind]
    return rng.choice(frames).format(draw(rng))


def lookalike_sentence(kind: str, rng: random.Random) -> str:
    """One sentence with a value that only looks personal."""
    draw, frame = LOOKALIKES[kind]
    return frame.format(draw(rng))
