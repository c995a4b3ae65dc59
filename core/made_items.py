"""How items are called that are made from those of other suites: `ORIGIN~WHAT`, with a slice whose
value is `WHAT`. Who makes them and who compares them agree by this."""

PERTURBATION = "perturbation"
"""Slice of items with and without a change of the prompt; its values are kinds of change."""
UNCHANGED = "none"
"""Its value for an item as it is."""
COMPOSITION = "composition"
"""Slice of pairs of items asked as one, and of their parts; its values are the next three."""
COMPOSED, PART_A, PART_B = "composed", "a", "b"


def made_id(origin: str, what: str) -> str:
    """Id of what is made of an item or pair."""
    return f"{origin}~{what}"


def origin_of(item_id: str, what: str) -> str | None:
    """The reverse of `made_id`; None: it is not called so."""
    origin, _, said = item_id.rpartition("~")
    return origin if said == what and origin else None
