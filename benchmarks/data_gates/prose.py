"""English prose found on this machine: paragraphs that do not repeat one another.

Licence texts, system documentation, documents of installed packages and docstrings of Python's
library and of installed packages. Nothing is fetched.

A natural repetition would be counted as a false alarm of the gates, so paragraphs that repeat
another are dropped here by exact measures of their own: a common run of `RUN` words, a Jaccard
overlap of the word sets of `JACCARD` and more, or `CONTAINED` of the smaller set in the larger.
For the same reason paragraphs with anything like an address, a long number or an e-mail are
dropped.
"""

import gzip
import random
import re
import sysconfig
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from keepgain.core.errors import UserError

WORDS = (20, 200)
RUN = 8
JACCARD = 0.5
CONTAINED = 0.8
PER_TOPIC = 800
"""Paragraphs taken from one topic before repetitions are dropped."""
FILES_PER_TOPIC = 300
SEED = 20_260
"""Of the order of files and paragraphs: the prose is the same for every seed of the faults."""

LICENCES = Path("/usr/share/common-licenses")
DOCUMENTS = Path("/usr/share/doc")
TEXT_NAMES = re.compile(r"(readme|news|todo|bugs|faq|.*\.(txt|md|rst))[\w.-]*?(\.gz)?", re.I)
_FUNCTION_WORDS = frozenset(
    "the a an of to in and or is are be it that this for with as by on from not if at which you "
    "can may when will was has have its these any all but than into only one".split()
)
_HEADING = re.compile(r"[#=*\s]*[A-Za-z][\w'/,-]*(?: [\w'/,-]+){0,7}[:=*#\s]*")
_ROLE = re.compile(r":[\w:.-]+:`~?([^`<]*?)(?:\s*<[^>]*>)?`")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_UNFIT = re.compile(
    r">>>|://|---|\.\. |::|[|@\\{}<>=_#~^\ufffd]|(?:\d[ .:/-]?){6,}"
    r"|\d+\.\d+\.\d+|\d%|\$|\b(?:street|avenue|floor|boston|copyright|todo|fixme)\b|\([cC]\)",
    re.I,
)
_DOCSTRING = re.compile(r'(?:\b(?:def|class)\s+(\w+))|(?::[ \t]*\n\s*r?"""(.*?)""")', re.S)
"""A definition's name, or a docstring: patterns are ten times as fast as parsing."""
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Paragraph:
    """One paragraph, white space collapsed."""

    text: str
    topic: str
    """The package or collection that it comes from."""
    name: str
    """Heading, or qualified name of what a docstring documents."""


@dataclass(frozen=True)
class Prose:
    """What is left, and what was dropped."""

    paragraphs: tuple[Paragraph, ...]
    counts: dict[str, int]
    """Paragraphs found, and how many were dropped for which reason."""


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation."""
    return _WORD.findall(text.lower())


def is_prose(text: str) -> bool:
    """English sentences of fitting length, nothing that looks like code, tables or addresses."""
    tokens = text.split()
    if not WORDS[0] <= len(tokens) <= WORDS[1] or not (text[0].isupper() and text.endswith(".")):
        return False
    if _UNFIT.search(text) or not text.isascii():
        return False
    plain = sum(t.strip(".,;:!?()'\"").replace("-", "").replace("'", "").isalpha() for t in tokens)
    common = sum(t.lower() in _FUNCTION_WORDS for t in tokens)
    return plain >= 0.85 * len(tokens) and common >= 0.2 * len(tokens)


def paragraphs_of(text: str) -> Iterator[tuple[str, str]]:
    """(heading before it, paragraph) of a document; blank lines divide."""
    heading = ""
    for block in re.split(r"\n\s*\n", text.replace("\r", "")):
        lines = block.strip().splitlines()
        if not lines:
            continue
        if len(lines) <= 2 and _HEADING.fullmatch(lines[0].strip()):
            heading = lines[0].strip("#=*- \t")
            continue
        plain = _LINK.sub(r"\1", _ROLE.sub(r"\1", " ".join(" ".join(lines).split())))
        plain = re.sub(r"\*\*|``|`|^[*+-] ", "", plain)
        if is_prose(plain):
            yield heading, plain


def _read(path: Path) -> str:
    """Text of a file; empty where it is none or cannot be read."""
    try:
        data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
        return data.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError):
        return ""


def _documents(files: Iterable[Path], topic: str) -> Iterator[Paragraph]:
    for path in files:
        for heading, text in paragraphs_of(_read(path)):
            yield Paragraph(text, topic, heading or path.stem)


def _docstrings(files: Iterable[Path], topic: str, root: Path) -> Iterator[Paragraph]:
    for path in files:
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        last = ""
        for name, docstring in _DOCSTRING.findall(_read(path)):
            last = name or last
            for _, text in paragraphs_of(textwrap.dedent(docstring)):
                yield Paragraph(text, topic, f"{module}.{last}")


def _take(found: Iterator[Paragraph], seen: set[str]) -> Iterator[Paragraph]:
    """The first of equal texts, at most `PER_TOPIC`."""
    taken = 0
    for one in found:
        key = " ".join(words_of(one.text))
        if key not in seen:
            seen.add(key)
            yield one
            taken += 1
        if taken == PER_TOPIC:
            return


def find_paragraphs(
    site_packages: Path | None = None, library: Path | None = None
) -> list[Paragraph]:
    """All that fits, equal ones once, in an order that only the machine's files decide."""
    rng = random.Random(SEED)
    site = site_packages or Path(sysconfig.get_paths()["purelib"])
    library = library or Path(sysconfig.get_paths()["stdlib"])

    def some(files: Iterable[Path]) -> list[Path]:
        found = sorted(files)
        return rng.sample(found, min(len(found), FILES_PER_TOPIC))

    def modules(root: Path) -> list[Path]:
        apart = {"tests", "test", "_vendor", "site-packages", "idlelib", "lib2to3"}
        return some(p for p in root.rglob("*.py") if not apart & set(p.relative_to(root).parts))

    seen: set[str] = set()
    texts = (p for p in DOCUMENTS.rglob("*") if p.is_file() and TEXT_NAMES.fullmatch(p.name))
    found = [
        *_take(_documents(sorted(LICENCES.glob("*")), "licences"), seen),
        *_take(_documents(some(texts), "system"), seen),
        *_take(_docstrings(modules(library), "python", library), seen),
    ]
    for folder in sorted(p for p in site.glob("*") if p.is_dir()):
        topic = folder.name.split("-")[0].lower().removesuffix(".dist")
        if folder.name.endswith(".dist-info"):
            files = sorted([*folder.rglob("METADATA"), *folder.rglob("*.md")])
            found += _take(_documents(files, topic), seen)
        elif folder.name.isidentifier() and not folder.name.startswith("_"):
            found += _take(_docstrings(modules(folder), topic, site), seen)
            found += _take(_documents(some(folder.rglob("*.[mr][ds]*")), topic), seen)
    return found


