"""A data set whose blocks misbehave the first few times they are read."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from longtail.data.stream import ParquetDataset
from longtail.errors import DataError


@dataclass(frozen=True)
class FaultyDataset(ParquetDataset):
    """Faults are (what, how often) by number of block; `log` is a folder for what was begun."""

    log: Path = Path()
    faults: Mapping[int, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset, log, faults):
        log.mkdir()
        return cls(**vars(dataset), log=log, faults=faults)

    def count_block(self, number):
        begun = len(list(self.log.glob(f"{number}-*")))
        (self.log / f"{number}-{begun}").write_text(f"{os.getpid()}")
        what, times = self.faults.get(number, ("", 0))
        if begun < times:
            self._misbehave(what)
        return super().count_block(number)

    def _misbehave(self, what):
        if what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif what == "hangs":
            time.sleep(600)
        elif what == "unreachable":
            raise DataError("Cannot read it: the network is down.") from OSError("no network")

    def begun(self, number):
        """Processes that began the block, in order."""
        return [int(path.read_text()) for path in sorted(self.log.glob(f"{number}-*"))]
