"""What the suites of a spec must satisfy: what they measure and draw from, and which scorers go
together."""

from keepgain.core.errors import UserError
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.spec_suites import SuiteSpec, gain_suites, measures_of


def check_each_suite(loaded: LoadedSpec) -> None:
    """What each suite measures and draws from, and that one of them measures gain.

    Raises:
        UserError: The first fault, with its line.
    """
    suites = loaded.spec.suites
    for name, suite in suites.items():
        _check_suite(loaded, name, suite)
    if not gain_suites(suites):
        raise UserError(
            "no suite measures gain.",
            where=loaded.where("suites"),
            hint="Name one `gain`, or give it `measures: gain`.",
        )


def _check_suite(loaded: LoadedSpec, name: str, suite: SuiteSpec) -> None:
    key = f"suites.{name}"
    if measures_of(name, suite) is None:
        raise UserError(
            f"what suite '{name}' measures is not said.",
            where=loaded.where(key),
            hint="Add `measures: gain`, `measures: forgetting` or `measures: behaviour`.",
        )
    if suite.source is None:
        return
    data = loaded.spec.data.get(suite.source)
    if data is not None and data.augment is not None:
        return  # refused by `refuse_wrong_parents`
    if data is None:
        raise UserError(
            f"unknown source '{suite.source}'.",
            where=loaded.where(f"{key}.from"),
            hint=f"Known sources: {', '.join(loaded.spec.data)}.",
        )
    if data.answers == "base":
        raise UserError(
            f"the rows of '{suite.source}' have no answers to score by: the base writes them.",
            where=loaded.where(f"{key}.from"),
            hint="Give the suite files of its own.",
        )
    if data.path is None and (data.validation is None or data.test is None):
        raise UserError(
            f"source '{suite.source}' has no validation and test files.",
            where=loaded.where(f"{key}.from"),
            hint=f"Add `validation` and `test` to data.{suite.source}, or give it one `path`.",
        )


def check_suites_together(loaded: LoadedSpec) -> None:
    """What suites must satisfy together; each has passed `check_each_suite`.

    Raises:
        UserError: The first fault, with its line.
    """
    _check_scorers(loaded)
    _check_refusal_pairs(loaded)
    _check_proxies(loaded)


def _check_scorers(loaded: LoadedSpec) -> None:
    """Scores of suites that measure the same are averaged, so they need one unit."""
    for name, suite in loaded.spec.suites.items():
        if suite.registered.behaviour_only and measures_of(name, suite) != "behaviour":
            raise UserError(
                f"{suite.scorer} is neither gain nor forgetting by itself.",
                where=loaded.where(f"suites.{name}.scorer"),
                hint="Give the suite `measures: behaviour`.",
            )
    for measures in ("gain", "forgetting"):
        suites = {n: s for n, s in loaded.spec.suites.items() if measures_of(n, s) == measures}
        first = next(iter(suites), None)
        for name, suite in suites.items():
            if first is not None and suite.metric_name != suites[first].metric_name:
                raise UserError(
                    f"suites '{first}' and '{name}' both measure {measures}, by "
                    f"{suites[first].metric_name} and by {suite.metric_name}; nothing can be "
                    "decided from a mean of both.",
                    where=loaded.where(f"suites.{name}.scorer"),
                    hint=f"Give them one scorer, or `measures: behaviour` to one that is only "
                    f"to be shown beside {measures}.",
                )


def _check_refusal_pairs(loaded: LoadedSpec) -> None:
    """A model that refuses everything is perfect on unsafe prompts, and one that refuses nothing on
    safe ones: neither suite is reported without the other."""
    suites = loaded.spec.suites
    for mine, other in (("over_refusal", "under_refusal"), ("under_refusal", "over_refusal")):
        found = next((n for n, s in suites.items() if s.scorer.startswith(mine)), None)
        if found is not None and not any(s.scorer.startswith(other) for s in suites.values()):
            scorer = suites[found].scorer.replace(mine, other)
            prompts = "unsafe" if other == "under_refusal" else "safe"
            raise UserError(
                f"'{found}' is scored by {suites[found].scorer}, and no suite by {scorer}.",
                where=loaded.where(f"suites.{found}.scorer"),
                hint=f"Add a suite of {prompts} prompts with `scorer: {scorer}`: neither figure "
                "means anything alone.",
            )


def _check_proxies(loaded: LoadedSpec) -> None:
    """A proxy stands in for a gain suite, and gains are averaged: so for all of them or for none,
    and by one scorer."""
    suites = loaded.spec.suites
    proxies = {n: s for n, s in suites.items() if s.proxy_for is not None}
    gains = gain_suites(suites)
    replaced: dict[str, str] = {}
    for name, suite in proxies.items():
        where, of = loaded.where(f"suites.{name}.proxy_for"), str(suite.proxy_for)
        if of not in gains:
            known = of in suites
            raise UserError(
                f"suite '{of}' does not measure gain." if known else f"unknown suite '{of}'.",
                where=where,
                hint=f"Suites that measure gain: {', '.join(gains)}.",
            )
        if measures_of(name, suite) != "behaviour":
            raise UserError(
                f"suite '{name}' stands in for '{of}' and measures {measures_of(name, suite)}.",
                where=where,
                hint="Give it `measures: behaviour`: it only ranks trials at early rungs.",
            )
        if of in replaced:
            raise UserError(
                f"'{replaced[of]}' and '{name}' both stand in for '{of}'.",
                where=where,
                hint="Leave `proxy_for` out of one of them.",
            )
        replaced[of] = name
        if suite.metric_name != next(iter(proxies.values())).metric_name:
            raise UserError(
                f"proxies are scored by {next(iter(proxies.values())).scorer} and by "
                f"{suite.scorer}; trials cannot be ranked by a mean of both.",
                where=loaded.where(f"suites.{name}.scorer"),
                hint="Give all proxies one scorer.",
            )
    left = [n for n in gains if n not in replaced]
    if replaced and left:
        raise UserError(
            f"'{next(iter(replaced))}' has a proxy and '{left[0]}' has none; trials cannot be "
            "ranked by a mean of both.",
            where=loaded.where(f"suites.{left[0]}"),
            hint="Give every suite that measures gain a proxy, or none.",
        )


def refuse_mixed_tokenizers(loaded: LoadedSpec) -> None:
    """For base models whose tokenizers differ: scores per token are no objective among them.

    Raises:
        UserError: The first suite that would be one.
    """
    for name, spec in loaded.spec.suites.items():
        if spec.registered.one_tokenizer and measures_of(name, spec) != "behaviour":
            raise UserError(
                f"{spec.scorer} is per token, and the base models have different tokenizers: "
                f"'{name}' cannot measure {measures_of(name, spec)} across them.",
                where=loaded.where(f"suites.{name}.scorer"),
                hint="Use `scorer: bits_per_byte`, or `measures: behaviour` to show it only.",
            )
