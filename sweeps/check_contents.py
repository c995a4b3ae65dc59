"""Gates of what rows say, with what the data specification knows of it."""

from datetime import UTC, datetime

import numpy as np

from keepgain.sweeps.gate import SYNTHETIC, Found, Material
from keepgain.sweeps.gates.age import check_age
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.language import check_language
from keepgain.sweeps.gates.spelling import check_spelling
from keepgain.sweeps.gates.synthetic import SyntheticFields, check_synthetic, synthetic_sets
from keepgain.sweeps.spec_data import ruled_sets


def check_languages(material: Material) -> list[Finding]:
    """Sets that the specification does not rule are held against their own language."""
    sets = [s for s in material.sets if s.scorer != "lm_eval"]
    rules = material.spec.data_spec
    if rules is None or not rules.languages:
        return check_language(sets)
    roles = {name: data.role for name, data in material.spec.data.items()}
    ruled = ruled_sets(rules, roles, sets)
    labels = {s.label for s in ruled}
    others = [s for s in sets if s.label not in labels]
    return [*check_language(ruled, rules.languages), *check_language(others)]


def check_words(material: Material) -> list[Finding]:
    """Spelling, of training rows: items are not learnt."""
    rules = material.spec.data_spec
    train = [s for s in material.sets if s.part == "train" and s.role != "replay"]
    return check_spelling(train, rules.languages if rules is not None else ())


def check_origin(material: Material) -> Found:
    """Synthetic rows, and which items are."""
    fields, generators, reviewed = SyntheticFields(), {}, {}
    if (rules := material.spec.data_spec) is not None:
        said = {name: facts.synthetic for name, facts in rules.sources.items()}
        generators = {name: of.generator for name, of in said.items() if of is not None}
        reviewed = {name: of.reviewed for name, of in said.items() if of is not None}
        if rules.columns.reviewed is not None:
            reviewed = dict.fromkeys(material.spec.data, False) | reviewed
        fields = fields.named(rules.columns.synthetic, rules.columns.reviewed, rules.columns.parent)
    masks = synthetic_sets(material.sets, fields, generators)
    items = {
        s.label: masks[s.label] for s in material.sets if s.part != "train" and s.label in masks
    }
    return Found(
        check_synthetic(material.sets, fields, generators, reviewed),
        {SYNTHETIC: {label: np.flatnonzero(mask).tolist() for label, mask in items.items()}},
    )


def check_dates(material: Material) -> list[Finding]:
    """On the day of the check."""
    rules, today = material.spec.data_spec, datetime.now(UTC).date()
    if rules is None:
        return check_age(material.sets, today)
    days = {name: facts.max_age_days for name, facts in rules.sources.items()}
    dates = {name: facts.date for name, facts in rules.sources.items()}
    return check_age(
        material.sets,
        today,
        {name: limit for name, limit in days.items() if limit is not None},
        {name: day for name, day in dates.items() if day is not None},
        rules.columns.date,
    )
