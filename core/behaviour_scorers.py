"""The scorers of behaviour suites: what a better score hides. Entries of the scorer registry."""

from keepgain.core.registered_scorer import RegisteredScorer

BEHAVIOUR: tuple[RegisteredScorer, ...] = ()
