"""The jobs of a worker: train a run to a rung and score it, or score a model as it is."""

import logging
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from torch import cuda

from keepgain.core.config import ScoreConfig
from keepgain.core.errors import UserError
from keepgain.core.items import write_items
from keepgain.core.publish import DamagedError, read_json, remove_leftovers, verify
from keepgain.core.record import RungReport
from keepgain.core.status import FailureCause
from keepgain.core.store.spool import Spool
from keepgain.core.work import ScoreRequest, TrainRequest, WorkReply
from keepgain.trainers.answers import keep_answers
from keepgain.trainers.candidates import score_candidates
from keepgain.trainers.checkpoint import Checkpoints
from keepgain.trainers.data import DataCache
from keepgain.trainers.exam import Exam
from keepgain.trainers.external_job import train_elsewhere
from keepgain.trainers.failures import reply_of
from keepgain.trainers.interpolate import check_interpolation
from keepgain.trainers.methods import count_parameters
from keepgain.trainers.models import Base, BaseCache, numerics_of
from keepgain.trainers.process import (
    hardware_label,
    logging_to,
    reset_peak_memory,
)
from keepgain.trainers.ranks import this_place
from keepgain.trainers.reference import prompting_of
from keepgain.trainers.reports import cost_of, energy_so_far, tags_of, with_energy
from keepgain.trainers.run import CARD, Run
from keepgain.trainers.self_replay import answer_all
from keepgain.trainers.served import held_bytes, load_scored, numerics_as_served
from keepgain.trainers.summary import loss_metrics, summarise

log = logging.getLogger(__name__)

LOG = "worker.log"
"""In the folder of a run."""

_Request = Annotated[TrainRequest | ScoreRequest, Field(discriminator="op")]
_REQUEST: TypeAdapter[TrainRequest | ScoreRequest] = TypeAdapter(_Request)


