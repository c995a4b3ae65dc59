"""A table from elsewhere with the question put to it.

The task score is the first objective to be maximised; the one called `forgetting` is what a limit
on forgetting holds (`given_question`). Everything is compared on levels: the table says of no row
which base it was tuned from, so there is no gain.
"""

from dataclasses import dataclass

from keepgain.analysis.checks import Check
from keepgain.analysis.costs import budget_cost, over_budget
from keepgain.analysis.given_question import is_forgetting, task_of
from keepgain.analysis.given_table import GivenTable, given_table
from keepgain.analysis.stats import CONFIDENCE, Uncertain
from keepgain.analysis.table import Configuration
from keepgain.core.errors import UserError
from keepgain.core.record import GivenObjective, Question, SweepRecord


@dataclass(frozen=True)
class Scene:
    """A table with the question put to it."""

    table: GivenTable
    question: Question
    task: GivenObjective
    forgetting: GivenObjective | None
    """What `max_forgetting` limits; None: no objective is called so."""

    def better(self, who: Configuration) -> float:
        """The task score, turned so that more is better."""
        value = self.table.figures[who.trial_id][self.task.name].value
        return value if self.task.direction == "maximize" else -value

    def difference(self, a: Configuration, b: Configuration) -> Uncertain:
        """Of the task scores, a - b, more is better."""
        first, second = (a, b) if self.task.direction == "maximize" else (b, a)
        return self.table.difference(first, second, self.task.name)

    def limit_check(self, who: Configuration, confidence: float) -> Check | None:
        """Whether its forgetting is within the limit; None without one."""
        limit = self.question.max_forgetting
        if limit is None or self.forgetting is None:
            return None
        drop = self.table.uncertain(who, self.forgetting.name)
        return figure_check("forgetting", self.forgetting.name, drop, limit, confidence)


def scene_of(sweep: SweepRecord, question: Question, budget_usd: float | None) -> Scene:
    """An imported record with the question put to it.

    Args:
        question: With what the command line overrides.
        budget_usd: As of `analyze`.

    Raises:
        UserError: No row counts, or a limit on something that the table does not have.
    """
    table = given_table(sweep)
    task = task_of(sweep.objectives)
    forgetting = next((o for o in sweep.objectives if is_forgetting(o) and o != task), None)
    if question.max_forgetting is not None and forgetting is None:
        raise UserError(
            f"sweep '{sweep.id}' has no objective called forgetting, which the limit is for.",
            hint=f"Its objectives: {', '.join(o.name for o in sweep.objectives)}.",
        )
    return Scene(table, _within_budget(table, question, budget_usd), task, forgetting)


def _within_budget(table: GivenTable, question: Question, budget_usd: float | None) -> Question:
    if budget_usd is None:
        return question
    name = budget_cost(question)
    if not any(name in c.cost for c in table.configurations):
        raise UserError(
            f"a budget limits {name}, which no row of sweep '{table.sweep.id}' has.",
            hint="Import it with --cost and the column of costs in dollars, its name beginning "
            "with `usd`.",
        )
    return question.model_copy(update={"max_cost": {**question.max_cost, name: budget_usd}})


def figure_check(
    claim: str, subject: str, u: Uncertain, threshold: float, confidence: float
) -> Check:
    """A task score must be above its threshold, forgetting at most its limit."""
    at_least = claim == "task_score"
    bound = u.lower(confidence) if at_least else u.upper(confidence)

    def clears(value: float) -> bool:
        return value > threshold if at_least else value <= threshold

    return Check(
        claim="task_score" if at_least else "forgetting",
        subject=subject,
        uncertain=u,
        bound=bound,
        threshold=threshold,
        scorer="",
        holds=bound is not None and clears(bound),
        holds_at_point=clears(u.value),
        confidence=confidence,
        side="above" if at_least else "at_most",
    )


def broken(scene: Scene, who: Configuration) -> str | None:
    """Which limit a row is beyond as a point figure; None: none."""
    check = scene.limit_check(who, CONFIDENCE)
    if check is not None and check.uncertain is not None and not check.holds_at_point:
        value, limit = check.uncertain.value, check.threshold
        return f"{check.subject} {value:.4g} is above {limit:.4g} (max_forgetting)"
    return over_budget(who, scene.question)


def offered(scene: Scene) -> list[Configuration]:
    """Rows that are within the limits on costs."""
    return [c for c in scene.table.configurations if over_budget(c, scene.question) is None]
