"""A cheap model of texts to compare data with: TF-IDF of words and characters, logistic regression.

It sees words and spelling, no meaning: what it cannot tell apart may still differ.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from keepgain.core.rows import Row
from keepgain.sweeps.gates.labels import Hashes

FOLDS = 5
MAX_CHARACTERS = 1_000
"""Of a text, from its begin and its end half each: long ones would take minutes."""
MAX_FEATURES = 50_000
"""Of the characters and of the words."""
SHORT_TEXT = 200
"""Characters, on average, up to which characters are looked at beside words."""
Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def shortened(text: str) -> str:
    """Begin and end of a long text."""
    half = MAX_CHARACTERS // 2
    return text if len(text) <= MAX_CHARACTERS else f"{text[:half]} {text[-half:]}"


def questions(rows: Sequence[Row], chosen: npt.NDArray[np.int64]) -> list[str]:
    """What the chosen rows ask, as the model reads it."""
    return [shortened(rows[int(i)].question()) for i in chosen]


@dataclass(frozen=True)
class Features:
    """TF-IDF weights of texts."""

    matrix: Any
    """Sparse, of shape [texts, terms]."""
    terms: tuple[str, ...]
    """Words, pairs of words and runs of characters."""


def features(texts: Sequence[str], others: Sequence[str] = ()) -> Features | None:
    """Single words and pairs, and in short texts 1 to 4 characters within words: in long ones words
    tell as much, at a quarter of the time.

    Args:
        texts: Terms and their weights are learnt from these.
        others: Are weighed too, below them.

    Returns:
        None if no term is common to several of many texts: nothing could be learnt.
    """
    from scipy.sparse import hstack, vstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    common = {"sublinear_tf": True, "min_df": 2 if len(texts) >= 200 else 1, "dtype": np.float32}
    common["max_features"] = MAX_FEATURES
    vectorizers = [TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), **common)]
    if sum(map(len, texts)) <= SHORT_TEXT * len(texts):
        vectorizers.append(TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), **common))
    blocks: list[Any] = []
    terms: list[str] = []
    for vectorizer in vectorizers:
        try:
            block = vectorizer.fit_transform(texts)
        except ValueError:  # scikit-learn's word for: no term is left
            continue
        blocks.append(vstack([block, vectorizer.transform(others)]) if others else block)
        terms += vectorizer.get_feature_names_out().tolist()
    return Features(hstack(blocks).tocsr(), tuple(terms)) if blocks else None


def classifier() -> Any:
    """Logistic regression, little regularised."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10, max_iter=200, tol=1e-3)


def folds(question: Hashes) -> Codes:
    """Fold of each row; rows that ask the same are in the same one, or the model would have read
    the answer."""
    return ((question * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)).astype(np.int64) % FOLDS


def out_of_fold(
    matrix: Any,
    codes: Codes,
    fold: Codes,
    classes: int,
    learned: npt.NDArray[np.bool_] | None = None,
) -> Floats:
    """Probability of each class for each row by a model of the other folds; [rows, classes].

    Args:
        matrix: Features, sparse, of shape [rows, terms].
        codes: Class of each row.
        fold: Of each row.
        classes: How many there are; those absent from the other folds have probability 0.
        learned: Rows that models may learn from; None: all. Each of the rest is predicted by the
            model of its fold too, and so compares with them.
    """
    found = np.zeros((len(codes), classes))
    for k in np.unique(fold):
        held = np.flatnonzero(fold == k)
        kept = np.flatnonzero((fold != k) if learned is None else (fold != k) & learned)
        present = np.unique(codes[kept])
        if len(present) < 2:
            found[np.ix_(held, present)] = 1.0
            continue
        model = fitted(matrix[kept], codes[kept])
        found[np.ix_(held, present)] = model.predict_proba(matrix[held])
    return found


def fitted(matrix: Any, codes: Codes) -> Any:
    """A model of these rows."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # A model that is nearly fitted tells as much, and its own accuracy is said.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return classifier().fit(matrix, codes)
