"""The application: addresses, and what guards them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Query
from starlette.middleware.trustedhost import TrustedHostMiddleware

from longtail.explorer import responses as answers
from longtail.explorer.answers.neighbors import answer_neighbors
from longtail.explorer.answers.overview import (
    WalkAxis,
    answer_dimension,
    answer_directions,
    answer_features,
    answer_model,
    answer_spectrum,
    answer_walk,
)
from longtail.explorer.answers.posterior import answer_posterior
from longtail.explorer.answers.recommend import answer_recommend
from longtail.explorer.answers.score import answer_score
from longtail.explorer.desk import Desk
from longtail.explorer.errors import add_error_handlers
from longtail.explorer.guards import BodyLimit, SecurityHeaders
from longtail.explorer.limits import LIMITS
from longtail.explorer.pages import page_routes
from longtail.explorer.requests import (
    NeighborsRequest,
    PosteriorRequest,
    RecommendRequest,
    ScoreRequest,
)

__all__ = ["LOCAL", "create_app"]

LOCAL = ("127.0.0.1", "localhost", "::1", "[::1]")
"""The names of this machine for itself."""

_Responses = dict[int | str, dict[str, Any]]


def create_app(desk: Desk, hosts: Sequence[str] = LOCAL) -> FastAPI:
    """The application around a desk.

    Parameters
    ----------
    desk
        What answers.
    hosts
        Names under which browsers may call it; a page elsewhere whose name is made to point here
        (DNS rebinding) is refused. ``"*"`` allows any.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with desk.open():
            yield

    app = FastAPI(
        title="longtail explorer",
        version=version("longtail"),
        description="One fitted model: inference, neighbours, recommendations, introspection.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        responses={400: _fault("Not JSON."), 413: _fault("Too long a body.")},
    )
    add_error_handlers(app)
    app.include_router(_row_routes(desk))
    app.include_router(_model_routes(desk))
    app.include_router(page_routes())
    app.add_middleware(BodyLimit, most=LIMITS.body_bytes)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    app.add_middleware(SecurityHeaders)
    return app


def _fault(description: str) -> dict[str, Any]:
    return {"model": answers.ErrorAnswer, "description": description}


_INVALID: _Responses = {422: _fault("Not a valid request; says what to change.")}
_BUSY: _Responses = {503: _fault("Too many rows wait; ask again.")}
_ABSENT: _Responses = {404: _fault("There is no such direction or dimension.")}


def _row_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["rows"], responses={**_INVALID, **_BUSY})

    @router.post("/posterior")
    async def posterior(request: PosteriorRequest) -> answers.PosteriorAnswer:
        """Posterior of each row before and after refinement, and what explains the row.

        With the bound after each step, the gap that refinement closes, the most probable features,
        those that are probable but absent, the nearest rows, and the latent directions that make
        the row's features more probable.
        """
        return await answer_posterior(desk, request)

    @router.post("/score")
    async def score(request: ScoreRequest) -> answers.ScoreAnswer:
        """Bounds on the log-probability of each row, weakest first, in nats."""
        return await answer_score(desk, request)

    @router.post("/neighbors")
    async def neighbors(request: NeighborsRequest) -> answers.NeighborsAnswer:
        """The features nearest to one, overall or in contexts, with places for a picture."""
        return await answer_neighbors(desk, request)

    @router.post("/recommend")
    async def recommend(request: RecommendRequest) -> answers.RecommendAnswer:
        """Items for each history, with the history's own items that speak for them."""
        return await answer_recommend(desk, request)

    return router


def _model_routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["model"])

    @router.get("/api/model")
    async def model() -> answers.ModelAnswer:
        """What model this is, and the limits of requests."""
        return answer_model(desk)

    # Plain functions run beside the event loop: these compute a little.
    @router.get("/api/features", responses=_INVALID)
    def features(
        prefix: Annotated[str, Query(max_length=LIMITS.prefix)] = "",
        limit: Annotated[int, Query(ge=1, le=LIMITS.listed)] = 10,
    ) -> answers.FeaturesAnswer:
        """Features that begin so, or whose description holds it; frequent ones first."""
        return answer_features(desk, prefix, limit)

    @router.get("/api/spectrum")
    def spectrum() -> answers.SpectrumAnswer:
        """Which latent directions and dimensions are in use."""
        return answer_spectrum(desk)

    @router.get("/api/directions", responses=_INVALID)
    def directions(
        top: Annotated[int, Query(ge=1, le=LIMITS.listed)] = 20,
    ) -> answers.DirectionsAnswer:
        """Live latent directions read from both ends, strongest first."""
        return answer_directions(desk, top)

    @router.get("/api/dimension/{i}", responses={**_INVALID, **_ABSENT})
    def dimension(i: Annotated[int, Path(ge=0, le=10**6)]) -> answers.DimensionAnswer:
        """One latent dimension: its features and the rows furthest along it."""
        return answer_dimension(desk, i)

    @router.get("/api/walk", responses={**_INVALID, **_ABSENT})
    async def walk(
        index: Annotated[int, Query(ge=0, le=10**6)],
        axis: WalkAxis = "direction",
        steps: Annotated[int, Query(ge=2, le=LIMITS.walk_steps)] = 25,
        reach: Annotated[float, Query(gt=0, le=10)] = 3.0,
        top: Annotated[int, Query(ge=1, le=LIMITS.listed)] = 16,
    ) -> answers.WalkAnswer:
        """Probabilities along a direction (ranks from 1) or a dimension (from 0)."""
        return await desk.compute(answer_walk, desk, axis, index, steps, reach, top)

    @router.get("/healthz")
    async def health() -> answers.HealthAnswer:
        """Whether requests are served."""
        return answers.HealthAnswer(status="ok")

    return router