class Jobs:
    """Serves jobs one after the other; keeps bases, data and the last run's model in memory."""

    def __init__(self) -> None:
        self._bases = BaseCache()
        self._data = DataCache()
        self._exam = Exam(self._bases, self._data)
        self._run: Run | None = None
        self._reached = -1
        """Rung at which `_run` stands."""

    def answer(self, line: str) -> WorkReply:
        """Does the job of one JSON request; whatever goes wrong is in the reply."""
        try:
            request = _REQUEST.validate_json(line)
        except ValidationError as error:
            return WorkReply(cause=FailureCause.EXCEPTION, detail=f"not a request: {error}")
        return self.do(request)

    def do(self, request: TrainRequest | ScoreRequest) -> WorkReply:
        """As `answer`, for a parsed request."""
        folder = Path(request.sweep_folder) / "runs" / request.run_key
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with logging_to(folder / LOG):
                return self._do(request, folder)
        except OSError as error:  # neither folder nor log can be written
            return reply_of(error)

    def _do(self, request: TrainRequest | ScoreRequest, folder: Path) -> WorkReply:
        try:
            if this_place().leads:
                remove_leftovers(folder)
            reset_peak_memory()
            energy = energy_so_far(request.config.runtime)
            if isinstance(request, TrainRequest):
                report = self._train(request, folder)
            else:
                report = self._score(request, folder)
            return WorkReply(report=with_energy(report, energy, request.config.runtime))
        except Exception as error:  # the boundary: the reply and the log carry it on
            # What is in memory may be half a step further than it says.
            self._drop()
            return reply_of(error)

    def _train(self, request: TrainRequest, folder: Path) -> RungReport:
        config, rung = request.config, request.rung
        if not 0 <= rung < len(config.rungs):
            raise UserError(f"rung {rung} of {len(config.rungs)} does not exist.", where="rung")
        check_interpolation(config, request.interpolate)
        if config.trainer is not None:
            # What is in memory would stand beside the trainer.
            self._drop()
            if cuda.is_available():
                cuda.empty_cache()
            return train_elsewhere(request, folder, folder / LOG, self._bases, self._exam)
        warnings: list[str] = []
        if request.out_of_memory is not None:
            micro = config.runtime.micro_batch_size
            warnings.append(f"trained with micro-batches of {micro}: {request.out_of_memory}")
        run = self._continue(request, warnings)
        leads = run.place.leads
        if leads:
            spool = Spool(Path(request.sweep_folder) / "spool", request.run_key)
            try:
                run.train(rung, lambda tokens, values: spool.metrics(run.key, tokens, values))
            finally:
                spool.close()
        else:
            run.train(rung, lambda tokens, values: None)
        self._reached = rung
        final = rung == len(config.rungs) - 1
        checkpoints = Checkpoints(request)
        kept = checkpoints.name(rung) if request.keep_checkpoint else None
        if kept is not None:
            run.save(checkpoints.at(kept), rung, key=checkpoints.key, staging=folder)
        exported = folder / "model" if request.keep_model and final else None
        if exported is not None:
            run.export(exported)
        results = self._exam.scores_of(run, warnings)
        losses, loss_seconds = run.answer_losses(final)
        sweep = Path(request.sweep_folder)
        alphas = request.interpolate if final else ()
        candidates = score_candidates(run, self._exam, alphas, folder, sweep)
        items = folder / f"items-r{rung}.parquet"
        apart = folder / f"losses-r{rung}.parquet" if losses else None
        if leads:
            write_items(items, [(run.key, r.scores) for r in results])
            if apart is not None:
                write_items(apart, [(run.key, s) for s in losses])
            if final or kept is not None:
                # Last of all: who is killed before goes on from there.
                checkpoints.remove(keep=kept)
        warnings += run.warnings()
        summary = summarise(results)
        answers = None
        if leads and final:
            answers = keep_answers(folder / "answers.parquet", results, sweep)
        return RungReport(
            run_key=run.key,
            rung=rung,
            tokens=run.progress.tokens,
            examples=run.progress.examples,
            final=final,
            metrics={
                **summary.metrics,
                "train/loss": run.progress.last_loss,
                **loss_metrics(losses),
            },
            items_path=str(items.relative_to(sweep)),
            losses_path=None if apart is None else str(apart.relative_to(sweep)),
            answers_path=answers,
            stopped_early=run.progress.stopped_at,
            checkpoint=kept,
            model_folder=None if exported is None else str(exported.relative_to(sweep)),
            cost=cost_of(
                run.model,
                run.numerics,
                summary,
                config.runtime,
                {**run.cost(), "loss_seconds": loss_seconds},
            ),
            numerics=tags_of(config.runtime, run.numerics, run.model),
            hardware=hardware_label(run.numerics.device),
            drawn=run.mixture.drawn(),
            candidates=candidates,
            warnings=tuple(warnings),
        )

    def _continue(self, request: TrainRequest, warnings: list[str]) -> Run:
        """The run in memory if it is this one and not further; else from a checkpoint, or anew."""
        run = self._run
        if (
            run is not None
            and run.config == request.config
            and run.seed == request.seed
            and self._reached <= request.rung
        ):
            log.info("run %s goes on from memory at rung %d", run.key, self._reached)
            return run
        self._drop()
        run = Run(request.config, request.seed, self._bases, self._data)
        if request.resume_from is not None:
            _resume(run, request, request.resume_from, warnings)
        self._run = run
        return run

    def _score(self, request: ScoreRequest, folder: Path) -> RungReport:
        config = request.config
        # A run in memory would stand beside the model that is scored.
        self._drop()
        numerics = numerics_as_served(numerics_of(config.runtime), config.served)
        sweep = Path(request.sweep_folder)
        card = _card(config, sweep)
        model, codec = load_scored(self._bases, config, sweep, card, numerics)
        tokens = int(card.get("tokens", 0))
        warnings: list[str] = []
        if config.replay is not None:
            base = Base(model, codec)
            warnings += answer_all(config.replay, config.model, config.runtime, base)
        results = self._exam.scores(
            model,
            codec,
            config.suites,
            config.model,
            config.runtime,
            prompting_of(config),
            tokens,
            warnings,
        )
        # A trained run may be scored again on other items: its rungs' files stay as they are.
        items = folder / f"items-score-{config.trial_id}.parquet"
        write_items(items, [(request.report_as, r.scores) for r in results])
        answers = folder / f"answers-score-{config.trial_id}.parquet"
        summary = summarise(results)
        own = {"parameters": float(count_parameters(model)["parameters"])}
        tags = tags_of(config.runtime, numerics, model)
        if config.served is not None:
            own["weight_bytes"] = float(held_bytes(model))
            tags["served"] = config.served
        return RungReport(
            run_key=request.report_as,
            rung=0,
            tokens=tokens,
            examples=int(card.get("examples", 0)),
            final=True,
            metrics=summary.metrics,
            items_path=str(items.relative_to(sweep)),
            answers_path=keep_answers(answers, results, sweep),
            cost=cost_of(model, numerics, summary, config.runtime, own),
            numerics=tags,
            hardware=hardware_label(numerics.device),
            warnings=tuple(warnings),
        )

    def _drop(self) -> None:
        if self._run is not None:
            self._run.close()
        self._run, self._reached = None, -1


def _resume(run: Run, request: TrainRequest, asked: str, warnings: list[str]) -> None:
    """Loads the checkpoint asked for; if it is gone or damaged, the newest whole one before it.

    Starting over gives the same figures and costs their time again; the report says so.

    Raises:
        UserError: The checkpoint is whole and belongs to something else.
    """
    checkpoints = Checkpoints(request)
    for name in (asked, *checkpoints.before(asked)):
        try:
            with checkpoints.at_hand(name, run.place) as folder:
                run.load(folder, at_most=request.rung, key=checkpoints.key)
        except DamagedError as error:
            warnings.append(f"checkpoint not used: {error}")
            log.warning("checkpoint not used: %s", error)
            continue
        log.info("run %s goes on from %s at %d tokens", run.key, name, run.progress.tokens)
        return
    warnings.append("no whole checkpoint was left: the run started over")


def _card(config: ScoreConfig, sweep: Path) -> dict[str, Any]:
    """What the folder of tuned weights says about itself; empty for a base."""
    if config.checkpoint is None:
        return {}
    folder = sweep / config.checkpoint
    verify(folder)
    card = read_json(folder / CARD)
    if card["base"]["digest"] != config.model.digest:
        raise UserError(
            f"these weights were tuned from another base than '{config.model.name}'.",
            where=str(folder),
        )
    return card
