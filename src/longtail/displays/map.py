"""Features or rows on a plane, as a figure to search and to zoom into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from longtail.displays.base import PALETTE, Figure, altair, inline, shortened, styled
from longtail.errors import ParameterError

__all__ = ["MapDisplay", "project"]

Array = npt.NDArray[np.float32]

_WIDTH, _HEIGHT = 620, 460
_LABEL, _DETAIL = 28, 160  # characters beside a point, and beside the pointer
_FEWEST = 12  # points from which neighbourhoods can be laid out
_PERPLEXITY = 30


def project(vectors: Array, seed: int = 0) -> Array:
    """Vectors (n, K) on a plane, (n, 2): t-SNE of their cosine distances, started from PCA.

    Up to 11 vectors, or if all are alike, the first principal components of their directions.
    The same vectors and seed give the same picture on the same machine.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float64)
    width = min(2, *directions.shape)
    centred = directions - directions.mean(0)
    start = np.zeros((len(directions), 2))
    if len(directions) > 1 and np.abs(centred).max() > 1e-9:
        start[:, :width] = PCA(width, svd_solver="full").fit_transform(directions)
    spread = float(start[:, 0].std())
    if len(directions) < _FEWEST or spread == 0:
        return start.astype(np.float32)
    result: Array = TSNE(
        metric="euclidean",  # of directions: a monotone function of the cosine distance
        perplexity=min(_PERPLEXITY, (len(directions) - 1) / 3),
        init=(start / spread * 1e-4).astype(np.float32),
        random_state=seed % 2**32,  # as large as scikit-learn takes
        max_iter=750,
    ).fit_transform(directions.astype(np.float32))
    return result


class MapDisplay(Figure):
    """Named points on a plane.

    Parameters
    ----------
    places
        (n, 2); see `project`.
    names
        Of the points, in any script and of any length.
    groups
        What each point belongs to; at most 8 are told apart by colour, the largest, others are
        "other".
    weights
        (n,): which names matter most where there is no room for all.
    details
        What is said of a point beside the pointer, and in the table.
    title, subtitle
        In words.
    labels
        How many names are written at most; 0 for none.
    """

    def __init__(
        self,
        places: Array,
        names: Sequence[str],
        groups: Sequence[str],
        weights: npt.NDArray[np.floating],
        details: Sequence[str],
        *,
        title: str,
        subtitle: str = "",
        labels: int = 60,
    ) -> None:
        sizes = {len(places), len(names), len(groups), len(weights), len(details)}
        if len(sizes) != 1:
            raise ParameterError(f"A map needs all of its points' columns alike; got {sizes}.")
        self._title, self._subtitle = title, subtitle
        common = [name for name, _ in Counter(groups).most_common()]
        kept = set(common[: len(PALETTE) - 1] if len(common) > len(PALETTE) else common)
        self._table = pl.DataFrame(
            {
                "name": list(names),
                "x": places[:, 0].astype(np.float64).round(3),
                "y": places[:, 1].astype(np.float64).round(3),
                "group": [g if g in kept else "other" for g in groups],
                "details": list(details),
                "weight": np.asarray(weights, dtype=np.float64),
                "labelled": _roomy(places, names, np.asarray(weights), labels),
            },
            schema_overrides={"name": pl.String, "group": pl.String, "details": pl.String},
        )

    def frame(self) -> pl.DataFrame:
        """One line a point: name, x, y, group, details, weight, labelled."""
        return self._table

    def plot(self) -> Any:
        """Points to search, to point at, to drag and (with Shift and the wheel) to zoom into."""
        alt = altair()
        t = self._table
        shown = pl.DataFrame(
            {
                "x": t["x"],
                "y": t["y"],
                "group": [shortened(g, _LABEL + 8) for g in t["group"]],
                "label": [shortened(n, _LABEL) for n in t["name"]],
                "full": [shortened(n, _DETAIL) for n in t["name"]],
                "details": [shortened(d, _DETAIL) if d else "" for d in t["details"]],
                "named": t["labelled"].cast(pl.Int8),
            }
        )
        order = [g for g, _ in Counter(shown["group"]).most_common() if g != "other"]
        domain = order + (["other"] if "other" in set(shown["group"]) else [])
        colors = [*PALETTE[: len(order)], "#999999"][: len(domain)]
        search = alt.param(
            name="search",
            value="",
            bind=alt.binding(input="search", name="Search ", placeholder="part of a name"),
        )
        found = "search != '' && indexof(lower(datum.full), lower(search)) >= 0"
        zoom = alt.selection_interval(
            name="zoom", bind="scales", zoom="wheel![event.shiftKey || event.ctrlKey]"
        )
        color = alt.Color(
            "group:N",
            title=None,
            scale=alt.Scale(domain=domain, range=colors),
            legend=alt.Legend(orient="bottom", columns=2, labelLimit=270, symbolOpacity=1),
        )
        base = alt.Chart(inline(alt, shown)).encode(
            x=alt.X("x:Q", axis=None, scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False)),
        )
        points = (
            base.mark_circle()
            .encode(
                color=color,
                size=alt.condition(found, alt.value(170), alt.value(34)),
                opacity=alt.condition(
                    f"search == '' || ({found})", alt.value(0.75), alt.value(0.12)
                ),
                tooltip=[
                    alt.Tooltip("full:N", title="name"),
                    alt.Tooltip("details:N", title="what"),
                    alt.Tooltip("group:N", title="group"),
                ],
            )
            .add_params(zoom, search)
        )
        words = (
            base.transform_filter(f"search == '' ? datum.named == 1 : ({found})")
            .mark_text(dy=-8, fontSize=11)
            .encode(text="label:N")
        )
        chart = (points + words).properties(width=_WIDTH, height=_HEIGHT)
        return styled(chart, self._title, self._subtitle or None)


def _roomy(places: Array, names: Sequence[str], weights: npt.NDArray[Any], most: int) -> list[bool]:
    """Which points are labelled: the weightiest whose names do not come to lie upon others."""
    chosen: list[int] = []
    if most == 0 or len(places) == 0:
        return [False] * len(places)
    spread = np.ptp(places, axis=0)
    unit = (places - places.min(0)) / np.where(spread > 0, spread, 1) * [_WIDTH, _HEIGHT]
    half = 3.2 * np.minimum([len(name) for name in names], _LABEL) + 3  # of a name's width
    for i in np.argsort(-weights, kind="stable"):
        away = np.abs(unit[chosen] - unit[i])
        if not ((away[:, 0] < half[chosen] + half[i]) & (away[:, 1] < 15)).any():
            chosen.append(int(i))
        if len(chosen) == most:
            break
    taken = set(chosen)
    return [i in taken for i in range(len(places))]
