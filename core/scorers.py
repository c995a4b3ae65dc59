"""The scorer registry: what each scorer measures, what it needs of the model, and which function
turns that into an item's score. Free of torch; a new scorer is one entry here and its function.

Functions are named by entry point, because `core` does not import what computes scores. A user's
own scorer is named in the same way, in the spec.
"""

import re

from keepgain.core.behaviour_scorers import BEHAVIOUR
from keepgain.core.errors import UserError
from keepgain.core.metrics import Direction, Metric
from keepgain.core.registered_scorer import SHARE, RegisteredScorer, down, up

LOWER_IS_BETTER = " (lower is better)"
"""Ends the name of a user's scorer that is to fall, so that every reader of scores knows."""
_USERS = re.compile(r"([A-Za-z_][\w.]*:[A-Za-z_]\w*)( \(lower is better\))?")
_HERE = "keepgain.trainers.scorers"

_REGISTERED = (
    RegisteredScorer(
        metric=up(
            "exact_match",
            SHARE,
            "The greedy generation, stripped of white space at its ends, equals the answer.",
        ),
        needs="generation",
        item=f"{_HERE}.text:exact_match",
    ),
    RegisteredScorer(
        metric=down(
            "bits_per_byte",
            "bits/byte",
            "Negative log2-likelihood of the scored text over its UTF-8 bytes; comparable across "
            "tokenizers. An item weighs as many bytes as it has.",
        ),
        needs="likelihood",
        item=f"{_HERE}.likelihood:bits_per_byte",
        fits="any",
        weight="bytes",
        points=False,
    ),
    RegisteredScorer(
        metric=up(
            "normalised_match",
            SHARE,
            "As exact_match after SQuAD's normalisation: lower case, no punctuation, no articles, "
            "single spaces (Rajpurkar et al. 2016).",
        ),
        needs="generation",
        item=f"{_HERE}.text:normalised_match",
    ),
    RegisteredScorer(
        metric=up(
            "token_f1",
            "mean F1",
            "F1 of the words that generation and answer share, after SQuAD's normalisation "
            "(Rajpurkar et al. 2016).",
        ),
        needs="generation",
        item=f"{_HERE}.text:token_f1",
    ),
    RegisteredScorer(
        metric=up(
            "multiple_choice",
            SHARE,
            "The right choice has the highest log-likelihood after the prompt.",
        ),
        needs="choices",
        item=f"{_HERE}.choices:multiple_choice",
        suite=f"{_HERE}.choices:calibration",
        fits="choices",
    ),
    RegisteredScorer(
        metric=up(
            "multiple_choice_normalised",
            SHARE,
            "The right choice has the highest log-likelihood per UTF-8 byte after the prompt.",
        ),
        needs="choices",
        item=f"{_HERE}.choices:multiple_choice_normalised",
        per_byte=True,
        suite=f"{_HERE}.choices:calibration_normalised",
        fits="choices",
    ),
    RegisteredScorer(
        metric=up(
            "classification",
            SHARE,
            "The right label, with the end of the answer, is the likeliest of a closed set.",
        ),
        needs="choices",
        item=f"{_HERE}.choices:classification",
        suite=f"{_HERE}.choices:classification_report",
        fits="label",
        takes=("labels",),
    ),
    RegisteredScorer(
        metric=up(
            "classification_generated",
            SHARE,
            "The greedy generation, stripped, is the right label; any other text is wrong.",
        ),
        needs="generation",
        item=f"{_HERE}.text:exact_match",
        suite=f"{_HERE}.choices:generated_report",
        fits="label",
        takes=("labels",),
    ),
    RegisteredScorer(
        metric=up(
            "span_f1",
            "mean F1",
            "F1 of the sets of spans of generation and answer, split at `separator`, stripped.",
        ),
        needs="generation",
        item=f"{_HERE}.text:span_f1",
        suite=f"{_HERE}.text:span_report",
        takes=("separator",),
    ),
    RegisteredScorer(
        metric=up("rouge_1", "mean F1", "ROUGE-1 F1 with stemming (Lin 2004; rouge-score)."),
        needs="generation",
        item=f"{_HERE}.overlap:rouge_1",
    ),
    RegisteredScorer(
        metric=up("rouge_l", "mean F1", "ROUGE-L F1 with stemming (Lin 2004; rouge-score)."),
        needs="generation",
        item=f"{_HERE}.overlap:rouge_l",
    ),
    RegisteredScorer(
        metric=up(
            "bleu",
            "mean BLEU/100",
            "Sentence BLEU over 100, exponential smoothing (Papineni et al. 2002; sacrebleu).",
        ),
        needs="generation",
        item=f"{_HERE}.overlap:bleu",
        suite=f"{_HERE}.overlap:corpus_bleu",
    ),
    RegisteredScorer(
        metric=up("chrf", "mean chrF/100", "Sentence chrF2 over 100 (Popović 2015; sacrebleu)."),
        needs="generation",
        item=f"{_HERE}.overlap:chrf",
        suite=f"{_HERE}.overlap:corpus_chrf",
    ),
    RegisteredScorer(
        metric=down(
            "perplexity",
            "nats/token (log)",
            "Natural logarithm of the perplexity: negative log-likelihood over the scored tokens. "
            "An item weighs as many tokens as it has, so exp(mean) is the suite's perplexity.",
        ),
        needs="likelihood",
        item=f"{_HERE}.likelihood:log_perplexity",
        suite=f"{_HERE}.likelihood:perplexity",
        fits="any",
        weight="tokens",
        points=False,
        one_tokenizer=True,
    ),
    RegisteredScorer(
        metric=down(
            "kl_from_base",
            "nats/token",
            "Forward KL(base || tuned) of the next-token distributions, mean over the tokens of "
            "the reference, prompts and references fixed. An item weighs as many tokens.",
        ),
        needs="base",
        item=f"{_HERE}.likelihood:divergence",
        fits="any",
        weight="tokens",
        points=False,
        one_tokenizer=True,
        behaviour_only=True,
    ),
    RegisteredScorer(
        metric=up("program", "mean verdict", "The verdict in [0, 1] of the user's command."),
        needs="generation",
        item=f"{_HERE}.program:verdict",
        suite=f"{_HERE}.program:without_verdict",
        takes=("command", "timeout_seconds", "memory_mb"),
    ),
    RegisteredScorer(
        metric=up(
            "lm_eval",
            SHARE,
            "The metric, in [0, 1], that a task of lm-evaluation-harness gives the item.",
        ),
        needs="harness",
        item=f"{_HERE}.lm_eval:item_score",
        fits="any",
        takes=("lm_eval",),
    ),
)

