"""What somebody may have meant by a name that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches


def meant(got: object, known: Iterable[object]) -> str:
    """Return ``"; did you mean 'cfm'?"``, the known name most like another; "" where none is."""
    names = {str(name).casefold(): name for name in known if isinstance(name, str)}
    near = get_close_matches(str(got).casefold(), names, n=1)
    return f"; did you mean {names[near[0]]!r}?" if near else ""
