from __future__ import annotations

import json

import numpy as np

import longtail as lt
from longtail.data import CountMatrix
from longtail.demo import phenotypes, run_demo
from tests.demo.baskets import ITEMS, SMALL, draw


def diseases(min_df):
    names = [name for taste in ITEMS for name in taste]
    has = np.array([[name in record for name in names] for record in draw(300, 0)], dtype=float)
    ids = [f"OMIM:{i} disease" for i in range(300)]
    return CountMatrix.from_any(has, vocabulary=names, row_ids=ids)


def test_the_demo_completes_records(tmp_path, monkeypatch):
    monkeypatch.setattr(phenotypes, "phenotype_counts", diseases)
    monkeypatch.setattr(phenotypes, "phenotype_release", lambda: "2025-01-16")
    monkeypatch.setattr(phenotypes, "_SETTINGS", SMALL)
    monkeypatch.setattr(phenotypes, "_ALIKE", ["a1", "nowhere"])
    contexts = {"a1": (["a2"], ["b1", "b2"]), "a3": (["nowhere"], ["a2"])}
    monkeypatch.setattr(phenotypes, "_IN_CONTEXT", contexts)
    monkeypatch.setattr(phenotypes, "_FEWEST_HIDDEN", 1)
    said = []
    out = tmp_path / "out"
    findings = run_demo(out, corpus="phenotypes", rows=240, epochs=12, say=said.append)
    text = "\n".join(said)
    for expected in ("licence", "2025-01-16", "item cosine", "unigram", "because of"):
        assert expected in text
    assert json.loads(json.dumps(findings)) == findings
    assert findings["neighbors"].keys() == {"a1"}
    assert findings["in_context"].keys() == {"a1"}  # unknown phenotypes are passed over
    assert (out / "in_context_a1.png").read_bytes().startswith(b"\x89PNG")
    assert len(findings["completed"]) == 3
    for record in findings["completed"]:
        items = [line["phenotype"] for line in record["missing"]]
        assert not set(items) & set(record["has"])
        assert set(record["missing"][0]["because"]) <= set(record["has"])
    scores = findings["evaluation"]
    assert scores["completion"]["per_word"] < scores["floor"]["per_word"]
    assert lt.load(out / "model").n_features_in_ == 24
