"""The one table of personal data: what it looks like, how it is verified, how it is shown.

A form that is rare in ordinary text stands alone (`+49 30 ...`, an IBAN, which verifies itself);
one that is not (nine digits) counts only with a word that says what it is. Several rows of the
table may be of one kind; the earlier one is believed where two would have the same characters.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from keepgain.core.personal import rules
from keepgain.core.redaction import HIDDEN

Marker = Literal["@", "at", "cluster", "dots", "hex", "capitals", "words", "street"]
"""What a text must have before a pattern is tried; see `find.py`."""


def near(words: str) -> re.Pattern[str]:
    """Words, of any case, anywhere in a stretch of text."""
    return re.compile(rf"(?<![^\W\d_])(?:{words})(?![^\W\d_])", re.IGNORECASE)


def before(words: str) -> re.Pattern[str]:
    """Words that a stretch of text ends with, `number:` and the like apart."""
    filler = r"(?:\W{0,3}\b(?:numbers?|no|num|nr|id|is|was|code|at|on|me|us))*"
    return re.compile(rf"(?<![^\W\d_])(?:{words}){filler}[ \u00a0#:.=-]{{0,3}}\Z", re.IGNORECASE)


OTHER = before(
    r"orders?|invoices?|tickets?|refs?|references?|isbn(?:-1[03])?|issn|ean|upc|gtin|doi|arxiv|pmid|"
    r"sku|parts?|serials?|models?|tracking|shipments?|parcel|versions?|v|releases?|build|firmware|"
    r"batch|lot|commits?|checksum|hash|uuid|bugs?|issues?|pages?|pp|vol|volume|lat|lon|latitude|"
    r"longitude|coordinates?|rfc|patents?|case|items?|products?|imei|timestamp|epoch|port|sections?|"
    r"transactions?|bestellung|bestellnummer|rechnung|commande|facture|pedido|factura|usd|eur|gbp"
)
"""Numbers after these words are not personal."""


@dataclass(frozen=True)
class Pattern:
    """One form of one kind. A group `value` is the part of the match that is meant."""

    kind: str
    marker: Marker
    regex: re.Pattern[str]
    valid: Callable[[str], bool] | None = None
    """Of what was found; None: the form says enough."""
    near: re.Pattern[str] | None = None
    """One of these words stands near; None: none needs to."""
    after: re.Pattern[str] | None = None
    """What it stands directly after; None: anything."""
    unless: re.Pattern[str] | None = OTHER
    """What it does not stand directly after."""
    fit: Callable[[str], int] | None = None
    """How many of the characters found belong to it (0: none), where the form is greedy."""
    kept: int = 2
    """Letters and digits at the end that a masked display keeps."""


_PHONE = near(
    r"(?:tele|cell|smart)?phones?|tel|tel[ée]fono|telefone?|telefon(?:nummer)?|t[ée]l[ée]phone|t[ée]l|"
    r"mobile|m[óo]vil|mob|cell|rufnummer|fax|sms|whatsapp|hotline|helpline|landline|voicemail|"
    r"cellulare|handynummer|mobilnummer"
)
_CALL = before(
    r"(?:call(?:ed|ing)?|dial(?:led)?|ring|rang|reach(?:ed|able)?|text(?:ed)?|contact|message|"
    r"signal|telegram|portable|handy|phone|mobil|ph|extension|number|appelez|llame|chiam[ai]|bel|"
    r"rufen|ligue|erreichbar|joindre|num[ée]ro|n[úu]mero|nummer)"
    r"(?: (?:me|us|him|her|them|back|out|to))*"
    r"(?: (?:at|on|under|via|by phone|unter|au|al|op))?"
)
_ORGANISATION = re.compile(
    r"(?:\b(?:Inc|Foundation|Corp|Corporation|Ltd|LLC|GmbH|Company|Co|University|Press)\b[.,\s]*"
    r"|\b(?i:in|since|by|of|from|until|during|and|before|after|copyright|the)\s+"
    r"|©\s*|\([cC]\)\s*)\Z"
)
"""Before an address: it is not a person's, or the number is a year."""
_CARD = near(r"cards?|visa|mastercard|maestro|amex|american express|diners|karte|carte|tarjeta")
_MAIL = near(r"e-?mails?|mailto|mail|write|reach|contact|address|send|ping|message")
_TAX_ID = near(r"steuer-?id\w*|idnr|steuerliche\w*|steuernummer|tax|identifikationsnummer")

