import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions
from keepgain.trainers.scorers import overlap
from keepgain.trainers.scorers.likelihood import (
    Likelihood,
    bits_per_byte,
    divergence,
    log_perplexity,
    perplexity,
)
from keepgain.trainers.scorers.text import (
    distinct,
    exact_match,
    length_ratio,
    normalised,
    normalised_match,
    span_f1,
    span_report,
    token_f1,
)

OPTIONS = ScorerOptions()
TEXTS = st.text(alphabet="aethn A.,;!\n0", max_size=30)


def row(answer: str) -> Row:
    return Row("r", "pair", prompt="q", answer=answer)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("The  Cat, the hat!", "cat hat"),
        ("An apple a day", "apple day"),
        ("Theatre's another", "theatres another"),
        ("  \n", ""),
        ("É-X", "éx"),
    ],
)
def test_normalisation_is_squads(text, kept):
    assert normalised(text) == kept


@given(TEXTS)
def test_a_normalised_text_is_lower_case_single_spaced_and_without_punctuation(text):
    once = normalised(text)
    assert once == once.strip() == once.lower() and "  " not in once
    assert not set(once) & set(".,;!")


def test_matches():
    assert exact_match(" Paris\n", row("Paris"), OPTIONS) == 1
    assert exact_match("paris", row("Paris"), OPTIONS) == 0
    assert normalised_match("the paris.", row("Paris"), OPTIONS) == 1
    assert normalised_match("paris france", row("Paris"), OPTIONS) == 0


@pytest.mark.parametrize(
    ("answer", "reference", "f1"),
    [
        # 2 shared words of 3 and 4: P 2/3, R 2/4.
        ("the red big house", "a red house on hill", 4 / 7),
        # A word counts as often as it stands on both sides: 1 of 2 and 1 of 1.
        ("no no", "no", 2 / 3),
        ("yes", "no", 0.0),
        ("the", "a", 1.0),
        ("", "no", 0.0),
    ],
)
def test_token_f1_by_hand(answer, reference, f1):
    assert token_f1(answer, row(reference), OPTIONS) == pytest.approx(f1, abs=1e-15)


@given(TEXTS, TEXTS)
def test_token_f1_is_symmetric_and_1_only_for_the_same_words(one, two):
    found = token_f1(one, row(two), OPTIONS)
    assert found == token_f1(two, row(one), OPTIONS)
    same = sorted(normalised(one).split()) == sorted(normalised(two).split())
    assert (found == 1) == same and 0 <= found <= 1


def test_span_f1_compares_sets_of_stripped_spans():
    # {Anna, Ulm} against {Ulm, Bonn, Anna}: P 1, R 2/3.
    assert span_f1("Anna; Ulm;Ulm;", row("Ulm;Bonn;Anna"), OPTIONS) == pytest.approx(4 / 5)
    assert span_f1(" ; ", row(";"), OPTIONS) == 1
    assert span_f1("a|b", row("b|a"), ScorerOptions(separator="|")) == 1
    assert span_f1("", row("a"), OPTIONS) == 0


def test_span_figures_over_all_items_count_spans_not_items():
    # Hits 1 + 0, given 1 + 2, wanted 2 + 1.
    report = span_report(["a", "x;y"], [row("a;b"), row("z")], None, OPTIONS)
    assert report == {
        "micro_precision": pytest.approx(1 / 3),
        "micro_recall": pytest.approx(1 / 3),
        "micro_f1": pytest.approx(1 / 3),
    }
    assert "micro_precision" not in span_report([""], [row("a")], None, OPTIONS)


def test_distinct_n_and_length_ratio_by_hand():
    texts = ["a b a", "a b", "c"]
    assert distinct(texts, 1) == 3 / 6
    assert distinct(texts, 2) == 2 / 3  # a b, b a, a b
    assert distinct(["", "x"], 2) is None
    assert length_ratio([" abc ", ""], ["ab", "cdef"]) == 3 / 6
    assert length_ratio(["a"], [" "]) is None


def test_likelihood_scores_by_hand():
    half = Likelihood(nats=4 * math.log(2), tokens=2, bytes=8)
    assert bits_per_byte(half, row(""), OPTIONS) == pytest.approx(0.5)
    assert log_perplexity(half, row(""), OPTIONS) == pytest.approx(2 * math.log(2))
    assert divergence(half, row(""), OPTIONS) == pytest.approx(2 * math.log(2))


def test_perplexity_of_a_suite_is_over_tokens_not_over_items():
    # 1 token of probability 1/4 and 3 of probability 1: (4)^(1/4).
    parts = [Likelihood(math.log(4), 1, 1), Likelihood(0.0, 3, 3)]
    assert perplexity(parts, [], None, OPTIONS) == {"perplexity": pytest.approx(4**0.25)}
    assert perplexity([Likelihood(1e6, 1, 1)], [], None, OPTIONS) == {}


PAIRS = [
    ("the cat sat on the mat", "the cat is sitting on the mat"),
    ("police killed the gunman", "police kill the gunman"),
    ("", "something"),
    ("completely different words", "nothing shared here at all"),
]


def test_rouge_l_by_hand():
    # Stems: cat sat mat against the cat sat on the mat; common subsequence 3 of 3 and of 6.
    assert overlap.rouge_l("cat sat mat", row("The cat sat on the mat"), OPTIONS) == 2 / 3
    # Unigrams 3 of 3 and 3 of 4 in another order; the longest common subsequence is 2.
    answer, reference = "gunman police kill", "police killed the gunman"
    assert overlap.rouge_1(answer, row(reference), OPTIONS) == pytest.approx(6 / 7)
    assert overlap.rouge_l(answer, row(reference), OPTIONS) == pytest.approx(4 / 7)


def test_bleu_and_chrf_are_sacrebleus_own_figures_over_100():
    import sacrebleu

    for answer, reference in PAIRS:
        sentence = sacrebleu.sentence_bleu(answer, [reference]).score
        assert overlap.bleu(answer, row(reference), OPTIONS) == pytest.approx(sentence / 100)
        sentence = sacrebleu.sentence_chrf(answer, [reference]).score
        assert overlap.chrf(answer, row(reference), OPTIONS) == pytest.approx(sentence / 100)
    answers, references = ([p[i] for p in PAIRS] for i in (0, 1))
    rows = [row(r) for r in references]
    corpus = sacrebleu.corpus_bleu(answers, [references]).score
    assert overlap.corpus_bleu(answers, rows, None, OPTIONS) == {
        "corpus_bleu": pytest.approx(corpus / 100)
    }
    corpus = sacrebleu.corpus_chrf(answers, [references]).score
    assert overlap.corpus_chrf(answers, rows, None, OPTIONS) == {
        "corpus_chrf": pytest.approx(corpus / 100)
    }


def test_bleu_of_a_sentence_by_hand():
    # 4 of 4 unigrams, 3 of 3, 2 of 2, 1 of 1; one word short: exp(1 - 5/4).
    found = overlap.bleu("a b c d", row("a b c d e"), OPTIONS)
    assert found == pytest.approx(math.exp(1 - 5 / 4))
