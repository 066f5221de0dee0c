"""Half characters (lone surrogates), which no file can hold: refused in names, mended in texts."""

from __future__ import annotations

from collections.abc import Sequence

from longtail.errors import DataError

__all__ = ["check_names", "check_paths", "first_broken", "mended"]


def first_broken(texts: Sequence[object]) -> int | None:
    """The position of the first string that holds half a character; None if all are whole."""
    if _is_whole("".join(text for text in texts if isinstance(text, str))):
        return None  # one test of all, since vocabularies may be large
    return next(i for i, text in enumerate(texts) if isinstance(text, str) and not _is_whole(text))


def check_names(names: Sequence[object], called: str) -> None:
    """Refuse names that hold half a character.

    Parameters
    ----------
    names
        Of features, rows, columns or files; what is no string is passed over.
    called
        What they are, for the message, such as ``"Feature name"``.

    Raises
    ------
    DataError
        Names the first one and its position.
    """
    position = first_broken(names)
    if position is not None:
        raise DataError(
            f"{called} {position} (from 0) is {names[position]!a}, which holds half a "
            "character, such as an emoji cut in two, and cannot be saved. Correct the name, or "
            "remove that half."
        )


def check_paths(paths: Sequence[str]) -> None:
    """Refuse paths that are not valid UTF-8, which readers of Parquet do not open.

    Raises
    ------
    DataError
        Names the first one.
    """
    position = first_broken(paths)
    if position is not None:
        raise DataError(
            f"The path {paths[position]!a} is not valid UTF-8, so it cannot be opened as "
            "Parquet. Rename the file or folder."
        )


def mended(text: str) -> str:
    """Replace every half character of a text by U+FFFD; two halves that fit become one."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _is_whole(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