_S = r"[ \u00a0.\-\u2010-\u2013/]"
"""Separators inside numbers."""
_B, _E = r"(?<![\w+])(?<!\d[.,\-/])", r"(?!\w)(?![.,\-/]\d)"
"""Where numbers begin and end."""
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_ENDS = r"(?:com|org|net|edu|gov|info|io|co|ai|eu|uk|de|fr|es|it|nl|ch|at|be|in|jp|ca|au|us)"
_MONTH = r"[^\W\d_]{3,10}\.?"
_DAY = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/. ]\d{1,2}[-/. ](?:\d{4}|\d{2})(?!\d)"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.|er)?(?: of)? {_MONTH},? \d{{4}}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}})"
)
_BORN = (
    r"(?:date of birth|birth ?date|birthday|d\.?o\.?b\.?|born(?: on)?|geb(?:oren|\.|urtsdatum)"
    r"(?: am)?|n[ée]e? le|date de naissance|nacid[oa] el|fecha de nacimiento|nat[oa] il"
    r"|data di nascita|geboortedatum|geboren op|data de nascimento)"
)
_OF = r"(?:(?:number|no|num|n[°ºr]|id|is|was|de|book|card)\b\.?\W{0,3}){0,3}"
"""Between `passport` and what it is."""
_WAYS = (
    r"Street|Avenue|Road|Boulevard|Lane|Drive|Court|Square|Terrace|Crescent|Close|Parkway|Highway"
    r"|(?:St|Ave|Rd|Blvd|Ln|Dr|Ct|Pkwy|Sq)(?=\.|,|\n|$|\s*\d{5})"
)
_STREETS = r"(?:straße|strasse|str\.|gasse|allee|platz|weg)"


_c = re.compile
_I = re.IGNORECASE

