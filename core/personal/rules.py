"""Whether what looks personal is it: check digits, numbering plans, ranges, dates.

Check digits are python-stdnum's, telephone numbers libphonenumber's; both are imported when needed.
"""

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module

_SPACES = re.compile(r"[\s\u00a0.]")


@lru_cache(maxsize=64)
def _module(name: str) -> Callable[[str], bool]:
    check: Callable[[str], bool] = import_module(f"stdnum.{name}").is_valid
    return check


def standard(name: str) -> Callable[[str], bool]:
    """Check digits and rules of a module of stdnum, e.g. `es.dni`."""
    return lambda found: _module(name)(_SPACES.sub("", found))


def digits(text: str) -> str:
    """The digits of a text."""
    return re.sub("[^0-9]", "", text)


_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|6(?:011\d{12}|4[4-9]\d{13}|5\d{14})|3(?:0[0-5]|[689]\d)\d{11}"
    r"|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)
"""ISO/IEC 7812 prefixes: Visa, Mastercard, American Express, Discover, Diners, JCB, UnionPay."""
_MAESTRO = re.compile(r"(?:5[0678]|6\d)\d{10,17}")


def is_card(found: str) -> bool:
    """An issuer's prefix and length, and Luhn's check digit."""
    number = digits(found)
    return bool(_ISSUERS.fullmatch(number)) and _module("luhn")(number)


def is_any_card(found: str) -> bool:
    """As `is_card`, with Maestro, whose prefixes say little."""
    number = digits(found)
    issued = _ISSUERS.fullmatch(number) or _MAESTRO.fullmatch(number)
    return bool(issued) and _module("luhn")(number)


def iban_length(found: str) -> int:
    """Characters of the IBAN that `found` begins with: words may follow that look like more of it.
    0: it begins with none."""
    from stdnum import iban

    if found[2:4] in ("00", "01", "99"):  # no remainder of 97 gives these
        return 0
    ends = [m.end() for m in re.finditer(r"[0-9A-Za-z]", found)]
    for end in ends[14:34]:
        whole_words = end == len(found) or not found[end].isalnum()
        # Account numbers inside have check digits of their own in some countries: not asked for.
        compact = re.sub(r"[^0-9A-Za-z]", "", found[:end])
        if whole_words and iban.is_valid(compact, check_country=False):
            return end
    return 0


def international_length(found: str) -> int:
    """Characters of the telephone number that `found` begins with: the longest beginning that its
    country gives out, else that has a length which its country uses. 0: none."""
    import phonenumbers

    number = re.sub(r"^\(?00", "+", found)
    shift = len(found) - len(number)
    possible = 0
    for end in reversed([m.end() for m in re.finditer(r"[0-9]+\)?", number)]):
        if not 8 <= len(digits(number[:end])) <= 15:
            continue
        try:
            parsed = phonenumbers.parse(number[:end].replace("(0)", ""), None)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(parsed):
            return end + shift
        # Fictitious numbers, as of films and examples, are not given out.
        if not possible and phonenumbers.is_possible_number(parsed):
            possible = end + shift
    return possible


_DATE = re.compile(
    r"\d{1,2}[./ \-]\d{1,2}[./ \-](?:19|20)\d\d|(?:19|20)\d\d[./\-]?(?:0\d|1[0-2])[./\-]?[0-3]\d"
)
_YEARS = re.compile(r"(?:19|20)\d\d\D+(?:19|20)\d\d")
_OTHER_FORM = re.compile(r"\d{3}-\d\d-\d{4}|\d{5}-\d{4}|(?:\d{1,3}\.){3}\d{1,3}|0{3,}\d*")
"""Of a US social security number, a postal code, a network address."""


def _is_date(found: str) -> bool:
    return bool(_DATE.search(found) or _YEARS.search(found))


def is_national_phone(found: str) -> bool:
    """Digits enough, and no date."""
    return 9 <= len(digits(found)) <= 12 and not _is_date(found)


def is_said_phone(found: str) -> bool:
    """Of what a word calls a telephone number."""
    other = _is_date(found) or _OTHER_FORM.fullmatch(found)
    return 7 <= len(digits(found)) <= 15 and not other


def is_ssn(found: str) -> bool:
    """Rules of the US Social Security Administration: it has no check digit."""
    number = digits(found)
    area, group, serial = number[:3], number[3:5], number[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def has_month(found: str) -> bool:
    """`yymmdd...`."""
    return "01" <= digits(found)[2:4] <= "12"


def is_public_address(found: str) -> bool:
    """Addresses of private, local and documentation networks name nobody."""
    try:
        return ipaddress.ip_address(found).is_global
    except ValueError:
        return False


def is_plain_address(found: str) -> bool:
    """Four small numbers are a version rather than an address."""
    return is_public_address(found) and any(int(part) > 31 for part in found.split("."))


_FILE_ENDS = {"png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "css", "js", "ts", "py", "json"}


def is_mailbox(found: str) -> bool:
    """Not `icon@2x.png`, nor `git@host.org`."""
    name, _, host = found.rpartition("@")
    return host.rpartition(".")[2].lower() not in _FILE_ENDS and name not in ("git", "hg")


def is_mac(found: str) -> bool:
    """Neither zeros nor a broadcast."""
    return len({*re.sub(r"[^0-9A-Fa-f]", "", found).lower()}) > 1


def is_recent_birth(found: str) -> bool:
    """Of somebody who may live; two digits of a year may be any."""
    year = re.search(r"(?<!\d)\d{4}(?!\d)", found)
    return year is None or year[0] >= "1900"
