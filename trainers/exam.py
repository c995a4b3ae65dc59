"""A model before all suites of a run, with what scoring can share from one model to the next."""

from collections.abc import Callable
from contextlib import nullcontext

from torch import nn

from keepgain.core.config import ModelRef, Runtime, SuiteRef
from keepgain.core.rows import Row
from keepgain.core.scorers import scorer
from keepgain.trainers.data import DataCache
from keepgain.trainers.methods import is_wrapped
from keepgain.trainers.models import BaseCache, max_positions, numerics_of
from keepgain.trainers.reference import Prompting
from keepgain.trainers.run import Run
from keepgain.trainers.scoring import Beside, SuiteResult, adapters_off, score_suite
from keepgain.trainers.suites import SuiteCache
from keepgain.trainers.tokens import Codec


class Exam:
    """Scores models on suites; encoded items stay in memory."""

    def __init__(self, bases: BaseCache, data: DataCache) -> None:
        self._bases = bases
        self._read: Callable[[SuiteRef], list[Row]] = data.items
        self._suites = SuiteCache()

    def scores_of(
        self, run: Run, warnings: list[str], interpolation: float | None = None
    ) -> list[SuiteResult]:
        """Scores of what a run has trained, on the suites of its trial; collective.

        Args:
            run: Anywhere in its training; as before afterwards.
            warnings: As of `scores`.
            interpolation: As of `Run.served`.
        """
        config = run.config
        with run.served(interpolation):
            return self.scores(
                run.model,
                run.codec,
                config.suites,
                config.model,
                config.runtime,
                Prompting(),
                run.progress.tokens,
                warnings,
            )

    def scores(
        self,
        model: nn.Module,
        codec: Codec,
        suites: tuple[SuiteRef, ...],
        ref: ModelRef,
        runtime: Runtime,
        prompting: Prompting,
        tokens: int,
        warnings: list[str],
    ) -> list[SuiteResult]:
        """Scores of every item of every suite.

        Args:
            model: As it is served.
            codec: Its tokenizer and template.
            suites: What to score, in this order.
            ref: The base that scorers compare with.
            runtime: Batch sizes, and where that base is loaded.
            prompting: What stands before an item's question.
            tokens: Trained so far, for the record.
            warnings: Gets a line for each suite with items that had to be cut.
        """
        results = []
        limit = max_positions(model)
        for suite in suites:
            items = self._suites.get(suite, ref, prompting, codec, limit, self._read)
            if items.shortened:
                warnings.append(
                    f"{items.shortened} of {len(items.rows)} items of {suite.split}/{suite.name} "
                    f"were cut to the model's {limit} positions"
                )
            beside = None
            if scorer(suite.scorer).needs == "base":
                beside = self._beside(model, ref, runtime)
            batch = runtime.scoring_batch_size
            results.append(score_suite(model, codec, items, batch, tokens, beside))
        return results

    def _beside(self, model: nn.Module, ref: ModelRef, runtime: Runtime) -> Beside:
        """The base beside a tuned model: the same weights with adapters off, or its own copy."""
        if is_wrapped(model):
            return lambda: adapters_off(model)
        numerics = numerics_of(runtime)
        base = self._bases.load(ref, numerics.dtype, numerics.device, numerics.attention).model
        return lambda: nullcontext(base)