PATTERNS: tuple[Pattern, ...] = (
    Pattern("email", "@", _c(
        rf"(?<![\w.+%'-])\w[\w.+%'-]{{0,63}}@(?:{_LABEL}\.)+[^\W\d_]{{2,24}}(?![\w@-])(?!\.\w)"),
        rules.is_mailbox, unless=None),
    Pattern("email", "at", _c(
        rf"(?<![\w.])[\w.+-]{{1,64}} ?[\[({{<] ?(?:at|@) ?[\])}}>] ?{_LABEL}"
        rf"(?:(?: ?[\[({{<] ?(?:dot|\.) ?[\])}}>] ?| dot |\.){_LABEL})+", _I), unless=None),
    Pattern("email", "at", _c(
        rf"(?<![\w.])[\w.+-]{{2,64}}(?: dot [\w+-]+)? at {_LABEL}(?: dot {_LABEL})? dot {_ENDS}\b",
        _I), near=_MAIL, unless=None),
    Pattern("iban", "cluster", _c(
        r"(?<!\w)[A-Za-z]{2}\d\d(?:[ \u00a0-]?[0-9A-Za-z]){11,40}"),
        fit=rules.iban_length, unless=None, kept=4),
    Pattern("card", "cluster", _c(
        rf"{_B}(?:\d{{4}}{_S}?\d{{4}}{_S}?\d{{4}}{_S}?\d{{4}}|3[47]\d\d{_S}?\d{{6}}{_S}?\d{{5}}"
        rf"|3[0689]\d\d{_S}\d{{6}}{_S}\d{{4}}){_E}"), rules.is_card, kept=4),
    Pattern("card", "cluster", _c(
        rf"{_B}\d(?:{_S}?\d){{11,18}}{_E}"), rules.is_any_card, near=_CARD, kept=4),
    # National numbers
    Pattern("us_ssn", "cluster", _c(
        rf"{_B}(?<!\d )\d{{3}}([- \u2010-\u2013])\d\d\1\d{{4}}(?! \d){_E}"), rules.is_ssn),
    Pattern("us_ssn", "cluster", _c(
        rf"{_B}\d{{3}}[. ]?\d\d[. ]?\d{{4}}{_E}"), rules.is_ssn, near=near("ssn|social security")),
    Pattern("gb_nino", "cluster", _c(
        r"(?<!\w)(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?"
        r"\d\d[ -]?\d\d[ -]?\d\d[ -]?[A-D](?!\w)"), unless=None),
    Pattern("gb_nhs", "cluster", _c(
        rf"{_B}\d{{3}}[ -]?\d{{3}}[ -]?\d{{4}}{_E}"), rules.standard("gb.nhs"), near=near("nhs")),
    Pattern("de_tax_id", "cluster", _c(
        rf"{_B}(?<!\d )\d\d(?: \d{{3}}){{3}}(?! \d){_E}"), rules.standard("de.idnr")),
    Pattern("de_tax_id", "cluster", _c(
        rf"{_B}\d\d ?\d{{3}} ?\d{{3}} ?\d{{3}}{_E}"), rules.standard("de.idnr"), near=_TAX_ID),
    Pattern("fr_nir", "cluster", _c(
        rf"{_B}[12][ .]?\d\d[ .]?\d\d[ .]?\d[\dAB][ .]?\d{{3}}[ .]?\d{{3}}[ .-]?\d\d{_E}"),
        rules.standard("fr.nir"), unless=None),
    Pattern("es_dni", "cluster", _c(
        rf"{_B}\d\d\.?\d{{3}}\.?\d{{3}}[- ]?[A-Z]{_E}"), rules.standard("es.dni")),
    Pattern("es_dni", "cluster", _c(
        rf"{_B}[XYZ][- ]?\d\.?\d{{3}}\.?\d{{3}}[- ]?[A-Z]{_E}"), rules.standard("es.nie")),
    Pattern("it_codice_fiscale", "capitals", _c(
        r"(?<!\w)[A-Z]{3} ?[A-Z]{3} ?\d\d[A-EHLMPRST]\d\d ?[A-Z]\d{3}[A-Z](?!\w)"),
        rules.standard("it.codicefiscale")),
    Pattern("nl_bsn", "cluster", _c(
        rf"{_B}\d{{4}}[. ]?\d\d[. ]?\d{{3}}{_E}"), rules.standard("nl.bsn"),
        near=near("bsn|burgerservicenummer|sofinummer")),
    Pattern("in_aadhaar", "cluster", _c(
        rf"{_B}(?<!\d )[2-9]\d{{3}} \d{{4}} \d{{4}}(?! \d){_E}"), rules.standard("in_.aadhaar")),
    Pattern("in_aadhaar", "cluster", _c(
        rf"{_B}[2-9]\d{{3}}[ -]?\d{{4}}[ -]?\d{{4}}{_E}"), rules.standard("in_.aadhaar"),
        near=near("aadhaar|aadhar|uidai")),
    Pattern("in_pan", "capitals", _c(
        r"(?<!\w)[A-Z]{3}P[A-Z]\d{4}[A-Z](?!\w)"), rules.standard("in_.pan")),
    Pattern("br_cpf", "cluster", _c(
        rf"{_B}\d{{3}}\.\d{{3}}\.\d{{3}}-\d\d{_E}"), rules.standard("br.cpf")),
    Pattern("br_cpf", "cluster", _c(
        rf"{_B}\d{{11}}{_E}"), rules.standard("br.cpf"), near=near("cpf")),
    Pattern("ca_sin", "cluster", _c(
        rf"{_B}\d{{3}}[ -]?\d{{3}}[ -]?\d{{3}}{_E}"), rules.standard("ca.sin"),
        near=near("sin|social insurance")),
    Pattern("pl_pesel", "cluster", _c(
        rf"{_B}\d{{11}}{_E}"), rules.standard("pl.pesel"), near=near("pesel")),
    Pattern("se_personnummer", "cluster", _c(
        rf"{_B}(?:19|20)?\d{{6}}[-+]\d{{4}}{_E}"), rules.standard("se.personnummer")),
    Pattern("fi_hetu", "cluster", _c(
        rf"{_B}\d{{6}}[-+A-FU-Y]\d{{3}}[0-9A-Y]{_E}"), rules.standard("fi.hetu")),
    Pattern("dk_cpr", "cluster", _c(
        rf"{_B}\d{{6}}-?\d{{4}}{_E}"), rules.standard("dk.cpr"), near=near("cpr")),
    Pattern("no_fodselsnummer", "cluster", _c(
        rf"{_B}\d{{6}} ?\d{{5}}{_E}"), rules.standard("no.fodselsnummer"),
        near=near("f[øo]dselsnummer|personnummer|fnr")),
    Pattern("be_national_number", "cluster", _c(
        rf"{_B}\d\d\.\d\d\.\d\d-\d{{3}}\.\d\d{_E}"), rules.standard("be.nn")),
    Pattern("ch_ahv", "cluster", _c(
        rf"{_B}756\.\d{{4}}\.\d{{4}}\.\d\d{_E}"), rules.standard("ch.ssn")),
    Pattern("pt_nif", "cluster", _c(
        rf"{_B}\d{{3}} ?\d{{3}} ?\d{{3}}{_E}"), rules.standard("pt.nif"),
        near=near("nif|contribuinte")),
    Pattern("mx_curp", "capitals", _c(
        r"(?<!\w)[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d(?!\w)"), rules.standard("mx.curp")),
    Pattern("kr_rrn", "cluster", _c(rf"{_B}\d{{6}}-[1-4]\d{{6}}{_E}"), rules.has_month),
    Pattern("cn_resident_id", "cluster", _c(
        rf"{_B}\d{{17}}[\dXx]{_E}"), rules.standard("cn.ric")),
    Pattern("au_tfn", "cluster", _c(
        rf"{_B}\d{{3}} ?\d{{3}} ?\d{{3}}{_E}"), rules.standard("au.tfn"),
        near=near("tfn|tax file")),
    Pattern("za_id", "cluster", _c(
        rf"{_B}\d{{6}} ?\d{{4}} ?\d{{3}}{_E}"), rules.standard("za.idnr"),
        near=near("id|identity")),
    Pattern("ie_pps", "cluster", _c(
        rf"{_B}\d{{7}}[A-W][A-IW]?{_E}"), rules.standard("ie.pps"), near=near("ppsn?")),
    Pattern("passport", "words", _c(
        rf"\bpass(?:port|eport|aporte|aporto)\b\W{{0,3}}{_OF}"
        r"(?P<value>(?=(?:[A-Z]*\d){5})[A-Z0-9]{6,10})(?!\w)", _I), unless=None),
    Pattern("driving_licence", "words", _c(
        rf"\bdriv(?:ing|er['’]?s?) licen[cs]e\b\W{{0,3}}{_OF}"
        r"(?P<value>(?=(?:[A-Z]*-?\d){5})[A-Z0-9-]{6,20})(?!\w)", _I), unless=None),
    Pattern("date_of_birth", "words", _c(
        rf"\b{_BORN}\W{{0,4}}(?:is |was )?(?P<value>{_DAY})", _I),
        rules.is_recent_birth, unless=None, kept=0),
    # Machines
    Pattern("ip_address", "dots", _c(
        r"(?<![\w.-])(?<!\w/)\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\w|-\w)"), rules.is_plain_address),
    Pattern("ip_address", "dots", _c(
        r"(?<![\w.])(?<!\w/)\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\w)"), rules.is_public_address,
        near=near("ips?|ipv4|addr|ip_address")),
    Pattern("ip_address", "hex", _c(
        r"(?<![\w:.])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![\w:])"),
        rules.is_public_address, unless=None),
    Pattern("mac_address", "hex", _c(
        r"(?<![\w:-])[0-9A-Fa-f]{2}([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4}(?!\w|[:-]\w)"),
        rules.is_mac, unless=None),
    Pattern("mac_address", "hex", _c(
        r"(?<![\w.])[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}(?!\w|\.\w)"), rules.is_mac,
        near=near("mac|hardware|ethernet|interface")),
    # Telephones: with the country's code, as North America writes them, with a trunk zero, said
    Pattern("phone", "cluster", _c(
        rf"(?<![\w+])\(?\+ ?\d{{1,4}}\)?(?:{_S}{{0,2}}\(?\d{{1,10}}\)?){{1,7}}"),
        fit=rules.international_length, unless=None),
    Pattern("phone", "cluster", _c(
        rf"(?<![\w+.,/-])(?<!\d )00 ?[1-9]\d{{0,2}}(?:{_S}\(?\d{{1,8}}\)?){{2,6}}"),
        fit=rules.international_length),
    Pattern("phone", "cluster", _c(
        rf"(?<![\w+])(?<!\d[ .,/-])(?:1{_S})?(?:\([2-9]\d\d\) ?|[2-9]\d\d{_S})\d{{3}}{_S}\d{{4}}"
        rf"(?! \d){_E}(?:,? ?(?:x|ext\.?|extension) ?\d{{1,6}})?")),
    Pattern("phone", "cluster", _c(
        rf"{_B}(?<!\d )(?:0\d(?:[ .-]\d\d){{4}}|\(?0\d{{1,5}}\)?[ /-]{{1,3}}\d{{5,8}}"
        r"|\(?0\d{1,4}\)?[ -]\d{3,4}[ -]\d{3,4}"
        r"|\(?0\d{2,4}\)?[ /-]\d{2,4}(?: \d{2,3}){1,3})"
        rf"(?! \d){_E}"), rules.is_national_phone),
    Pattern("phone", "cluster", _c(
        rf"(?<![\w)\]])\((?!19|20)\d{{2,5}}\) ?\d{{3,5}}[ -]\d{{3,4}}{_E}"),
        rules.is_national_phone),
    Pattern("phone", "cluster", _c(
        rf"{_B}\(?\d{{1,15}}\)?(?:{_S}{{1,2}}\(?\d{{1,8}}\)?){{0,6}}{_E}"), rules.is_said_phone,
        near=_PHONE),
    Pattern("phone", "cluster", _c(
        rf"{_B}\(?\d{{1,15}}\)?(?:{_S}{{1,2}}\(?\d{{1,8}}\)?){{0,6}}{_E}"), rules.is_said_phone,
        after=_CALL),
    # Where people live
    Pattern("street_address", "street", _c(
        r"(?<![\w.,$€£#-])\d{1,5}[A-Za-z]?,? (?:[NSEW]\.? )?(?:[A-Z][\w'’.-]+ ){1,3}"
        rf"(?:{_WAYS})(?!\w)"), unless=_ORGANISATION),
    Pattern("street_address", "street", _c(
        rf"(?<!\w)[A-ZÄÖÜ][\wäöüß-]*{_STREETS} \d{{1,4}} ?[a-z]?(?!\w)")),
    Pattern("street_address", "street", _c(
        r"(?<![\w.,-])\d{1,4}(?: bis| ter)?,? (?:rue|avenue|boulevard|chemin|impasse|allée|place) "
        r"(?:(?:de|du|des|la|le|les|l['’]|d['’]) ?){0,2}[A-ZÉÈ][\w'’-]+")),
)  # fmt: skip


