"""What mattered among the settings, in words: importance, contrasts, mixture, more data."""

from collections.abc import Sequence
from dataclasses import asdict

from keepgain.analysis import words
from keepgain.analysis.why.contrasts import Contrast
from keepgain.analysis.why.importance import Importance, needed
from keepgain.analysis.why.learning import ROWS, Change
from keepgain.analysis.why.mixture import SETTINGS, Best, Mixture
from keepgain.analysis.why.section import Section, refusals, scaled, spread, table

_WHICH = {"quasi_random": "quasi-random trials alone", "all": "all trials, as the search drew them"}


def importance_section(found: Sequence[Importance]) -> Section:
    """Which settings tell the best trials from the others."""
    done = [i for i in found if i.reason is None]
    told = []
    for i in done:
        sure = [s for s in i.shares if s.told]
        names = words.join([f"{s.setting} ({100 * s.value:.0f} %)" for s in sure])
        what = names or "no setting is told from noise"
        told.append(f"{i.objective} of {i.model}: {what}")
    said = [f"{'; '.join(told)}."] if told else []
    refused = refusals({i.model: i.reason for i in found if i.reason is not None})
    if refused and not done:
        refused += (
            f" Give each base model at least {needed()} trials (`search: {{trials_per_model: "
            f"{needed()}}}`)."
        )
    rows = [
        (
            i.model,
            i.objective,
            s.setting,
            f"{100 * s.value:.0f} % [{100 * s.low:.0f}, {100 * s.high:.0f}]",
            f"{100 * s.noise:.0f} %",
            f"{s.p:.2f}",
            "told from noise" if s.told else "not told from noise",
            f"{i.trials} ({i.top} best)",
        )
        for i in done
        for s in i.shares
    ]
    header = ("size", "objective", "setting", "importance", "noise", "p", "verdict", "trials")
    used = words.join(sorted({_WHICH[i.which] for i in done}))
    notes = (
        (
            "Importance (PED-ANOVA) is the share of what tells the best quarter of the trials from "
            "all that lies in a setting, with a 95 % bootstrap interval over trials. Noise: what "
            "95 % of dummies stay below, the same settings with figures shuffled among the trials; "
            f"p holds for all settings of a row's size and objective together. From {used}: it "
            "speaks of the range that was searched.",
        )
        if done
        else ()
    )
    return Section(
        "importance",
        "Settings that mattered",
        " ".join([*said, *([refused] if refused else [])]) or "no trial has scores.",
        [asdict(i) | {"shares": [asdict(s) | {"told": s.told} for s in i.shares]} for i in found],
        table("Importance of settings", header, rows),
        notes,
    )


def contrast_section(found: Sequence[Contrast]) -> Section:
    """Which settings work differently on larger models, or with another method."""
    done = [c for c in found if c.reason is None]
    if not found:
        said = (
            "nothing to compare: it takes several base models, or several methods with a searched "
            "learning rate."
        )
        return Section("contrasts", "Settings that depend on each other", said, [])
    sure = [c for c in done if c.resolved]
    parts = [_contrast(c) for c in sure]
    if done and not sure:
        parts.append(
            f"none of {words.count(len(done), 'declared contrast')} is resolved on "
            f"{words.count(done[0].trials, 'trial')}: no setting is shown to work differently on "
            "larger base models or with another method."
        )
    refused = refusals({c.response: c.reason for c in found if c.reason is not None})
    rows = [
        (
            c.name,
            c.response,
            spread(c.estimate, c.low, c.high, 2),
            c.unit,
            c.per,
            _p(c.p_adjusted),
            f"{c.trials}",
        )
        for c in done
    ]
    header = ("contrast", "objective", "estimate", "unit", "per", "adjusted p", "trials")
    notes = (
        (
            "Contrasts were declared before any result: ordinary least squares with HC3 errors, "
            f"95 % t intervals (not adjusted), p by Holm over {len(done)}. The task score counts "
            "as log-odds, so that a ceiling is no interaction; forgetting up is bad.",
        )
        if done
        else ()
    )
    return Section(
        "contrasts",
        "Settings that depend on each other",
        " ".join([*parts, *([refused] if refused else [])]),
        [asdict(c) | {"resolved": c.resolved} for c in found],
        table("Planned contrasts", header, rows),
        notes,
    )


