"""A trained model scored at points between it and its base, for nothing but the scoring."""

from pathlib import Path

from keepgain.core.config import run_key
from keepgain.core.items import write_items
from keepgain.core.record import Candidate
from keepgain.trainers.exam import Exam
from keepgain.trainers.reports import cost_of
from keepgain.trainers.run import Run
from keepgain.trainers.summary import summarise


def score_candidates(
    run: Run, exam: Exam, alphas: tuple[float, ...], folder: Path, sweep: Path
) -> tuple[Candidate, ...]:
    """Scores a trained model at shares of the way from its base, on the suites of its trial.

    Args:
        run: At its full budget; as before afterwards.
        alphas: Each in (0, 1).
        folder: Of the run; gets a file of item scores for each share.
        sweep: Folder that the reported paths are relative to.
    """
    config, found = run.config, []
    for alpha in alphas:
        # What would be warned of, the trained model's scores have said.
        results = exam.scores_of(run, [], alpha)
        other = config.model_copy(update={"interpolation": alpha})
        items = folder / f"items-interpolated-{alpha:g}.parquet"
        if run.place.leads:
            write_items(items, [(run_key(other.trial_id, run.seed), r.scores) for r in results])
        summary = summarise(results)
        found.append(
            Candidate(
                interpolation=alpha,
                metrics=summary.metrics,
                items_path=str(items.relative_to(sweep)),
                cost=cost_of(run.model, run.numerics, summary, config.runtime, run.cost()),
            )
        )
    return tuple(found)
