"""What happens while blocks are scored: progress, and blocks that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from longtail.data.stream import BlockInfo
from longtail.errors import CorruptBlockError

__all__ = ["Skipped", "Watch"]


@dataclass(frozen=True)
class Skipped:
    """A block that cannot be read and was left out.

    Attributes
    ----------
    block
        Which.
    reason
        Why, in words.
    """

    block: BlockInfo
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "block": self.block.number,
            "file": self.block.file,
            "row_group": self.block.row_group,
            "rows": self.block.n_rows,
            "reason": self.reason,
        }


@dataclass(eq=False)
class Watch:
    """Told by an engine what goes on.

    Parameters
    ----------
    n_rows
        Rows of all blocks.
    done
        Rows whose parts are there.
    skip_corrupt
        Leave out blocks that cannot be read.
    progress
        Called with (rows done, rows in all).
    """

    n_rows: int
    done: int
    skip_corrupt: bool
    progress: Callable[[int, int], None] | None = None
    skipped: list[Skipped] = field(default_factory=list)

    def advanced(self, rows: int) -> None:
        """More rows are done."""
        self.done += rows
        if self.progress is not None:
            self.progress(self.done, self.n_rows)

    def corrupt(self, block: BlockInfo, reason: str) -> None:
        """Leave a block out, if that was asked for.

        Raises
        ------
        CorruptBlockError
            If not.
        """
        if not self.skip_corrupt:
            raise CorruptBlockError(
                f"{reason} The parts that are finished are kept: repeat the command when the file "
                "is mended, or add --skip-corrupt (skip_corrupt=True) to leave such blocks out."
            )
        self.skipped.append(Skipped(block, reason))
        self.advanced(block.n_rows)
