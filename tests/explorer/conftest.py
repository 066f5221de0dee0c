"""A fitted model with a little structure, and clients of the application around it."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from longtail import CountMatrix
from longtail.explorer.app import create_app
from longtail.explorer.desk import Desk
from tests.estimator.models import small

WORDS = ["boat", "wave", "sail", "tide", "pan", "oven", "salt", "knife", "and", "of"]


def two_topics(vocabulary, n_rows=80, seed=0):
    """Rows of two topics, the sea and the kitchen, with something common to both."""
    rng = np.random.default_rng(seed)
    half = (len(vocabulary) - 2) // 2
    weights = np.full((2, len(vocabulary)), 0.01)
    weights[0, :half] = weights[1, half : 2 * half] = 0.2
    weights[:, 2 * half :] = 0.05
    weights /= weights.sum(1, keepdims=True)
    return CountMatrix.from_any(
        np.array([rng.multinomial(9, weights[i % 2]) for i in range(n_rows)]),
        row_ids=pl.Series([f"row {i}" for i in range(n_rows)]),
        vocabulary=vocabulary,
    )


def fitted(vocabulary, **changes):
    options = {"epochs": 15, "learning_rate": 0.03} | changes
    return small(**options).fit(two_topics(vocabulary))


def client_of(desk, **options):
    return TestClient(create_app(desk), base_url="http://127.0.0.1", **options)


@pytest.fixture(scope="session")
def model():
    return fitted(WORDS)


@pytest.fixture(scope="session")
def desk(model):
    return Desk(model, two_topics(WORDS, 30, seed=1), name="kitchen & sea", samples=40)


@pytest.fixture(scope="session")
def client(desk):
    """A client of a server that has placed its rows."""
    with client_of(desk) as client:
        wait_for_rows(client)
        yield client


def wait_for_rows(client):
    for _ in range(600):
        if client.get("/api/model").json()["rows"]["ready"]:
            return
        time.sleep(0.05)
    raise AssertionError("the rows were not placed in time")
