"""The sections on what the model has learned: spectrum, directions, maps, ambiguous features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from longtail.displays import MapDisplay
from longtail.introspection import Directions, effective_rank
from longtail.introspection.latent_directions import Direction, End
from longtail.introspection.neighbors import unit
from longtail.report.about import NO_ROWS
from longtail.report.blocks import (
    Block,
    Card,
    Cards,
    Chart,
    Facts,
    Item,
    Prose,
    Section,
    Table,
)
from longtail.report.findings import Findings

__all__ = [
    "ambiguous_section",
    "directions_section",
    "feature_map_section",
    "row_map_section",
    "spectrum_section",
]

_NEAREST = 5
_ZOOM = (
    "Point at a dot to read it, drag to move, hold Shift and scroll to zoom, double-click to go "
    "back."
)


def spectrum_section(found: Findings) -> Section:
    """How many latent directions live, and the verdict."""
    s = found.spectra[""]
    blocks: list[Block] = [
        Prose(
            f"{s.live} of {s.n_components} latent directions live. {found.spectra.advice['']}",
            "finding",
        ),
        Prose(
            "A latent direction lives if moving along it changes what the model says. The prior "
            "has no preferred axes, so directions are counted by the singular values of the "
            "decoder's Jacobian and not by latent dimensions. A model whose directions are mostly "
            "dead has been pruned: it explains its rows with less than it was given."
        ),
        Facts(
            (
                ("live directions", f"{s.live} of {s.n_components}"),
                ("live by the averaged Jacobian", f"{s.live_mean}"),
                ("effective rank", f"{effective_rank(s.root_eigenvalues):.1f}"),
                ("threshold", s.threshold_rule),
            )
        ),
        Chart(
            "spectrum",
            found.spectra.display(),
            "The spectrum",
            "Left: the averaged Jacobian, in which opposite effects cancel. Right: its mean "
            f"square, in which nothing does. Dashed: the threshold, {s.threshold_rule}. Jacobian "
            f"of the {s.of.replace('_', ' ')} over {s.at}, {s.samples:,} draws.",
            f"Two falling lines on a log scale; {s.live} of {s.n_components} values on the right "
            "lie above the dashed threshold.",
        ),
        Table(
            "dimensions",
            found.spectra.dimensions().drop("model"),
            "Latent dimension by dimension",
            folded=True,
        ),
    ]
    return Section("spectrum", "How many latent directions live", tuple(blocks))


def directions_section(found: Findings) -> Section:
    """Latent directions as cards, read from both ends."""
    told = found.directions
    with_rows = found.rows is not None
    held = (
        " NPMI tells how much more often than by chance the features of an end come in the same "
        "rows: 1 always together, 0 by chance. The rows named lie furthest along."
        if with_rows
        else f" {NO_ROWS}."
    )
    return Section(
        "directions",
        "Latent directions",
        (
            Prose(
                "Each card is a direction in latent space, strongest first. Moving a row towards "
                "an end makes the features there more probable, and those of the other end less "
                "so; often only one end says something." + held
            ),
            Cards(tuple(_direction_card(found, d) for d in told.items)),
            Table("directions_table", told.frame(), "Features of the directions", folded=True),
        ),
    )


def _direction_card(found: Findings, d: Direction) -> Card:
    spread = "" if d.variance is None else f", variance over rows {d.variance:.2f}"

    def end(sign: str, e: End) -> list[tuple[str, tuple[Item, ...]]]:
        label = found.model.vocabulary_.label
        weak = not e.features or e.features[0][1] < 0.3 * d.positive.features[0][1]
        npmi = "" if e.coherence is None else f", NPMI {e.coherence:+.2f}"
        items = tuple(Item(label(name), f"{w:.2g}", muted=weak) for name, w in e.features)
        lists = [(f"{sign} end{npmi}{' (weak)' if weak else ''}", items)]
        if e.rows and not weak:
            lists.append(("rows there", tuple(Item(str(r), f"{x:+.1f}") for r, x in e.rows)))
        return lists

    return Card(
        d.name,
        f"{d.share:.1%} of the Jacobian{spread}",
        (*end("+", d.positive), *end("−", d.negative)),
    )


def end_labels(told: Directions, loadings: npt.NDArray[np.floating]) -> list[str]:
    """The end on which each point lies furthest out, named by its two strongest features.

    Parameters
    ----------
    loadings
        (n, number of directions): places of the points along each direction.
    """
    names = []
    for d in told.items:
        for e in (d.positive, d.negative):
            names.append(", ".join(name for name, _ in e.features[:2]) or d.name)
    strongest = np.abs(loadings).argmax(1)
    negative = loadings[np.arange(len(loadings)), strongest] < 0
    return [names[2 * int(j) + int(below)] for j, below in zip(strongest, negative, strict=True)]


def _vectors(told: Directions) -> npt.NDArray[np.float32]:
    return np.array([d.vector for d in told.items], dtype=np.float32)


def feature_map_section(found: Findings) -> Section:
    """Features on a plane."""
    vectors, mapped = found.vectors, found.mapped
    near, _ = vectors.nearest(vectors.vectors[mapped], _NEAREST + 1)
    name: Callable[[int], str] = found.model.vocabulary_.__getitem__
    details = [
        "near: " + ", ".join(name(int(u)) for u in row if u != v)[:300]
        for v, row in zip(mapped.tolist(), near, strict=True)
    ]
    label = found.model.vocabulary_.label
    display = MapDisplay(
        found.feature_places,
        [label(name(v)) for v in mapped.tolist()],
        end_labels(found.directions, unit(vectors.vectors[mapped]) @ _vectors(found.directions).T),
        found.model.unigram_[mapped],
        details,
        title="Map of features",
    )
    n, v = len(mapped), found.model.n_features_in_
    which = f"the {n:,} most frequent of {v:,} features" if n < v else f"all {n:,} features"
    return Section(
        "feature_map",
        "Map of features",
        (
            Prose(
                "Features near each other answer alike to the latent vector: they mean alike to "
                "the model. Distances across the map say little; neighbourhoods do."
            ),
            Chart(
                "feature_map",
                display,
                "Features that answer alike",
                f"t-SNE of the cosine distances of {which}, seed {found.settings.seed}. Colours: "
                f"the end of a direction on which a feature lies furthest out. {_ZOOM}",
                f"Scatter of {n:,} features; related features lie in clusters, coloured by "
                "latent direction. The table lists the nearest features of each.",
                searchable=True,
            ),
        ),
    )


def ambiguous_section(found: Findings) -> Section:
    """Neighbourhoods of the features that move most, in two contexts each."""
    a = found.ambiguities
    title = "Ambiguous features in two contexts"
    if len(a) == 0:
        none = "No frequent feature is called for by two contexts, so none moves between them."
        return Section("ambiguous", title, (Prose(none),))
    label = found.model.vocabulary_.label
    cards = []
    for i in range(len(a)):
        display = a.display(i, found.vectors)
        frame = display.frame()
        shared = frame.filter(frame["feature"].is_duplicated())["feature"].to_list()
        lists = tuple(
            (
                context if context == "no context" else f"with {context}",
                tuple(Item(label(f), muted=f in shared) for f in table["feature"]),
            )
            for context, table in display.lists.items()
        )
        item = a[i]
        cards.append(
            Card(label(item.feature), f"{item.overlap:.0%} of the neighbours in common", lists)
        )
    return Section(
        "ambiguous",
        title,
        (
            Prose(
                f"Among the {a.candidates:,} most frequent features, these are called for by two "
                "contexts and have the most different neighbours in them. Nobody named the "
                "contexts: they are two groups among the features nearest to each. "
                "In grey: neighbours that come in more than one list."
            ),
            Cards(tuple(cards), wide=True),
            Table("ambiguous_table", a.frame(), "These features and contexts", folded=True),
        ),
    )


def row_map_section(found: Findings) -> Section:
    """Rows on a plane."""
    title = "Map of rows"
    if found.rows is None or found.posterior is None or found.row_places is None:
        return Section("row_map", title, (Prose(NO_ROWS, "missing"),))
    n = len(found.row_places)
    rows, mean = found.rows[:n], found.posterior.mean[:n]
    details = [rows.vocabulary.listed(f for f, _ in rows.top_features(d, 6)) for d in range(n)]
    display = MapDisplay(
        found.row_places,
        [str(r) for r in rows.row_ids],
        end_labels(found.directions, mean @ _vectors(found.directions).T),
        rows.totals,
        details,
        title="Map of rows",
        labels=0,
    )
    return Section(
        "row_map",
        title,
        (
            Prose("Rows near each other have similar latent vectors: they are about the same."),
            Chart(
                "row_map",
                display,
                "Rows that are alike",
                f"t-SNE of the cosine distances of the refined posterior means of {n:,} rows, "
                f"seed {found.settings.seed}. Colours: the end of a direction on which a row lies "
                f"furthest out. {_ZOOM}",
                f"Scatter of {n:,} rows, coloured by the latent direction that is strongest in "
                "them. The table lists the most frequent features of each.",
                searchable=True,
            ),
        ),
    )
