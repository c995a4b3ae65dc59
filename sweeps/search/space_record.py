"""A search space as the record keeps it: plain data that `analysis` reads and can write again."""

from typing import Any

from keepgain.core.record import SpaceDimension
from keepgain.sweeps.search.conditions import Parameter
from keepgain.sweeps.search.dimensions import Choice, Ordered, Real, Whole
from keepgain.sweeps.search.mixture import MIXTURE
from keepgain.sweeps.search.searchable import setting_type
from keepgain.sweeps.search.space import Space


def space_record(space: Space) -> tuple[SpaceDimension, ...]:
    """Every searched parameter, and every share of a searched mixture."""
    found = [d for p in space.parameters if (d := _dimension(p)) is not None]
    if space.mixture and space.mixture.raw_names:
        ends = zip(space.mixture.sources, space.mixture.low, space.mixture.high, strict=True)
        found += [
            SpaceDimension(
                name=f"{MIXTURE}.{source}", form="share", low=low, high=high, least=0.0, most=1.0
            )
            for source, low, high in ends
        ]
    return tuple(found)


def _dimension(p: Parameter) -> SpaceDimension | None:
    when = dict(p.when)
    match p.dimension:
        case Choice(choices=values):
            least, most = _limits(p.name, values)
            return SpaceDimension(
                name=p.name, form="choice", choices=values, when=when, least=least, most=most
            )
        case Ordered(values=values):
            least, most = _limits(p.name, values)
            return SpaceDimension(
                name=p.name, form="ordered", choices=values, when=when, least=least, most=most
            )
        case Real() | Whole() as d:
            whole = isinstance(d, Whole)
            least, most = _limits(p.name, (d.low, d.high))
            return SpaceDimension(
                name=p.name,
                form=("log_int" if d.log else "int") if whole else "log" if d.log else "uniform",
                low=d.low,
                high=d.high,
                step=None if whole and d.step == 1 else d.step,
                when=when,
                least=least,
                most=most,
            )
    return None


def _limits(name: str, values: tuple[Any, ...]) -> tuple[float | None, float | None]:
    """What the setting itself accepts at least and at most; None: no limit."""
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return None, None
    accepted = setting_type(name)
    assert accepted is not None, "the space was read"
    schema = accepted.json_schema()
    number = next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), schema)
    least, most = number.get("minimum"), number.get("maximum")
    if (beyond := number.get("exclusiveMinimum")) is not None:
        least = beyond + (min(values) - beyond) / 10  # short of what is refused
    if (beyond := number.get("exclusiveMaximum")) is not None:
        most = beyond - (beyond - max(values)) / 10
    return least, most
