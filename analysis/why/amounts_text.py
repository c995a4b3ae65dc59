"""Curves of `amounts` in words: one sentence a curve, and a small table of its points."""

from collections.abc import Sequence
from dataclasses import asdict

from keepgain.analysis import words
from keepgain.analysis.grid import Grid
from keepgain.analysis.why.amounts import Curve, Point
from keepgain.analysis.why.data_settings import FILTER, REPEAT_LIMIT, WEIGHING
from keepgain.analysis.why.observations import SHARE
from keepgain.analysis.why.section import refusals, scaled, spread

SHOWN = 5
"""Points of a spline in the text: its ends and quarters."""
MAX_ROWS = 45
MANY = 1000
ENOUGH, TOO_MUCH = "How much data is enough", "How much synthetic is too much"
REPLAY = "How much replay"
NONE = (
    "How much data is enough was not asked: no two trials of a base model differ in an amount of "
    "data. Let the space vary one: `rows: {ordered: [...]}`, `mixture`, or `synthetic_share` and "
    "`replay_share`; with `training: {balance_by: ...}` the `balance_strength`; `group_dro_step`; "
    "`filter.SOURCE` and `repeat_limit.SOURCE`."
)
READ = (
    "Amounts: fitted to the validation scores of a base model's full trainings, adjusted for its "
    "other settings as a sum (that an amount matters more at another learning rate is not in it). "
    "± holds for one point; `all points`, `change` and `behind` hold for the whole curve at once, "
    "95 %. `behind`: at most so much worse than the best amount, whichever that is. Within: that "
    "is at most the question's delta. Worse: shown to be more than delta behind. Curves are judged "
    "one by one; those of slices on which nothing is shown are in JSON alone."
)


def lines(found: Sequence[Curve]) -> tuple[str, ...]:
    """One paragraph a setting and base model."""
    said = []
    settings = list(dict.fromkeys(c.setting for c in found))
    pairs = dict.fromkeys((c.setting, c.model) for c in found)
    for setting, model in sorted(pairs, key=lambda p: settings.index(p[0])):
        own = [c for c in found if (c.setting, c.model) == (setting, model)]
        told = [_sentence(c) for c in own if _worth_saying(c)]
        of_interest = (c for c in own if c.part is None or setting in WEIGHING)
        refused = refusals({_measure(c): c.reason for c in of_interest if c.reason})
        parts = [*told, *([refused] if refused else [])]
        said.append(f"{_question(own[0])}? {setting} on {model}: {' '.join(parts)}")
    return tuple(words.clean(s) for s in said)


def grids(found: Sequence[Curve]) -> tuple[Grid, ...]:
    """One table a setting."""
    made = []
    for setting in dict.fromkeys(c.setting for c in found if c.points):
        own = [c for c in found if c.setting == setting and c.points]
        rows = [_row(c, p) for c in own if _worth_saying(c) for p in _shown(c.points)]
        title = f"{_question(own[0])}: {setting}"
        if len(rows) > MAX_ROWS:
            title += f" (the first {MAX_ROWS} of {len(rows)} rows; all: --format json)"
        header = (
            "size",
            "measure",
            "amount",
            "estimate",
            "all points",
            "change",
            "behind",
            "verdict",
        )
        kept = tuple(tuple(words.clean(cell) for cell in row) for row in rows[:MAX_ROWS])
        made.append(Grid(words.clean(title), header, kept, (False,) * len(kept), ("all points",)))
    return tuple(made)


def data(found: Sequence[Curve]) -> list[dict[str, object]]:
    """For JSON, flat enough to be read by its names; see `docs/analyze-json.md`."""
    return [asdict(c) | {"answer": answer(c)} for c in found]


def answer(c: Curve) -> str:
    """`no_difference`, `within`, `only_worse` (some amounts are shown to be too far behind, none
    to be near enough), `not_resolved`, `no_margin` or `not_assessed`."""
    if c.reason is not None:
        return "not_assessed"
    if not c.margin:
        return "no_margin"
    if c.within:
        return "no_difference" if len(c.within) == len(c.points) else "within"
    return "only_worse" if any(p.verdict == "worse" for p in c.points) else "not_resolved"


def _worth_saying(c: Curve) -> bool:
    """Slices where they are the question, or where something was found."""
    told = c.part is None or c.setting in WEIGHING or answer(c) in ("within", "only_worse")
    return c.reason is None and (told or (c.p is not None and c.p <= 0.05))


def _question(c: Curve) -> str:
    if c.setting == "rows":
        return ENOUGH
    if c.setting in WEIGHING:
        return "Does balancing help"
    if c.setting.startswith(FILTER):
        return "Does leaving rows out help"
    if c.setting.startswith(REPEAT_LIMIT):
        return "How often may rows repeat"
    if c.setting == "synthetic_share" or c.role == "synthetic":
        return TOO_MUCH
    if c.setting == "replay_share" or c.role == "replay":
        return REPLAY
    return f"How much of {c.setting.removeprefix(SHARE)}"


def _sentence(c: Curve) -> str:
    first, last = c.points[0], c.points[-1]
    # Changes hold for all amounts at once, so the best one may be looked at.
    best = max(c.points[1:], key=lambda p: c.up * (p.value.value or 0.0))
    if c.setting in WEIGHING or c.setting.startswith(FILTER):
        last = best
    size = f"{_measure(c)} {_by(c, last)} from {_at(c, first)} to {_at(c, last)}"
    by = best.change
    if best is not last and by.low is not None and by.high is not None and by.low * by.high > 0:
        size += f", {_by(c, best)} to {_at(c, best)}"
    return f"{size}; {_verdict(c)}."


