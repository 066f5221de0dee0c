"""Embeddings judged: word similarity, words in context, classes of diagnosis codes.

* Film reviews (all 45,000 of both splits, no labels): WordSim-353 for one vector a word, and SCWS
  for vectors in context against the same model's global ones, beside word2vec and PPMI-SVD of the
  same texts. The weights of `contextual_vectors` were chosen on every second pair of SCWS (`dev`);
  the others are `test`.
* Hospital discharges: the share of each code's ten nearest that are in its CCS class, beside
  word2vec and PPMI-SVD of the same rows. Settings of all methods were compared on about half of
  the codes (`dev`, by checksum of the code); the others are `test`.
"""

from __future__ import annotations

import argparse
import re
import zlib
from collections.abc import Sequence

import polars as pl

import longtail as lt
from benchmarks._corpora import diagnoses, imdb_reviews, imdb_sentences
from benchmarks._fits import FIRST, fitted
from benchmarks._peers import ppmi_svd, sentences_of, word2vec
from benchmarks.rows import data_file, metric_rows, write_rows

DATA = (
    "imdb_reviews.parquet",
    "nhds2010_diagnoses.parquet",
    "icd9_ccs.csv",
    "word_similarity/ws353.txt",
    "word_similarity/scws.txt",
)
NAME = "embeddings"
FEATURES = 15_000
IMDB_SETTINGS = {
    **FIRST,
    "random_state": 0,
    "epochs": 22,
    "refine_steps": [(0, 0), (19, 5)],
    "kl_anneal": 0.4,
    "patience": None,
}
CODES_SETTINGS = {
    **FIRST,
    "random_state": 0,
    "epochs": 25,
    "refine_steps": [(0, 0), (21, 5)],
    "kl_anneal": 0.4,
    "patience": None,
}
KINDS = ("logits", "log_probabilities", "probabilities", "root_probabilities")


def record(case: str, values: dict, split: str, peer: str = "") -> None:
    """Print and write one judgement."""
    print(f"{case:45} {split:5} {peer:22} {values}", flush=True)
    packages = ["gensim"] if peer.startswith("gensim") else []
    common = {"benchmark": NAME, "case": case, "seed": 0, "split": split, "peer": peer}
    write_rows(NAME, metric_rows(values, unit="score", packages=packages, **common))


# --- words --------------------------------------------------------------------------------------


def wordsim() -> list[tuple[str, str, float]]:
    """WordSim-353, lowercased."""
    lines = data_file(DATA[3]).read_text(encoding="utf-8").splitlines()
    parts = [line.split("\t") for line in lines if line.strip()]
    return [(a.lower(), b.lower(), float(score)) for a, b, score in parts]


def scws() -> list[tuple[lt.Occurrence, lt.Occurrence, float]]:
    """SCWS: two words, each with the words of its passage, and the mean judgement."""
    pairs = []
    for line in data_file(DATA[4]).read_text(encoding="utf-8").splitlines():
        f = line.split("\t")
        pairs.append((_occurrence(f[1], f[5]), _occurrence(f[3], f[6]), float(f[7])))
    return pairs


def _occurrence(word: str, passage: str) -> lt.Occurrence:
    around = re.sub(r"<b>.*?</b>", " ", passage).lower()
    return word.lower(), re.findall(r"(?u)\b[^\W\d_]{2,}\b", around)


def words() -> None:
    """Judge embeddings of words."""
    rows = imdb_reviews(FEATURES)
    train, valid = lt.split_rows(rows, [300], seed=0)
    model = fitted("imdb", train, valid, **IMDB_SETTINGS)
    case = f"imdb_reviews-{rows.n_rows}x{FEATURES}"
    pairs = wordsim()
    for of in KINDS:
        for power in (1.0, 0.5):
            found = lt.word_similarity(lt.embeddings(model, of=of, power=power), pairs)
            record(f"{case}/wordsim353/{of}-power{power:g}", found.to_dict(), "test")
    texts = imdb_sentences(rows)
    record(
        f"{case}/wordsim353",
        lt.word_similarity(ppmi_svd(rows), pairs).to_dict(),
        "test",
        "PPMI-SVD",
    )
    for skip_gram in (True, False):
        peer = f"gensim word2vec {'skip-gram' if skip_gram else 'CBOW'}"
        vectors = word2vec(rows, texts, skip_gram=skip_gram, window=10, epochs=5)
        record(f"{case}/wordsim353", lt.word_similarity(vectors, pairs).to_dict(), "test", peer)
    judged = scws()
    overall = lt.embeddings(model, power=1)
    variants = {
        "default": {},
        "jacobian-only": {"local": 1.0, "place": 0.0},
        "half-global": {"local": 0.5, "place": 0.0},
        "global-and-place": {"local": 0.0, "place": 0.5},
    }
    for name, settings in variants.items():
        for split, part in (("dev", judged[::2]), ("test", judged[1::2])):
            found = lt.contextual_similarity(model, part, overall=overall, **settings)
            record(f"{case}/scws/{name}", found.to_dict(), split)


# --- codes --------------------------------------------------------------------------------------


def classes() -> dict[str, str]:
    """CCS class of each code that has one."""
    table = pl.read_csv(data_file(DATA[2]), schema_overrides={"icd9": pl.String})
    table = table.filter(pl.col("ccs_class").is_not_null())
    return dict(zip(table["icd9"], table["ccs_class"], strict=True))


def codes(*, peers_alone: bool = False) -> None:
    """Judge embeddings of diagnosis codes."""
    rows = diagnoses()
    case = f"nhds2010-{rows.n_rows}x{rows.n_features}/ccs_precision@10"
    known = classes()
    half = {name: zlib.crc32(name.encode()) % 2 == 0 for name in rows.vocabulary}
    splits = {"dev": True, "test": False}

    def judge(vectors: lt.Embeddings, label: str, peer: str = "") -> None:
        for split, wanted in splits.items():
            queries = [name for name, is_dev in half.items() if is_dev == wanted]
            found = lt.class_precision(vectors, known, k=10, queries=queries)
            record(label, found.to_dict(), split, peer)

    if not peers_alone:
        train, valid = lt.split_rows(rows, [300], seed=0)
        model = fitted("diagnoses", train, valid, **CODES_SETTINGS)
        for of in KINDS:
            for power in (1.0, 0.5):
                judge(lt.embeddings(model, of=of, power=power), f"{case}/{of}-power{power:g}")
    judge(ppmi_svd(rows), case, "PPMI-SVD")
    for skip_gram in (True, False):
        peer = f"gensim word2vec {'skip-gram' if skip_gram else 'CBOW'}"
        settings = {"skip_gram": skip_gram, "window": 20, "epochs": 15, "ordered": False}
        vectors = word2vec(rows, sentences_of(rows), **settings)
        judge(vectors, case, peer)


def main(argv: Sequence[str] | None = None) -> None:
    """Judge what is asked for."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--only", choices=("words", "codes", "codes-peers"))
    args = parser.parse_args(argv)
    if args.only != "words":
        codes(peers_alone=args.only == "codes-peers")
    if args.only in (None, "words"):
        words()


if __name__ == "__main__":
    main()
