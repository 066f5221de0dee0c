"""What the API answers."""

from __future__ import annotations

from pydantic import BaseModel

__all__ = [
    "ContextNeighbors",
    "DimensionAnswer",
    "DirectionsAnswer",
    "ErrorAnswer",
    "FeaturesAnswer",
    "HealthAnswer",
    "ModelAnswer",
    "NeighborsAnswer",
    "PosteriorAnswer",
    "RecommendAnswer",
    "ScoreAnswer",
    "SpectrumAnswer",
    "WalkAnswer",
]

RowId = int | str


class Feature(BaseModel):
    """A feature, and what it means where that is known."""

    feature: str
    description: str | None = None


class Unknown(Feature):
    """A feature that the model does not know, and some spelled like it."""

    count: float
    suggestions: list[str]


# --- errors ---------------------------------------------------------------------------------------


class Fault(BaseModel):
    """What is wrong at one place of a request."""

    where: str
    message: str


class Problem(BaseModel):
    """What is wrong, and what to change."""

    message: str
    faults: list[Fault] = []


class ErrorAnswer(BaseModel):
    """The answer to every request that cannot be served."""

    error: Problem


# --- features -------------------------------------------------------------------------------------


class FoundFeature(Feature):
    """A feature, and its share of the training counts."""

    frequency: float


class FeaturesAnswer(BaseModel):
    """Features that begin with, or else hold, what was typed; frequent ones first."""

    features: list[FoundFeature]
    more: bool


class Neighbor(Feature):
    """A feature near to another, and its place in the picture."""

    similarity: float
    x: float
    y: float


class ContextNeighbors(BaseModel):
    """The nearest features in one context.

    `others` are those near in the request's other contexts, with their places in this one.
    """

    context: list[Feature]
    unknown: list[Unknown]
    neighbors: list[Neighbor]
    others: list[Neighbor]


class NeighborsAnswer(BaseModel):
    """One feature's neighbours; it lies at the origin of each picture."""

    feature: Feature
    contexts: list[ContextNeighbors]


# --- rows -----------------------------------------------------------------------------------------


class RefineStep(BaseModel):
    """The bound after some gradient evaluations, nats, and its Monte Carlo standard error."""

    evaluations: int
    elbo: float
    standard_error: float | None


class Latent(BaseModel):
    """q(z) = N(mean, diag scale²), K numbers each."""

    mean: list[float]
    scale: list[float]


class ProbableFeature(Feature):
    """A feature under the posterior predictive at the posterior mean.

    `before` is the probability under ψ(x), before refinement; `frequency` the share of the training
    counts; `count` the row's own.
    """

    probability: float
    before: float
    frequency: float
    count: float


class CountedFeature(Feature):
    """A feature of a row."""

    count: float


class Contribution(CountedFeature):
    """A feature of a row, and what it contributes, nats."""

    nats: float


class ExplainingDirection(BaseModel):
    """A direction, the row's place along it, and the nats it gives to the row's features.

    `features` are those at the end on the row's side.
    """

    rank: int
    name: str
    place: float
    nats: float
    features: list[Feature]
    contributions: list[Contribution]


class NearRow(BaseModel):
    """A row near in latent space (cosine of posterior means), and its largest counts."""

    row_id: RowId
    similarity: float
    features: list[CountedFeature]


class RowPosterior(BaseModel):
    """What the model makes of one row."""

    total: float
    features: list[CountedFeature]
    unknown: list[Unknown]
    unknown_share: float
    amortized: Latent
    refined: Latent
    kl: list[float]
    steps: list[RefineStep]
    elbo_amortized: float
    elbo_refined: float
    gap: float
    probable: list[ProbableFeature]
    missing: list[ProbableFeature]
    directions: list[ExplainingDirection]
    explained: float
    other_directions: float
    nearest: list[NearRow] | None


class PosteriorAnswer(BaseModel):
    """The posteriors, row by row; M, S and the seed of the noise."""

    rows: list[RowPosterior]
    refine_steps: int
    refine_method: str
    samples: int
    seed: int


class RowScore(BaseModel):
    """Bounds on log p(x) of one row, nats, weakest first; each with its Monte Carlo error."""

    total: float
    unknown: list[Unknown]
    elbo_amortized: float
    elbo_refined: float
    importance_weighted: float
    standard_errors: list[float | None]


class ScoreAnswer(BaseModel):
    """The bounds, row by row, and how they were estimated."""

    rows: list[RowScore]
    estimator: str
    refine_steps: int
    samples: int
    seed: int


class RecommendedItem(Feature):
    """An item, its probability, and the history's own items that speak for it (nats)."""

    probability: float
    lift: float
    reasons: list[Contribution]


class RowRecommendations(BaseModel):
    """The items for one history, best first."""

    known: int
    unknown: list[Unknown]
    items: list[RecommendedItem]


class RecommendAnswer(BaseModel):
    """Recommendations, history by history."""

    rows: list[RowRecommendations]
    refine_steps: int
    seed: int


# --- the model ------------------------------------------------------------------------------------


class WeightedFeature(Feature):
    """A feature at one end of a direction, and how far a unit of z moves its root probability."""

    weight: float


class PlacedRow(BaseModel):
    """A row, its place along a direction, and its largest counts."""

    row_id: RowId
    place: float
    features: list[CountedFeature]


class DirectionEnd(BaseModel):
    """One end of a direction."""

    features: list[WeightedFeature]
    coherence: float | None
    rows: list[PlacedRow]


class DirectionAnswer(BaseModel):
    """A latent direction, read from both ends."""

    rank: int
    name: str
    strength: float
    share: float
    variance: float | None
    positive: DirectionEnd
    negative: DirectionEnd


class DirectionsAnswer(BaseModel):
    """The live directions, strongest first."""

    live: int
    components: int
    directions: list[DirectionAnswer]


class LatentDimension(BaseModel):
    """One latent dimension: effect, and over the rows mean KL (nats) and variance of the mean."""

    dimension: int
    column_norm: float
    kl: float | None
    variance: float | None
    live: bool


class SpectrumAnswer(BaseModel):
    """Which latent directions are in use, and what that says."""

    components: int
    live: int
    effective_rank: float
    threshold: float
    threshold_rule: str
    noise: float
    singular_values: list[float]
    root_eigenvalues: list[float]
    dimensions: list[LatentDimension]
    n_rows: int
    advice: str


class DimensionAnswer(BaseModel):
    """One latent dimension: its features, and the rows furthest along it."""

    dimension: LatentDimension
    positive: DirectionEnd
    negative: DirectionEnd


class WalkedFeature(Feature):
    """A feature's probability at each place of a walk."""

    probabilities: list[float]


class WalkAnswer(BaseModel):
    """Probabilities along a direction through the prior's mean, in its standard deviations."""

    name: str
    places: list[float]
    features: list[WalkedFeature]


class RowsState(BaseModel):
    """How many rows have been placed in latent space, of how many."""

    ready: bool
    done: int
    total: int


class ModelAnswer(BaseModel):
    """What model this is, and what it can be asked.

    Where the model takes exposures that are given with the rows, those of a request are taken to
    have `typical_exposure`, the median of the training rows; else that is null.
    """

    name: str
    library_version: str
    features: int
    named: bool
    described: bool
    components: int
    likelihood: str
    decoder_layers: int
    takes_text: bool
    train_rows: int
    median_total: float
    typical_exposure: float | None
    refine_steps: int
    refine_method: str
    samples: int
    rows: RowsState | None
    limits: dict[str, int]


class HealthAnswer(BaseModel):
    """Whether requests are served."""

    status: str
