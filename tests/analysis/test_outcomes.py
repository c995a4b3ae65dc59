"""Each kind of truth gives its own status and words; no conclusion is a belief in code."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.analysis.worlds import Known, base_of, world
from keepgain.analysis.analyze import analyze
from keepgain.analysis.result import Analysis
from keepgain.core.record import Question
from tests.analysis.evidence import Trial, base, build

BASES = (base("s"), base("m"))
QUESTION = Question(delta=0.05, max_forgetting=0.06)


@dataclass(frozen=True)
class Outcome:
    """A truth, and what must be said of it."""

    name: str
    trials: Sequence[Trial]
    status: str
    model: str | None
    trial: str | None
    words: Sequence[str]
    """Regular expressions, all of which the reason holds."""
    never: Sequence[str] = ()
    options: dict[str, Any] = field(default_factory=dict)


def methods(full: float, lora: float) -> tuple[Trial, ...]:
    return (
        Trial("full-m", "m", full, 0.79, method="full"),
        Trial("lora-m", "m", lora, 0.79, method="lora"),
        Trial("full-s", "s", 0.3, 0.79, method="full"),
    )


POINTS = r"\d+\.\d points"
OUTCOMES = (
    Outcome(
        "LoRA wins", methods(0.6, 0.8), "recommended", "m", "lora-m",
        [
            r"^Use m \(1M parameters\), trial lora-m \(lora\): task score 0\.(7[789]|8[012])\d \[",
            r"1,500 test items over 3 seeds",
            r"lora-m is the best of the 3 trials over all sizes",
        ],
    ),
    Outcome(
        "LoRA loses", methods(0.8, 0.6), "recommended", "m", "full-m",
        [r"trial full-m \(full\)", r"full-m is the best of the 3 trials over all sizes"],
        ["lora"],
    ),
    Outcome(
        "methods tie", methods(0.8, 0.8), "tied", "m", None,
        [
            r"(full-m and lora-m|lora-m and full-m) cannot be told from the best \(95 % conf",
            r"those are tied, and validation chose",
        ],
    ),
    Outcome(
        "sizes tie", (Trial("big", "m", 0.8), Trial("small", "s", 0.8)),
        "recommended", "s", "small",
        [
            r"Its task score is \d\.\d points (below|above) that of m \(1M parameters\)",
            r"5\.0 points \(delta\) were allowed\. Probability that it is adequate: (0\.9\d|1\.00)",
            r"cannot be told from the best \(95 % confidence\); the cheapest of them is small",
        ],
    ),
    Outcome(
        "nothing is feasible", (Trial("big", "m", 0.8, 0.5), Trial("small", "s", 0.8, 0.4)),
        "infeasible", None, None,
        [
            r"^Infeasible: every size breaks a condition\.",
            r"m: it forgets (29|30|31|32)\.\d points on .*limit 6\.0 points",
            r"s: it forgets (38|39|40|41|42)\.\d points on .*limit 6\.0 points",
        ],
    ),
    Outcome(
        "a reference arm wins",
        (
            Trial("big", "m", 0.7),
            Trial("small", "s", 0.6),
            Trial("shots", "s", 0.8, arm="few_shot", general=None),
        ),
        "do_not_fine_tune", "s", "shots",
        [
            r"^Do not fine-tune: the base s with worked examples in the prompt scores 0\.(7|8)",
            rf"m is behind by {POINTS} \[", rf"s is behind by {POINTS} \[",
        ],
    ),
    Outcome(
        "items too few", (Trial("big", "m", 0.8, 0.78), Trial("small", "s", 0.79, 0.78)),
        "not_resolved", None, None,
        [
            r"^Not resolved: no size is shown to qualify, and at least one may\.",
            r"about [\d,]+ items would resolve it with 80 % power \(now 60\)",
        ],
        options={"n_items": 60},
    ),
    Outcome(
        "effort unequal",
        (
            Trial("big", "m", 0.8),
            Trial("small", "s", 0.8),
            *(Trial(f"more{k}", "s", 0.7, seeds=0) for k in range(4)),
        ),
        "recommended", "s", "small",
        [
            r"The sizes were searched with unequal effort \(trials s 5 .*, m 1 ",
            r"favours the one that was searched more\.$",
        ],
    ),
    Outcome(
        "picked for the score that is quoted",
        tuple(Trial(f"t{k:02d}", "m", 0.7, seeds=0) for k in range(12)),
        "provisional", "m", None,
        [
            r"on which the candidates were also chosen, so they flatter",
            rf"As the best of 12 trials it owes about {POINTS} of its score to luck",
            r"expect 0\.(6[5-9]|7[0-5])\d\.",
        ],
        options={"test": False, "n_items": 400},
    ),
)  # fmt: skip


def decided(outcome: Outcome) -> Analysis:
    options = {"n_items": 1500, "question": QUESTION, **outcome.options}
    return analyze(build([*BASES, *outcome.trials], **options))


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda o: o.name)
def test_status_and_words(outcome: Outcome) -> None:
    decision = decided(outcome).decision
    assert (decision.status, decision.model) == (outcome.status, outcome.model)
    if outcome.trial is not None or outcome.model is None:
        assert decision.trial == outcome.trial
    for said in outcome.words:
        assert re.search(said, decision.reason), (said, decision.reason)
    for said in outcome.never:
        assert said not in re.sub(r"\w+-m", "", decision.reason)


def test_a_label_that_means_nothing_has_no_effect() -> None:
    """Methods dealt at random to trials of one truth: no pair differs more than by chance (1 %)."""
    rng = np.random.default_rng(11)
    given = [Known(f"t{k}", "m", 0.7, seeds=2) for k in range(8)]
    missed, rounds = 0, 150
    for _ in range(rounds):
        m = world(rng, [base_of("m"), *given], n_items=100, splits=("validation",))
        trials = m.table.trials("m", "validation")
        lora, full = (trials[k] for k in rng.permutation(len(trials))[:2])
        u = m.difference(lora, full, "validation", "task_score")
        assert u is not None
        e = u.estimate()
        assert e.low is not None and e.high is not None
        missed += not e.low <= 0 <= e.high
    assert binom.sf(missed - 1, rounds, 0.05) >= 0.01
