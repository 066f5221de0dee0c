from __future__ import annotations

import json

import polars as pl

import longtail as lt
from longtail.demo import imports, run_demo
from tests.demo.baskets import SMALL, draw


def files(sample, seed, *, progress):
    progress(1, 1)
    names = [f"pkg/f{i}.py" for i in range(sample)]
    return pl.DataFrame({"file": names, "package": "pkg", "imports": draw(sample, seed)})


def test_the_demo_recommends_modules_of_the_same_taste(tmp_path, monkeypatch):
    monkeypatch.setattr(imports, "load_imports", files)
    monkeypatch.setattr(imports, "_SETTINGS", SMALL)
    monkeypatch.setattr(imports, "_COMMON", 1.0)
    monkeypatch.setattr(imports, "_BASKETS", [["a1", "a2"], ["b3"], ["nowhere"]])
    said = []
    out = tmp_path / "out"
    findings = run_demo(out, corpus="imports", rows=240, epochs=12, say=said.append)
    text = "\n".join(said)
    for expected in ("popularity", "item cosine", "recall@10", "a1 + a2", "filter_items"):
        assert expected in text
    assert json.loads(json.dumps(findings)) == findings
    first, second = findings["recommendations"]  # the basket that is not known is passed over
    assert {item[0] for item in first["items"][:3]} == {"a"}
    assert set(first["because"]) <= {"a1", "a2"}
    assert {item[0] for item in second["items"][:3]} == {"b"}
    recall = {name: r["recall@10"]["mean"] for name, r in findings["ranking"].items()}
    assert recall["the model"] > recall["popularity"]
    model = lt.load(out / "model")
    rows, unseen = lt.read_like(out / "baskets.parquet", model.read_settings_, model.vocabulary_)
    assert rows.row_ids.to_list() == ["a1 + a2", "b3", "nowhere"]
    assert unseen.n_features == 1


def test_baskets_of_which_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(imports, "load_imports", files)
    monkeypatch.setattr(imports, "_SETTINGS", SMALL)
    monkeypatch.setattr(imports, "_BASKETS", [["nowhere"]])
    said = []
    findings = run_demo(tmp_path, corpus="imports", rows=100, epochs=2, say=said.append)
    assert findings["recommendations"] == []
    assert "the model knows the modules of no basket" in "\n".join(said)