def _contrast(c: Contrast) -> str:
    assert c.estimate is not None, "only assessed contrasts come here"
    first, _, second = c.name.partition(" x ")
    by_rate = first == "learning rate"
    what, when = (second, "at higher learning rates") if by_rate else (first, "on larger models")
    return (
        f"{what} adds {'more' if c.estimate > 0 else 'less'} to {c.response} {when} "
        f"({spread(c.estimate, c.low, c.high, 2)} {c.unit} {c.per}, adjusted p "
        f"{_p(c.p_adjusted)}, {words.count(c.trials, 'trial')})."
    )


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def mixture_section(found: Mixture) -> Section:
    """Whether the mixture moves the scores, and which one is predicted to be best."""
    heading = "Mixture of the training tokens"
    if not found.sources:
        said = "not searched, so nothing can be said (`space: mixture: {source: [low, high]}`)."
        return Section("mixture", heading, said, asdict(found))
    done = [s for s in found.surfaces if s.reason is None]
    sure = [s for s in done if s.resolved]
    parts = []
    if sure:
        parts.append(
            f"its shares help to predict {len(sure)} of {words.count(len(done), 'score')} (a suite "
            "of a base model each) beyond the other settings."
        )
    elif done:
        parts.append(
            "no surface predicts unseen trials better with the shares than without: no best "
            "mixture is predicted."
        )
    parts += [_best(b) for b in found.best]
    refused = refusals({s.model: s.reason for s in found.surfaces if s.reason is not None})
    rows = [
        (
            s.model,
            s.suite,
            str(s.chosen),
            f"{s.r2[str(s.chosen)]:.2f}",
            "–" if s.spearman[str(s.chosen)] is None else f"{s.spearman[str(s.chosen)]:.2f}",
            f"{s.r2[SETTINGS]:.2f}" if SETTINGS in s.r2 else "–",
            f"{s.rmse:.2g} {s.unit}",
            "yes" if s.resolved else "not shown",
            f"{s.trials}",
        )
        for s in done
    ]
    header = ("size", "suite", "form", "R²", "Spearman", "R² without", "error", "helps", "trials")
    notes = (
        (
            "Surfaces of the error on the shares, judged by 5-fold cross-validation: R² against a "
            "constant (1 is perfect, 0 no better); without: the other settings alone; error: root "
            "mean square on unseen trials. A predicted mixture is no result until it is trained; "
            "only mixtures between tried ones are considered.",
        )
        if done
        else ()
    )
    return Section(
        "mixture",
        heading,
        " ".join([*parts, *([refused] if refused else [])]),
        asdict(found),
        table("Mixture surfaces, cross-validated", header, rows),
        notes,
    )


def _best(b: Best) -> str:
    shares = ", ".join(f"{n.removeprefix('mixture.')} {100 * v:.0f} %" for n, v in b.shares.items())
    what = "the task" if b.aim == "task" else "what the base knew"
    where = "a tried mixture" if b.tried else f"{100 * b.nearest:.0f} points from a tried one"
    return (
        f"PREDICTION, not a result: for {what} on {b.model} the best mixture would be {shares} "
        f"(error {b.predicted:.3g} ± {b.rmse:.2g} {b.unit}, cross-validated; {where})."
    )


def learning_section(found: Sequence[Change]) -> Section:
    """What twice the data, or twice the training, is expected to do."""
    heading = "More data"
    if not found:
        said = (
            "not assessed, since no trial varies it. Add `space: rows: {ordered: [...]}` (nested "
            "subsets of the task's rows; four sizes or more for a curve), or `duration` for "
            "longer training."
        )
        return Section("learning_curves", heading, said, [])
    done = [c for c in found if c.reason is None]
    parts = [_change(c) for c in done if c.part is None and c.measures == "gain"]
    refused = refusals({f"{c.of} on {c.model}": c.reason for c in found if c.reason is not None})
    rows = []
    for c in done:
        factor, digits, unit = scaled(c.scorer)
        change, then = c.change, c.predicted
        rows.append(
            (
                c.model,
                c.suite + (f" {c.part}" if c.part else ""),
                c.of,
                f"{c.levels[0]:,.0f} to {c.levels[-1]:,.0f}",
                f"{spread(change.value, change.low, change.high, digits, factor)} {unit}",
                spread(then.value, then.low, then.high, 3),
                str(c.form),
                f"{c.items:,} × {c.trials}",
            )
        )
    header = ("size", "suite", "of", "seen", "twice: change", "predicted score", "form")
    notes = (
        (
            "Change from the largest amount seen to twice of it, up is good, with a 95 % interval "
            "over trials and items; the predicted score has the interval of one training. Both "
            "extrapolate, and hold for the mean of the other settings.",
        )
        if done
        else ()
    )
    return Section(
        "learning_curves",
        heading,
        " ".join([*parts, *([refused] if refused else [])]),
        [asdict(c) for c in found],
        table("Learning curves", (*header, "items × trials"), rows),
        notes,
    )


def _change(c: Change) -> str:
    factor, digits, unit = scaled(c.scorer)
    e = c.change
    what = "rows" if c.of == ROWS else "training tokens"
    twice = f"twice the {what} ({c.levels[-1]:,.0f} to {2 * c.levels[-1]:,.0f})"
    by = f"{spread(e.value, e.low, e.high, digits, factor)} {unit} on {c.suite}"
    if e.low is not None and e.high is not None and e.low <= 0 <= e.high:
        return f"{twice} is not shown to change {c.model} ({by}, {words.count(c.trials, 'trial')})."
    verb = "help" if (e.value or 0) > 0 else "harm"
    return f"{twice} would {verb} {c.model} ({by}, {words.count(c.trials, 'trial')})."
