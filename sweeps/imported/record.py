"""The rows of a table as a sweep's record: one run a row, figures in `metrics`, no item scores."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keepgain.analysis.given_question import SHARES, default_margin, task_of
from keepgain.core.errors import UserError
from keepgain.core.record import ModelInfo, Question, RunRecord, SweepRecord
from keepgain.core.status import Stage, TrialStatus
from keepgain.sweeps.imported.figures import Figures, figures_of, meets
from keepgain.sweeps.imported.options import Columns, Duplicates
from keepgain.sweeps.imported.paths import MISSING, columns, find, nearest
from keepgain.sweeps.imported.read import TableRow

PARAMETERS = "parameters"
"""Column that orders the models where no cost is named; a cost of this name is their size too."""
_SHOWN = 5
_LOOKED_AT = 50
"""Rows whose columns are named as known in a message."""


@dataclass(frozen=True)
class Imported:
    """A table as a record, and what is to be said about it."""

    sweep: SweepRecord
    faulty: tuple[str, ...]
    """`runs.csv:5: accuracy: NaN`, in the order of the table."""
    superseded: tuple[str, ...]
    """Rows that `--duplicates newest` left out, likewise."""
    unmet: int
    """Rows that do not meet the conditions."""


def table_record(
    rows: Sequence[TableRow],
    named: Columns,
    *,
    sweep_id: str,
    table: str,
    store: str = "",
    duplicates: Duplicates | None = None,
) -> Imported:
    """Makes the record.

    Rows with a fault are runs that failed, with the fault as their reason. `replicates`: rows of
    one label and model are seeds of one configuration, numbered in the order of the table.

    Args:
        table: What the record says it comes from.

    Raises:
        UserError: An unknown column, no row that meets the conditions, no good row, or rows of one
            label without `duplicates`.
    """
    named = _with_parameters(rows, named)
    _refuse_unknown(rows, named, table)
    _refuse_items_without_shares(named)
    chosen = [row for row in rows if row.fault or meets(row, named.where)]
    if all(row.fault for row in chosen) and named.where:
        wanted = " and ".join(f"{c}={v}" for c, v in named.where)
        raise UserError(
            f"none of its {len(rows)} rows has {wanted}.",
            where=table,
            hint=_values_hint(rows, named.where[0][0]),
        )
    found = [figures_of(row, named) for row in chosen]
    faulty = tuple(f"{f.where}: {'; '.join(f.faults)}" for f in found if f.faults)
    good = [f for f in found if not f.faults]
    if not good:
        more = f"; and {len(faulty) - _SHOWN} more" if len(faulty) > _SHOWN else ""
        raise UserError(
            f"no row of it can be used: {'; '.join(faulty[:_SHOWN])}{more}.", where=table
        )
    groups = _grouped(good, table, duplicates)
    superseded: list[str] = []
    if duplicates == "newest":
        for key, members in groups.items():
            *older, newest = sorted(members, key=lambda f: f.time)  # stable: the last row wins
            superseded += [f"{f.where}: {newest.where} is newer" for f in older]
            groups[key] = [newest]
    many = len({model for _, model in groups}) > 1
    names = Counter(label for label, _ in groups)
    runs: list[RunRecord] = []
    for (label, model), members in groups.items():
        trial = f"{model}/{label}" if many and names[label] > 1 else label
        runs += [
            _run(f, trial, f"{trial} #{seed}" if len(members) > 1 else trial, seed, named)
            for seed, f in enumerate(members, 1)
        ]
    taken = {run.trial_id for run in runs}
    for f in found:
        if f.faults:
            trial = f.label if f.label not in taken else f"{f.label} ({f.where})"
            taken.add(trial)
            runs.append(_run(f, trial, f"{trial} @ {f.where}", 1, named))
    task = task_of(named.objectives)
    values = [f.metrics[task.name] for f in good]
    delta = default_margin(task, values)
    sweep = SweepRecord(
        id=sweep_id,
        name=sweep_id,
        stage=Stage.DECIDED,
        store=store,
        question=Question(delta=delta, cost=named.cost or PARAMETERS),
        suites=(),
        models=_models(groups, named),
        objectives=named.objectives,
        runs=tuple(runs),
        warnings=_warnings(superseded),
        provenance={"table": table, **_told(named, duplicates)},
    )
    return Imported(sweep, faulty, tuple(superseded), len(rows) - len(chosen))


def _with_parameters(rows: Sequence[TableRow], named: Columns) -> Columns:
    """Models are ordered by a column `parameters` if no cost is named."""
    if named.model is None or named.cost is not None:
        return named
    has = any(find(row.cells, PARAMETERS) is not MISSING for row in rows)
    return replace(named, cost=PARAMETERS) if has else named


def _refuse_unknown(rows: Sequence[TableRow], named: Columns, table: str) -> None:
    asked = {
        "--label": [named.label],
        "--objective": [o.name for o in named.objectives],
        "--model": [named.model] if named.model else [],
        "--cost": [named.cost] if named.cost else [],
        "--se": list(named.errors.values()),
        "--n": [named.n] if isinstance(named.n, str) else [],
        "--where": [column for column, _ in named.where],
    }
    read = [row for row in rows if not row.fault]
    if not read:
        return  # every row says what is wrong with it
    for option, paths in asked.items():
        for path in paths:
            if all(find(row.cells, path) is MISSING for row in read):
                known = [c for row in read[:_LOOKED_AT] for c in columns(row.cells)]
                problem = f"no row has a column '{path}' ({option})."
                raise UserError(
                    problem, where=table, hint=_delimited(known) or nearest(path, known)
                )


def _delimited(known: Sequence[str]) -> str | None:
    """A header that came through as one column has another separator than the file's name says."""
    found = [d for d in (";", "\t", "|", ",") if len(set(known)) == 1 and d in known[0]]
    if not found:
        return None
    name = "tabs" if found[0] == "\t" else f"'{found[0]}'"
    return f"Its columns seem to be separated by {name}: save it with commas, or as .tsv with tabs."