SCORERS: dict[str, RegisteredScorer] = {s.metric.name: s for s in (*_REGISTERED, *BEHAVIOUR)}


def scorer(name: str) -> RegisteredScorer:
    """The scorer of that name: a registered one, or a user's `module:function`.

    Raises:
        UserError: Unknown name; the message lists the known ones.
    """
    if name in SCORERS:
        return SCORERS[name]
    users = _USERS.fullmatch(name)
    if users is None:
        known = ", ".join(f"'{n}'" for n in SCORERS)
        raise UserError(f"unknown scorer '{name}'; known: {known}, or your own `module:function`.")
    direction: Direction = "minimize" if users[2] else "maximize"
    meaning = f"What the user's function {users[1]} returns."
    return RegisteredScorer(
        metric=Metric(name=name, direction=direction, unit="score", meaning=meaning),
        needs="generation",
        item=users[1],
        takes=("higher_is_better",),
        points=False,
    )


def metric_of(name: str) -> Metric:
    """The metric of a scorer's figures; raises as `scorer` does."""
    return scorer(name).metric


def users_function(name: str) -> str | None:
    """`module:function` of a user's scorer; None of a registered one."""
    found = None if name in SCORERS else _USERS.fullmatch(name)
    return found[1] if found else None


def in_points(name: str) -> bool:
    """True if differences of this scorer's figures are told in points of a hundred."""
    return _known(name) and scorer(name).points


def unit_of(name: str) -> str:
    """Unit of the scorer's figures; empty for a name that is none."""
    return scorer(name).metric.unit if _known(name) else ""


def _known(name: str) -> bool:
    return name in SCORERS or _USERS.fullmatch(name) is not None