def _verdict(c: Curve) -> str:
    margin = words.amount(c.margin, c.scorer)
    best = "best" if c.up > 0 else "least"
    said = answer(c)
    near = c.within
    if said == "no_difference":
        ends = f"from {_at(c, c.points[0])} to {_at(c, c.points[-1])}"
        return f"every amount {ends} is within {margin} of the {best}"
    if said == "within":
        told = _near(c, near, margin, best)
        worse = _worse(c)
        return f"{told}; {worse}" if worse else told
    if said == "no_margin":
        return "no margin in this unit to judge amounts by" if c.margin is None else "delta is 0"
    if said == "only_worse":
        far = f"{_worse(c)} than {margin} from the {best}"
        return f"{far}, and what is near enough is not resolved: {_precision(c, margin)}"
    return f"not resolved: {_precision(c, margin)}"


def _near(c: Curve, near: Sequence[Point], margin: str, best: str) -> str:
    low, high = _at(c, near[0]), _at(c, near[-1])
    alone = {id(c.points[0]): "the least tried", id(c.points[-1]): "the most tried"}
    if len(near) == 1 and not isinstance(near[0].at, str) and id(near[0]) in alone:
        return f"only {low}, {alone[id(near[0])]}, is shown to be within {margin} of the {best}"
    question = _question(c)
    if question == ENOUGH or (question == REPLAY and c.up < 0):
        return f"{low} is enough, at most {margin} from the {best}"
    if len(near) < 1 + c.points.index(near[-1]) - c.points.index(near[0]):
        told = words.join([_at(c, p) for p in near])
        return f"{told} are shown to be within {margin} of the {best}, what lies between is open"
    if question == TOO_MUCH:
        return f"up to {high} is at most {margin} from the {best}"
    told = low if low == high else f"{low} to {high}"
    return f"{told} is within {margin} of the {best}"


def _worse(c: Curve) -> str:
    """The amounts that are too far behind, on either side of what is not."""
    states = [p.verdict == "worse" for p in c.points]
    if not any(states):
        return ""
    if isinstance(c.points[0].at, str):
        names = [_at(c, p) for p, is_worse in zip(c.points, states, strict=True) if is_worse]
        return f"{words.join(names)}: further off"
    open_or_near = [k for k, is_worse in enumerate(states) if not is_worse]
    first, last = open_or_near[0], open_or_near[-1]
    parts = []
    if first > 0:
        parts.append(f"{_at(c, c.points[first - 1])} or less is further off")
    if last < len(c.points) - 1:
        parts.append(f"{_at(c, c.points[last + 1])} or more is further off")
    return words.join(parts)


def _precision(c: Curve, margin: str) -> str:
    reach = words.amount(c.reach, c.scorer)
    known = f"differences are known to ±{reach}"
    if c.more is None:
        return f"{known}; for {margin} more items are needed, whatever is trained"
    if c.more == 0:
        return f"{known}, and no amount is that near the best or that far from it"
    if c.more > MANY:
        return f"{known}; for {margin} it takes more than {MANY:,} more trainings"
    return f"{known}; for {margin} it takes about {words.count(c.more, 'more training')}"


def _row(c: Curve, p: Point) -> tuple[str, ...]:
    factor, digits, _ = scaled(c.scorer)
    e, by = p.value, p.change
    half = (
        "±?" if e.high is None or e.value is None else f"±{factor * (e.high - e.value):.{digits}f}"
    )
    everywhere = (
        f"[{factor * p.low_all + 0.0:+.{digits}f}, {factor * p.high_all + 0.0:+.{digits}f}]"
    )
    return (
        c.model,
        _measure(c),
        _at(c, p),
        "–" if e.value is None else f"{factor * e.value + 0.0:+.{digits}f} {half}",
        everywhere,
        "" if p is c.points[0] else spread(by.value, by.low, by.high, digits, factor),
        f"{factor * p.behind_most:.{digits}f}",
        p.verdict or "–",
    )


def _shown(points: Sequence[Point]) -> list[Point]:
    """Ends and quarters of a spline, all levels."""
    step = (len(points) - 1) // (SHOWN - 1)
    return list(points if len(points) <= SHOWN + 1 else points[::step])


def _measure(c: Curve) -> str:
    if c.part is None:
        return c.measure
    named = f"{c.part.field}={c.part.value}"
    return f"{c.measure} of {named}" + (" (worst group)" if c.worst else "")


def _at(c: Curve, p: Point) -> str:
    if isinstance(p.at, str):
        return p.at
    if c.setting == "rows":
        return f"{p.at:,.0f} rows"
    if c.setting.startswith(REPEAT_LIMIT):
        return f"{p.at:.3g} times"
    if c.setting.startswith(SHARE) or c.setting.endswith("_share"):
        return f"{round(100 * p.at, 1):g} %"
    return f"{p.at:.3g}"


def _by(c: Curve, p: Point) -> str:
    """The change from the first amount."""
    factor, digits, unit = scaled(c.scorer)
    return f"{spread(p.change.value, p.change.low, p.change.high, digits, factor)} {unit}"
