"""The job of training by a trainer of the user's own, and of scoring what it left."""

from contextlib import ExitStack, closing
from pathlib import Path

from keepgain.core.items import write_items
from keepgain.core.record import RungReport
from keepgain.core.store.spool import Spool
from keepgain.core.work import TrainRequest
from keepgain.trainers.answers import keep_answers
from keepgain.trainers.cost import figures
from keepgain.trainers.exam import Exam
from keepgain.trainers.external import trained_elsewhere
from keepgain.trainers.left import keep_left, load_left
from keepgain.trainers.models import BaseCache, numerics_of, plain
from keepgain.trainers.process import hardware_label
from keepgain.trainers.reference import Prompting
from keepgain.trainers.reports import tags_of
from keepgain.trainers.run import CARD
from keepgain.trainers.self_replay import with_answers
from keepgain.trainers.summary import summarise

OWN = "own trainer"
"""The engine of what a trainer of the user's own has trained."""
SCORING_TAGS = ("scoring_batch_size", "device", "dtype", "attention")
"""What is known of the numerics then."""


def train_elsewhere(
    request: TrainRequest, folder: Path, log_file: Path, bases: BaseCache, exam: Exam
) -> RungReport:
    """Calls the trainer once, to the end of the budget, and scores the model it leaves.

    Args:
        request: With a `config.trainer`.
        folder: Of the run.
        log_file: Gets what the trainer prints.
        bases: Where the base is loaded from.
        exam: Scores the model.

    Raises:
        TrialFailure: The trainer failed, or left no model of the trial's base.
    """
    config, key, sweep = request.config, request.run_key, Path(request.sweep_folder)
    numerics = numerics_of(config.runtime)
    with ExitStack() as stack:
        spool = stack.enter_context(closing(Spool(sweep / "spool", key)))
        trained = stack.enter_context(
            trained_elsewhere(
                with_answers(config, bases),
                request.seed,
                folder,
                log_file,
                lambda tokens, values: spool.metrics(key, tokens, values),
            )
        )
        curves = trained.curves
        left = load_left(trained.output, config, bases, numerics)
        warnings = [*curves.warnings(), *left.warnings(config)]
        results = exam.scores(
            left.model,
            left.codec,
            config.suites,
            config.model,
            config.runtime,
            Prompting(),
            curves.spent_tokens,
            warnings,
        )
        kept = folder / "model" if request.keep_model else None
        if kept is not None:
            card = {
                "run_key": key,
                "tokens": curves.spent_tokens,
                "examples": curves.spent_examples,
                "base": {"name": config.model.name, "digest": config.model.digest},
            }
            keep_left(trained.output, kept, left, card, CARD)
    items = folder / "items-r0.parquet"
    write_items(items, [(key, r.scores) for r in results])
    summary = summarise(results)
    loss = {} if curves.last_loss is None else {"train/loss": curves.last_loss}
    tags = tags_of(config.runtime, numerics, left.model)
    return RungReport(
        run_key=key,
        rung=0,
        tokens=curves.spent_tokens,
        examples=curves.spent_examples,
        final=True,
        metrics={**summary.metrics, **loss},
        items_path=str(items.relative_to(sweep)),
        answers_path=keep_answers(folder / "answers.parquet", results, sweep),
        model_folder=None if kept is None else str(kept.relative_to(sweep)),
        # Without peak memory: the trainer's is not known.
        cost={
            **figures(plain(left.model).config.to_dict(), tags["dtype"]),
            **summary.cost,
            **left.cost(trained.seconds, curves.spent_tokens),
        },
        numerics={"engine": OWN, **{name: tags[name] for name in SCORING_TAGS}},
        hardware=hardware_label(numerics.device),
        warnings=tuple(warnings),
    )