def repeating(texts: Sequence[str], chunk: int = 400) -> dict[int, set[int]]:
    """Index → indices of texts that it repeats (either way round), by the measures of the module.

    Every pair is compared: the overlaps are the product of the text × word matrix with itself.
    """
    words = [words_of(t) for t in texts]
    pairs: dict[int, set[int]] = defaultdict(set)

    def note(i: int, j: int) -> None:
        if i != j:
            pairs[i].add(j)
            pairs[j].add(i)

    runs: dict[tuple[str, ...], int] = {}
    for index, found in enumerate(words):
        for at in range(len(found) - RUN + 1):
            note(index, runs.setdefault(tuple(found[at : at + RUN]), index))
    vocabulary = {w: i for i, w in enumerate(sorted({w for ws in words for w in ws}))}
    sets = [sorted({vocabulary[w] for w in ws}) for ws in words]
    sizes = np.array([len(s) for s in sets])
    ends = np.cumsum([0, *sizes])
    columns = np.concatenate([np.array(s, dtype=np.int64) for s in sets])
    matrix = sparse.csr_matrix(
        (np.ones(len(columns), dtype=np.int32), columns, ends), (len(sets), len(vocabulary))
    )
    for begin in range(0, len(sets), chunk):
        common = (matrix[begin : begin + chunk] @ matrix.T).toarray()
        mine = sizes[begin : begin + chunk, None]
        close = (common >= JACCARD * (mine + sizes - common)) | (
            common >= CONTAINED * np.minimum(mine, sizes)
        )
        for i, j in zip(*np.nonzero(close), strict=True):
            note(begin + int(i), int(j))
    return pairs


def distinct(found: Sequence[Paragraph]) -> list[Paragraph]:
    """Those that repeat none that is kept before them; the order is drawn."""
    order = random.Random(SEED).sample(range(len(found)), len(found))
    pairs = repeating([found[i].text for i in order])
    kept: set[int] = set()
    for index in range(len(order)):
        if not pairs.get(index, set()) & kept:
            kept.add(index)
    return [found[order[i]] for i in sorted(kept)]


def find_prose(least: int) -> Prose:
    """Distinct paragraphs of this machine.

    Raises:
        UserError: Fewer than `least` are left.
    """
    found = find_paragraphs()
    kept = distinct(found)
    counts = {"found": len(found), "repeating": len(found) - len(kept), "kept": len(kept)}
    if len(kept) < least:
        raise UserError(
            f"this machine has {len(kept)} distinct paragraphs of prose ({len(found)} found), "
            f"and {least} are needed.",
            where="benchmarks.data_gates",
            hint="Give a smaller --rows, or install packages with documentation.",
        )
    return Prose(tuple(kept), counts)


def largest_topics(paragraphs: Sequence[Paragraph], number: int) -> list[str]:
    """Topics with the most paragraphs, the largest first."""
    apart = {"system", "licences"}
    return [t for t, _ in Counter(p.topic for p in paragraphs).most_common() if t not in apart][
        :number
    ]
