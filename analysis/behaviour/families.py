"""Which function gives the further figures of a behaviour suite, by the suite's scorer.

Functions are named by entry point and imported when a suite of theirs is shown, so that `analyze`
starts as fast as before.
"""

from collections.abc import Mapping

from keepgain.analysis.behaviour.figure import FamilyFunction, Figure
from keepgain.analysis.table import SuiteItems
from keepgain.core.items import Floats
from keepgain.core.made_items import COMPOSITION, PERTURBATION
from keepgain.core.users_code import load_function

_HERE = "keepgain.analysis.behaviour"

FAMILIES: Mapping[str, str] = {
    "canary_bits": f"{_HERE}.exposure:exposure_figures",
    "extraction": f"{_HERE}.extraction:extraction_figures",
    "selected": f"{_HERE}.groups:selection_figures",
    "signed_confidence": f"{_HERE}.calibration:calibration_figures",
    "classification_signed_confidence": f"{_HERE}.calibration:calibration_figures",
    "answer_length_ratio": f"{_HERE}.form:length_figures",
}
"""Scorer → `module:function`, a `FamilyFunction`; a scorer without one has no further figures."""

OF_SLICES: Mapping[str, str] = {
    PERTURBATION: f"{_HERE}.robustness:robustness_figures",
    COMPOSITION: f"{_HERE}.composition:composition_figures",
}
"""Slice that the items of suites made from others have → likewise, whatever the scorer."""

OF_ALL = f"{_HERE}.groups:group_figures"
"""Of every suite, whatever its scorer: nothing where its items name no groups and no pairs."""


def family_figures(suite: SuiteItems, tuned: Floats, base: Floats | None) -> list[Figure]:
    """The further figures of one suite; empty where nothing more is to be told.

    Args:
        suite: With its items' slices.
        tuned: Scores of the tuned configuration, shape [n, S].
        base: Of its base, shape [n, 1]; None: it was not scored.
    """
    found: list[Figure] = []
    made = (entry for field, entry in OF_SLICES.items() if field in suite.slices)
    for entry in (FAMILIES.get(suite.info.scorer), *made, OF_ALL if suite.slices else None):
        if entry is not None:
            function: FamilyFunction = load_function(entry)
            found += function(suite, tuned, base)
    return found
