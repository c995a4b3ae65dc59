"""Paths as users write them."""

from pathlib import Path

from keepgain.core.errors import UserError


def expanded(given: str | Path, where: str | None = None) -> Path:
    """The path with a leading `~` or `~NAME` replaced by that home folder.

    Args:
        given: As it was written.
        where: File and key, for the message.

    Raises:
        UserError: Nobody here has that name.
    """
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise UserError(
            f"'{given}': there is no such home folder.", where=where, hint="Write the path out."
        ) from None