SHIELDS: tuple[re.Pattern[str], ...] = (
    _c(r"https?://\S+"),
    _c(r"(?<!\w)[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}(?!\w)"),
    _c(r"(?<!\w)(?=[0-9]*[a-fA-F])(?=[a-fA-F]*[0-9])[0-9a-fA-F]{16,}(?!\w)"),
    _c(r"(?<!\w)[A-Z]{2}\d\d(?: ?[0-9A-Z]{4}){3,8}"),
    _c(r"(?<!\w)97[89][ -]?(?:\d[ -]?){9}\d(?!\w)"),
    _c(r"(?<!\w)(?:19|20)\d\d-\d\d-\d\d(?:[T ]\d\d:\d\d\S*)?(?!\w)"),
    _c(r"[$€£¥₹] ?\d[\d.,\u00a0\u202f]*\d"),
    _c(r"(?<![\w.])[-+]?\d{1,3}\.\d{4,}(?!\w|\.\d)"),
    _c(r"(?<!\w)\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\w)"),
    _c(r"(?<![\w.])(?:10\.\d{4,}/\S+|\d{4}\.\d{4,5}(?:v\d+)?)(?!\w|\.\d)"),
)
"""What numbers may be part of that is not personal: links, UUIDs, hashes, wrong IBANs, ISBNs, dates
and times, sums of money, coordinates, identifiers of papers. `cluster` patterns without `fit` pass
them by."""


def masked(kind: str, found: str, kept: int) -> str:
    """`a***@d***.com`; secrets, addresses and mailboxes in other forms by their first character;
    else the last `kept`."""
    name, at, host = found.rpartition("@")
    if kind == "email" and at and "." in host:
        return f"{name[0]}{HIDDEN}@{host[0]}{HIDDEN}.{host.rpartition('.')[2]}"
    if kind in ("email", "secret", "url_password", "street_address"):
        return found[:1] + HIDDEN
    places = [i for i, c in enumerate(found) if c.isalnum()]
    shown = {*places[len(places) - kept :]}
    return "".join("*" if c.isalnum() and i not in shown else c for i, c in enumerate(found))
