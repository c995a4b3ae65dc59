"""Learning-rate schedules as pure functions of the share of the full budget that is spent.

A rung never changes a schedule: the rate at a token count is the same whether the trial was paused
there or not. `wsd` (warm-up, stable, decay; Hu et al. 2024, arXiv 2404.06395) is constant up to the
last `decay_share`, so that early rungs are not half-way down a cosine.
"""

import math

from keepgain.core.config import TrialConfig


def learning_rate(config: TrialConfig, fraction: float) -> float:
    """The rate at `fraction` of the full budget.

    Args:
        fraction: In [0, 1]; the loop passes the middle of a step, so that neither the first step
            of a warm-up nor the last of a decay is spent at a rate of 0.

    Returns:
        A rate in [0, config.learning_rate].
    """
    peak = config.learning_rate
    fraction = min(max(fraction, 0.0), 1.0)
    if fraction < config.warmup_share:
        return peak * fraction / config.warmup_share
    return peak * _after_warmup(config, fraction)


def _after_warmup(config: TrialConfig, fraction: float) -> float:
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "wsd":
        start = max(1.0 - config.decay_share, config.warmup_share)
        return 1.0 if fraction <= start or start >= 1.0 else (1.0 - fraction) / (1.0 - start)
    rest = 1.0 - config.warmup_share
    done = (fraction - config.warmup_share) / rest if rest > 0 else 1.0
    if config.schedule == "linear":
        return 1.0 - done
    return 0.5 * (1.0 + math.cos(math.pi * done))
