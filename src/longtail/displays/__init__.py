"""Figures: each has `.frame()`, its table, and `.plot()`, an Altair chart.

`save_plot` writes a chart to PNG, SVG, HTML or JSON without a browser or a network. Altair comes
with the extra ``longtail[plot]``; the tables need nothing.
"""

from longtail.displays.base import Figure, check_plot_path, save_plot
from longtail.displays.gap import GapDisplay
from longtail.displays.history import HistoryDisplay
from longtail.displays.ladder import EvaluationDisplay
from longtail.displays.long_tail import LongTailDisplay
from longtail.displays.map import MapDisplay, project
from longtail.displays.neighborhood import NeighborhoodDisplay
from longtail.displays.ranking import RankingDisplay
from longtail.displays.rows import RowScoresDisplay
from longtail.displays.spectrum import SpectrumDisplay
from longtail.displays.tuning import ImportanceDisplay, TrialsDisplay

__all__ = [
    "EvaluationDisplay",
    "Figure",
    "GapDisplay",
    "HistoryDisplay",
    "ImportanceDisplay",
    "LongTailDisplay",
    "MapDisplay",
    "NeighborhoodDisplay",
    "RankingDisplay",
    "RowScoresDisplay",
    "SpectrumDisplay",
    "TrialsDisplay",
    "check_plot_path",
    "project",
    "save_plot",
]