def _refuse_items_without_shares(named: Columns) -> None:
    """Items alone give a standard error to shares only, and a unit must say what is one."""
    if named.n is None or any(o.unit in SHARES for o in named.objectives):
        return
    if set(named.errors) >= {o.name for o in named.objectives}:
        return
    first = named.objectives[0]
    side = "max" if first.direction == "maximize" else "min"
    raise UserError(
        "a number of items gives a standard error to a share alone, and no objective is one.",
        where="--n",
        hint=f"Where it is a share, say so: '{first.name}:{side}:share' (0 to 1) or "
        f"'{first.name}:{side}:%' (0 to 100). Else give its standard error with --se.",
    )


def _values_hint(rows: Sequence[TableRow], column: str) -> str:
    values = dict.fromkeys(str(v) for row in rows if (v := find(row.cells, column)) is not MISSING)
    shown = ", ".join(list(values)[:_SHOWN])
    return f"Values of '{column}': {shown}{', ...' if len(values) > _SHOWN else ''}."


def _grouped(
    good: Sequence[Figures], table: str, duplicates: Duplicates | None
) -> dict[tuple[str, str], list[Figures]]:
    """(label, model) → its rows."""
    groups: dict[tuple[str, str], list[Figures]] = defaultdict(list)
    for f in good:
        groups[f.label, f.model].append(f)
    twice = {key: members for key, members in groups.items() if len(members) > 1}
    if twice and duplicates is None:
        (label, model), members = next(iter(twice.items()))
        of = f" of model '{model}'" if model else ""
        more = f", and {len(twice) - 1} more labels are" if len(twice) > 1 else ""
        raise UserError(
            f"'{label}'{of} is the label of several rows ({', '.join(f.where for f in members)})"
            f"{more and more + ' given twice'}.",
            where=table,
            hint="--duplicates newest keeps the last; --duplicates replicates takes them for seeds "
            "of one configuration; or name another --label.",
        )
    return dict(groups)


def _run(f: Figures, trial: str, key: str, seed: int, named: Columns) -> RunRecord:
    reason = f"{f.where}: {'; '.join(f.faults)}" if f.faults else None
    return RunRecord(
        run_key=key,
        trial_id=trial,
        seed=seed,
        kind="trial",
        model=f.model,
        stage=Stage.SEARCH,
        status=TrialStatus.FAILED if f.faults else TrialStatus.COMPLETED,
        reason=reason,
        metrics=dict(f.metrics),
        standard_errors={k: v for k, v in f.errors.items() if k in f.metrics},
        n=f.n,
        named=f.label,
        cost={} if f.cost is None or named.cost is None else {named.cost: f.cost},
    )


def _models(
    groups: Mapping[tuple[str, str], Sequence[Figures]], named: Columns
) -> tuple[ModelInfo, ...]:
    """Those whose size the table gives, which is only known of a cost called `parameters`."""
    if named.cost is None or named.cost.rpartition(".")[2].lower() != PARAMETERS:
        return ()
    sizes: dict[str, int] = {}
    for (_, model), members in groups.items():
        for f in members:
            if model and f.cost is not None:
                sizes[model] = max(sizes.get(model, 0), round(f.cost))
    return tuple(ModelInfo(name=m, digest="", parameters=n) for m, n in sizes.items())


def _warnings(superseded: Sequence[str]) -> tuple[str, ...]:
    if not superseded:
        return ()
    shown = "; ".join(superseded[:_SHOWN])
    more = f"; and {len(superseded) - _SHOWN} more" if len(superseded) > _SHOWN else ""
    return (f"rows left out for newer ones of the same label: {shown}{more}.",)


def _told(named: Columns, duplicates: Duplicates | None) -> dict[str, str]:
    """What the table was taken for, so that two imports of it can be held side by side."""
    told = {
        "label": named.label,
        "model": named.model,
        "cost": named.cost,
        "n": None if named.n is None else str(named.n),
        "where": " and ".join(f"{c}={v}" for c, v in named.where) or None,
        "standard errors": ", ".join(f"{o}={c}" for o, c in named.errors.items()) or None,
        "duplicates": duplicates,
    }
    return {name: value for name, value in told.items() if value is not None}
