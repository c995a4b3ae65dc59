"""Rounds of tuning: the published formulas on a matrix worked by hand."""

import numpy as np
import pytest

from keepgain.analysis.measures import Measures
from keepgain.analysis.table import build_table
from keepgain.analysis.why.rounds import average_forgetting, backward_transfer, rounds
from keepgain.core.record import Evidence
from tests.analysis.evidence import exact, ones

R = np.array([[0.8, 0.2, 0.1], [0.6, 0.9, 0.3], [0.7, 0.5, 0.95]])
"""Three tasks, learnt one after another."""


def test_backward_transfer_and_forgetting_of_a_hand_worked_matrix() -> None:
    # (R[2,0] - R[0,0] + R[2,1] - R[1,1]) / 2 = (-.1 - .4) / 2.
    assert backward_transfer(R, [0, 1, 2]) == pytest.approx(-0.25)
    # (max(.8, .6) - .7 + .9 - .5) / 2.
    assert average_forgetting(R, [0, 1, 2]) == pytest.approx(0.25)


def test_the_best_earlier_round_counts_for_forgetting_and_only_the_first_for_transfer() -> None:
    matrix = np.array([[0.5, 0.0], [0.9, 0.0], [0.6, 1.0]])
    assert backward_transfer(matrix, [0, 2]) == pytest.approx(0.1)
    assert average_forgetting(matrix, [0, 2]) == pytest.approx(0.3)


def test_a_score_before_a_task_was_learnt_is_no_forgetting() -> None:
    matrix = np.array([[0.9, 0.0], [0.5, 0.0], [0.6, 1.0]])
    assert average_forgetting(matrix, [1, 2]) == pytest.approx(-0.1)  # not clipped at 0


def test_without_an_earlier_task_there_is_nothing_to_forget() -> None:
    assert backward_transfer(R, [2, 2, 2]) is None
    assert average_forgetting(R, [2, 2, 2]) is None


def chain(scorer: str = "exact_match") -> Measures:
    """One base with the round before and this one: 200 items, counts of right ones below."""
    counts = {
        "base-s": ("base", 20, 160, 100),
        "prev-s": ("few_shot", 60, 150, 120),
        "tuned": ("trial", 140, 130, 110),
    }
    found = {
        name: (
            "s",
            kind,
            {"tickets": ones(a, 200), "facts": ones(b, 200), "sums": ones(c, 200)},
        )
        for name, (kind, a, b, c) in counts.items()
    }
    measures = {"tickets": "gain", "facts": "forgetting", "sums": "forgetting"}
    evidence = exact(found, measures=measures, scorer=scorer)
    runs = tuple(
        r.model_copy(update={"arm": "previous_round"}) if r.trial_id == "prev-s" else r
        for r in evidence.sweep.runs
    )
    return Measures(
        build_table(Evidence(evidence.sweep.model_copy(update={"runs": runs}), evidence.items))
    )


def told(measures: Measures):
    pick = next(c for c in measures.table.configurations if c.kind == "trial")
    return rounds(measures, "test", {"s": pick})


def test_a_sweep_that_tunes_a_tuned_model_has_three_rounds() -> None:
    (found,) = told(chain())
    place = {name: i for i, name in enumerate(found.tasks)}
    assert [row[place["facts"]] for row in found.scores] == pytest.approx([0.8, 0.75, 0.65])
    assert found.learnt[place["tickets"]] == 2 and found.learnt[place["facts"]] == 0
    # facts .65 - .8, sums .55 - .5; best earlier: facts .8, sums .6.
    assert found.backward_transfer == pytest.approx((-0.15 + 0.05) / 2)
    assert found.average_forgetting == pytest.approx((0.15 + 0.05) / 2)


def test_of_bits_less_is_better() -> None:
    (found,) = told(chain("bits_per_byte"))
    assert found.backward_transfer == pytest.approx((0.15 - 0.05) / 2)


def test_a_first_round_has_none() -> None:
    measures = chain()
    pick = next(c for c in measures.table.configurations if c.kind == "trial")
    assert rounds(measures, "test", {"m": pick}) == ()
