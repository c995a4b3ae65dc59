"""Guards on hand-worked numbers, and what they do to a decision."""

import math

import numpy as np
import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.behaviour.bounds import least_variance
from keepgain.analysis.behaviour.guards import guards_found, judged, told
from keepgain.analysis.contract import to_contract
from keepgain.analysis.measures import Measures, measures_of
from keepgain.analysis.stats import ITEMS_ONLY, UNKNOWN, Uncertain, t_quantile
from keepgain.core.guards import Guard
from keepgain.core.items import Floats
from keepgain.core.record import Evidence, Question
from tests.analysis.behaviour.worlds import SLICE, N, behaviour_world
from tests.analysis.evidence import ones


def figure(value: float, error: float, n: int = 101) -> Uncertain:
    return Uncertain(value, n, 1, ((error**2, n - 1.0),), error**2, ITEMS_ONLY)


REACH = t_quantile(0.95, 100) * 0.01


@pytest.mark.parametrize(
    ("kind", "limit", "value", "answer", "bound", "at_point"),
    [
        ("max_increase", 0.05, 0.05 - REACH, "holds", 0.05, True),
        ("max_increase", 0.05, 0.049, "not_resolved", 0.049 + REACH, True),
        ("max_increase", 0.05, 0.06, "not_resolved", 0.06 + REACH, False),
        ("max_increase", 0.05, 0.07, "violated", 0.07 + REACH, False),
        ("max_increase", 0.05, -0.2, "holds", -0.2 + REACH, True),
        ("max_decrease", 0.05, -0.02, "holds", -0.02 - REACH, True),
        ("max_decrease", 0.05, -0.07, "violated", -0.07 - REACH, False),
        ("max_decrease", 0.05, 0.5, "holds", 0.5 - REACH, True),
        ("min", 0.9, 0.92, "holds", 0.92 - REACH, True),
        ("min", 0.9, 0.91, "not_resolved", 0.91 - REACH, True),
        ("min", 0.9, 0.88, "violated", 0.88 - REACH, False),
        ("max", 0.1, 0.08, "holds", 0.08 + REACH, True),
        ("max", 0.1, 0.12, "violated", 0.12 + REACH, False),
    ],
)
def test_a_limit_is_judged_by_the_one_sided_bound(
    kind: str, limit: float, value: float, answer: str, bound: float, at_point: bool
) -> None:
    # A hair within, so that rounding decides nothing.
    found = judged(figure(value - 1e-12 * (kind == "max_increase"), 0.01), kind, limit, 0.95)
    assert found[0] == answer and found[2] is at_point
    assert found[1] == pytest.approx(bound)


def test_what_has_no_interval_is_not_resolved() -> None:
    unknown = Uncertain(0.0, 50, 1, (), 0.0, UNKNOWN)
    assert judged(unknown, "max_increase", 0.1, 0.95) == ("not_resolved", None, True)
    assert judged(None, "max_increase", 0.1, 0.95) == ("not_resolved", None, False)


def test_items_that_did_not_move_prove_no_more_than_their_number_does() -> None:
    """Nothing changed on 30 items: a share of up to 1 - .05^(1/30) = 9.5 % may still change."""
    for n, holds in ((30, False), (200, True)):
        m = measures(ones(0, n, 1), ones(0, n))
        (found,) = check(m, Question(guards={"rude": Guard(max_increase=0.05)}))
        assert found.figure is not None and found.figure.value == 0
        reach = t_quantile(0.95, n - 1) * math.sqrt(least_variance(n))
        assert found.bound == pytest.approx(reach)
        assert found.bound == pytest.approx(1 - 0.05 ** (1 / n), rel=0.05)
        assert (found.answer == "holds") is holds


def measures(base: Floats, tuned: Floats, task: int = 360) -> Measures:
    return measures_of(behaviour_world({"rude": (base, tuned)}, task=task))


def check(m: Measures, question: Question) -> tuple:
    who = next(c for c in m.table.configurations if c.kind == "trial")
    return guards_found(m, "test", who, question)


def test_a_change_is_paired_by_item() -> None:
    # 20 of 400 items rose, none fell: 5 points, paired variance p (1 - p) / (n - 1).
    m = measures(ones(100, N, 1), ones(120, N))
    (found,) = check(m, Question(guards={"rude": Guard(max_increase=0.02)}))
    p = 20 / N
    assert found.figure is not None and found.figure.value == pytest.approx(p)
    reach = t_quantile(0.95, N - 1) * math.sqrt(p * (1 - p) / (N - 1))
    assert found.bound == pytest.approx(p + reach)
    assert found.answer == "violated" and p - reach > 0.02
    assert found.examples == ("test-00100", "test-00101", "test-00102")
    text = told(found)
    assert "the guard rude (max_increase 2.0 points) is violated" in text
    assert "changed by +5.0 points [2.9, 7.1]" in text and "test-00100" in text


def test_a_guard_on_a_level_names_the_items_that_are_far_off() -> None:
    m = measures(ones(400, N, 1), ones(380, N))
    (found,) = check(m, Question(guards={"rude": Guard(min=0.99)}))
    assert found.figure is not None and found.figure.value == pytest.approx(0.95)
    assert found.answer == "violated" and found.examples[0] == "test-00380"


def test_items_that_are_all_wrong_speak_against_a_guard_on_a_level_too() -> None:
    m = measures(ones(300, N, 1), ones(0, N))
    low, high = check(m, Question(guards={"rude": Guard(min=0.5, max=0.5)}))
    assert low.limit_name == "min" and low.answer == "violated"
    assert low.examples == ("test-00000", "test-00001", "test-00002")  # the base had them right
    assert high.answer == "holds" and high.examples == ()


