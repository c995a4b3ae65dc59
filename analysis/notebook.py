"""A sweep as tidy pandas frames, for notebooks: `load_sweep("last").figures`."""

from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

from keepgain.analysis.analyze import analyze
from keepgain.analysis.load import load_evidence
from keepgain.analysis.result import Analysis
from keepgain.core.config import Split
from keepgain.core.record import Evidence

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LoadedSweep:
    """A sweep with its figures; each frame has one observation a row, and is made when asked for.

    Frames join on `trial` (a trial's id) and, where there are several runs of a trial, on `run`.
    """

    evidence: Evidence
    analysis: Analysis
    """What `analyze` prints, as data."""

    @cached_property
    def decision(self) -> "pd.Series[Any]":
        """`status`, `model`, `trial`, `probability`, `reason`, `split`."""
        import pandas as pd

        names = ("status", "model", "trial", "probability", "reason", "split")
        return pd.Series({n: getattr(self.analysis.decision, n) for n in names}, name="decision")

    @cached_property
    def trials(self) -> "pd.DataFrame":
        """A row a trial, base or reference arm: what it is, its settings, place and costs.

        Settings have the columns `params.NAME`, costs `cost.NAME`; NaN where it has none.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                "trial": row.who.trial_id,
                "label": row.who.label,
                "model": row.who.model,
                "kind": row.who.kind,
                "split": row.split,
                "status": row.who.status.value,
                "seeds": row.who.seeds(row.split) if row.split else 0,
                "rank": row.place.rank if row.place else None,
                "on_front": bool(row.place and row.place.on_front),
                "front_membership": row.place.membership if row.place else None,
                **{f"params.{k}": v for k, v in row.who.params.items()},
                **{f"cost.{k}": v for k, v in row.who.cost.items()},
            }
            for row in self.analysis.rows
        )

    @cached_property
    def figures(self) -> "pd.DataFrame":
        """A row a trial and objective: `value` with its two-sided 95 % interval `low` to `high`.

        `low` and `high` are NaN where the interval is unknown; objectives that a trial has no
        figure of are left out.
        """
        import pandas as pd

        names = ("value", "low", "high", "n_items", "n_seeds", "interval_method")
        return pd.DataFrame(
            [
                {
                    "trial": row.who.trial_id,
                    "model": row.who.model,
                    "kind": row.who.kind,
                    "split": row.split,
                    "objective": objective,
                    **{n: getattr(estimate, n) for n in names},
                }
                for row in self.analysis.rows
                for objective, estimate in row.estimates.items()
                if estimate.value is not None
            ],
            columns=["trial", "model", "kind", "split", "objective", *names],
        )

    @cached_property
    def runs(self) -> "pd.DataFrame":
        """A row a run (a trial with a seed), those that failed or were stopped among them.

        Metrics have the columns `metrics.NAME`, as recorded; figures of the analysis are recomputed
        from `items` and do not depend on them.
        """
        import pandas as pd

        return pd.DataFrame(
            {
                "run": run.run_key,
                "trial": run.trial_id,
                "model": run.model,
                "kind": run.kind,
                "stage": run.stage.value,
                "status": run.status.value,
                "seed": run.seed,
                "tokens": run.tokens,
                "reason": run.reason,
                **{f"metrics.{k}": v for k, v in run.metrics.items()},
            }
            for run in self.evidence.sweep.runs
        )

    @cached_property
    def items(self) -> "pd.DataFrame":
        """A row an item score: `run`, `trial`, `suite`, `split`, `tokens`, `item`, `score`,
        `weight`.

        Scores are in the suite's unit. Suites called `loss/...` are answer losses in nats per
        token, `served/...` scores with weights in another form.
        """
        import pandas as pd

        trials = {run.run_key: run.trial_id for run in self.evidence.sweep.runs}
        frames = [
            pd.DataFrame(
                {
                    "run": key,
                    "trial": trials[key],
                    "suite": s.suite,
                    "split": s.split,
                    "tokens": s.tokens,
                    "item": s.item_ids,
                    "score": s.values,
                    "weight": s.weights,
                }
            )
            for key, s in self.evidence.items
        ]
        columns = ["run", "trial", "suite", "split", "tokens", "item", "score", "weight"]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def load_sweep(
    sweep: str = "last",
    *,
    store: str | PathLike[str] | None = None,
    delta: float | None = None,
    max_forgetting: float | None = None,
    split: Split | None = None,
) -> LoadedSweep:
    """Reads a sweep and decides on it, as `analyze` does.

    Args:
        sweep: Its id; `last`; or `example`, the one that is shipped.
        store: As `analyze --store`; None: found as there.
        delta: Overrides the question's, in the suite's unit; so does `max_forgetting`.
        split: Decide on this split; None: test where confirmed trials have it.

    Raises:
        UserError: No such sweep or store.
    """
    evidence = load_evidence(sweep, None if store is None else str(store))
    analysis = analyze(evidence, delta=delta, max_forgetting=max_forgetting, split=split)
    return LoadedSweep(evidence, analysis)
