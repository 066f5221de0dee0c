"""Rows of concurrent requests, refined together."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import fields

import numpy as np
import pytest

from longtail.explorer.batcher import MicroBatcher
from longtail.explorer.errors import BusyError
from longtail.explorer.refining import RefineHow, RefineJob, refine_jobs, refine_rows
from tests.explorer.conftest import WORDS, two_topics

ARRAYS = ("mean_before", "scale_before", "mean", "scale", "elbo", "variance", "iw", "iw_variance")


@pytest.mark.parametrize(
    "how",
    [
        RefineHow(10, samples=3, on_the_way=True),
        RefineHow(7, samples=2),
        RefineHow(4, kl_weight=0.2),
        RefineHow(0, samples=3),
    ],
)
def test_together_is_as_alone(model, how):
    rows = two_topics(WORDS, 7, seed=3)
    jobs = [RefineJob(rows[part], how) for part in (slice(0, 1), slice(1, 5), slice(5, 7))]
    for job, together in zip(jobs, refine_jobs(model, jobs), strict=True):
        alone = refine_rows(model, job.counts, how)
        assert together.evaluations == alone.evaluations
        for name in ARRAYS:
            a, b = getattr(together, name), getattr(alone, name)
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5, err_msg=name)


def test_every_array_is_compared():
    from longtail.explorer.refining import Refined

    assert {*ARRAYS, "evaluations"} == {f.name for f in fields(Refined)}


def test_jobs_of_different_kinds_keep_their_order(model):
    rows = two_topics(WORDS, 4, seed=3)
    hows = [RefineHow(2), RefineHow(6), RefineHow(2), RefineHow(0)]
    jobs = [RefineJob(rows[i : i + 1], how) for i, how in enumerate(hows)]
    for job, found in zip(jobs, refine_jobs(model, jobs), strict=True):
        alone = refine_rows(model, job.counts, job.how)
        np.testing.assert_allclose(found.mean, alone.mean, rtol=2e-4, atol=1e-5)


def test_it_is_the_posterior_of_the_model(model):
    rows = two_topics(WORDS, 5, seed=4)
    found = refine_rows(model, rows, RefineHow(10, kl_weight=float(model.kl_weight)))
    own = model.posterior(rows, refine_steps=10)
    np.testing.assert_allclose(found.mean, own.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.scale, own.scale, rtol=1e-4, atol=1e-5)


def test_concurrent_requests_get_what_they_would_get_alone(client):
    asks = [{"rows": [{"counts": {word: 1 + i}}]} for i, word in enumerate(WORDS)]
    paths = ["posterior", "score"] * 5
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda p, a: client.post(f"/api/{p}", json=a).json(), paths, asks))
    for path, ask, answer in zip(paths, asks, together, strict=True):
        alone = client.post(f"/api/{path}", json=ask).json()
        for name in ("elbo_amortized", "elbo_refined"):
            assert answer["rows"][0][name] == pytest.approx(alone["rows"][0][name], rel=1e-4)


# --- the batcher itself -------------------------------------------------------------------------


@asynccontextmanager
async def running(work, **limits):
    with ThreadPoolExecutor(1) as pool:
        options = {"size": len, "most": 4, "waiting": 6, "pause": 0.01} | limits
        batcher = MicroBatcher(work, pool, **options)
        task = asyncio.create_task(batcher.run())
        try:
            yield batcher
        finally:
            batcher.close()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def test_what_comes_together_is_computed_together():
    batches = []

    def work(jobs):
        batches.append(list(jobs))
        return [job.upper() for job in jobs]

    async def main():
        async with running(work) as batcher:
            return await asyncio.gather(*map(batcher.submit, ["a", "bb", "ccc"]))

    assert asyncio.run(main()) == ["A", "BB", "CCC"]
    assert batches == [["a", "bb"], ["ccc"]]  # four at most


def test_a_fault_belongs_to_those_who_asked():
    def work(jobs):
        if "bad" in jobs:
            raise ValueError("bad job")
        return list(jobs)

    async def main():
        async with running(work) as batcher:
            with pytest.raises(ValueError, match="bad job"):
                await batcher.submit("bad")
            return await batcher.submit("good")

    assert asyncio.run(main()) == "good"


def test_too_much_is_refused_and_one_large_job_is_not():
    release = threading.Event()

    def work(jobs):
        release.wait(10)
        return list(jobs)

    async def main():
        async with running(work) as batcher:
            first = asyncio.create_task(batcher.submit("long" * 10))
            await asyncio.sleep(0.1)  # it is at work
            second = asyncio.create_task(batcher.submit("abcde"))
            await asyncio.sleep(0)
            with pytest.raises(BusyError, match="5 rows are waiting already"):
                await batcher.submit("xy")
            release.set()
            return await asyncio.gather(first, second)

    assert asyncio.run(main()) == ["long" * 10, "abcde"]


def test_who_has_gone_is_not_computed_for():
    seen, release = [], threading.Event()

    def work(jobs):
        seen.extend(jobs)
        release.wait(10)
        return list(jobs)

    async def main():
        async with running(work) as batcher:
            first = asyncio.create_task(batcher.submit("a"))
            await asyncio.sleep(0.1)
            gone = asyncio.create_task(batcher.submit("b"))
            await asyncio.sleep(0)
            gone.cancel()
            release.set()
            await first
            await batcher.submit("c")

    asyncio.run(main())
    assert seen == ["a", "c"]


def test_a_stopped_one_refuses():
    async def main():
        async with running(list) as batcher:
            pass
        with pytest.raises(BusyError, match="stopping"):
            await batcher.submit("a")

    asyncio.run(main())


def test_a_busy_server_says_when_to_come_back(model, monkeypatch):
    from longtail.explorer.desk import Desk
    from tests.explorer.conftest import client_of

    desk = Desk(model, samples=40)
    with client_of(desk) as client:
        monkeypatch.setattr(desk, "_waiting", 10**6)
        answer = client.post("/api/score", json={"rows": [{"text": "boat"}]})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "Ask again" in answer.json()["error"]["message"]