def test_what_is_just_on_its_limit_is_not_laid_to_the_seeds() -> None:
    world = behaviour_world({"rude": (ones(100, N, 1), ones(100, N))})
    question = Question(guards={"rude": Guard(max_increase=0)})
    sweep = world.sweep.model_copy(update={"question": question})
    reason = analyze(Evidence(sweep, world.items)).decision.reason
    assert "just on the limit, which no number of items resolves" in reason
    assert "more seeds" not in reason


def test_a_guard_without_an_interval_is_named() -> None:
    """Bits that are all alike have none, though the seeds are known."""
    base, tuned = np.full((N, 1), 2.0), np.full((N, 2), 2.0)
    world = behaviour_world({"rude": (base, tuned)}, scorer="canary_bits")
    question = Question(guards={"rude": Guard(max_increase=0.1)})
    sweep = world.sweep.model_copy(update={"question": question})
    decision = analyze(Evidence(sweep, world.items)).decision
    assert decision.status == "not_resolved"
    assert "the guard rude (max_increase 0.1" in decision.reason
    assert "is not resolved" in decision.reason and "at most unknown" in decision.reason


def test_a_guard_on_a_slice_looks_at_its_items_alone() -> None:
    m = measures(ones(100, N, 1), ones(120, N))  # items 100 to 119 rose; the slice is 0 to 199
    (whole,) = check(m, Question(guards={"rude": Guard(max_increase=0.5)}))
    (part,) = check(m, Question(guards={f"rude[{SLICE}=first]": Guard(max_increase=0.5)}))
    (other,) = check(m, Question(guards={f"rude[{SLICE}=second]": Guard(max_increase=0.5)}))
    assert [f.figure.value for f in (whole, part, other)] == pytest.approx([0.05, 0.1, 0.0])
    assert part.figure.n_items == 200
    (absent,) = check(m, Question(guards={f"rude[{SLICE}=third]": Guard(max_increase=0.5)}))
    assert absent.figure is None and absent.answer == "not_resolved"
    assert "was not measured" in told(absent)


def test_a_class_is_the_items_with_its_answer() -> None:
    m = measures(ones(0, N, 1), ones(0, N), task=150)  # of the task's 400, 0 to 149 are right
    (found,) = check(m, Question(guards={"recall[fraud]": Guard(min=0.9)}))
    assert found.suite == "task" and found.figure is not None
    assert found.figure.value == pytest.approx(0.75) and found.answer == "violated"


def evidence(rise: int, guards: dict[str, Guard]) -> Evidence:
    made = behaviour_world({"rude": (ones(100, N, 1), ones(100 + rise, N))})
    question = made.sweep.question.model_copy(update={"guards": guards})
    return Evidence(made.sweep.model_copy(update={"question": question}), made.items)


def test_a_violated_guard_changes_the_decision() -> None:
    guard = {"rude": Guard(max_increase=0.05)}
    without = analyze(evidence(60, {}))
    assert without.decision.status == "recommended" and without.decision.guards == ()
    assert "moved for the worse for certain" not in without.decision.reason  # more is better here
    found = analyze(evidence(60, guard)).decision
    assert found.status == "infeasible" and found.trial is None
    assert "the guard rude (max_increase 5.0 points) is violated" in found.reason
    assert (
        "+15.0 points" in found.reason and "test-00100, test-00101 and test-00102" in found.reason
    )
    kept = analyze(evidence(2, guard)).decision
    assert kept.status == "recommended" and "the guard rude" in kept.reason
    assert "holds" in kept.reason


def test_a_guard_that_is_not_resolved_does_not_pass() -> None:
    found = analyze(evidence(19, {"rude": Guard(max_increase=0.05)})).decision
    assert found.status == "not_resolved"
    assert "would resolve it with 80 % power" in found.reason


def test_another_trial_of_the_size_that_keeps_the_guard_takes_its_place() -> None:
    base, bad, good = ones(100, N, 1), ones(180, N), ones(100, N)
    made = behaviour_world({"rude": (base, bad)}, task=360, second=(340, {"rude": good}))
    assert analyze(made).decision.trial == "tuned"
    question = made.sweep.question.model_copy(update={"guards": {"rude": Guard(max_increase=0.1)}})
    guarded = Evidence(made.sweep.model_copy(update={"question": question}), made.items)
    assert analyze(guarded).decision.trial == "second"


def test_json_has_every_limit_with_its_numbers() -> None:
    data = to_contract(analyze(evidence(60, {"rude": Guard(max_increase=0.05, max=0.9)})))
    first, second = data.decision.guards
    assert (first.guard, first.limit, first.limit_value) == ("rude", "max_increase", 0.05)
    assert first.answer == "violated" and first.figure.value == pytest.approx(0.15)
    assert first.examples == ["test-00100", "test-00101", "test-00102"]
    assert (second.limit, second.answer) == ("max", "holds")
    checks = [c for s in data.sizes for c in s.checks if c.claim == "guard"]
    assert [c.side for c in checks] == ["at_most", "at_most"]


def test_clusters_are_the_draws() -> None:
    """200 items in 20 clusters that all moved alike are 20 draws, not 200."""
    clusters = tuple(f"c{i // 10}" for i in range(200))
    made = behaviour_world(
        {"rude": (np.zeros((200, 1)), np.ones((200, 2)))}, clusters={"rude": clusters}
    )
    (found,) = check(measures_of(made), Question(guards={"rude": Guard(min=0.9)}))
    assert found.answer == "not_resolved"
    assert found.bound == pytest.approx(1 - t_quantile(0.95, 19) * math.sqrt(least_variance(20)))
