"""The baseline on words: every script, every kind of task, no sight of what is held out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from headstart.data.load import load_data
from headstart.data.schema import Task
from headstart.data.scripts import unspaced_share
from headstart.features.tfidf import STRENGTHS, Tfidf, fit_tfidf

TWO = Task("y", "single-label", ("bad", "good"))
THREE = Task("y", "single-label", ("a", "b", "c"))
NUMBER = Task("y", "regression")
SEVERAL = Task("y", "multi-label", ("red", "round", "rare"))

GOOD, BAD = ["lovely", "splendid", "charming"], ["dreadful", "tedious", "clumsy"]
FILLER = ["the", "film", "was", "and", "with", "its", "story", "cast"]


def reviews(n: int = 60, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Reviews of filler words and one that tells."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    texts = []
    for label in labels:
        words = [*random.choice(FILLER, 8), random.choice(GOOD if label else BAD)]
        texts.append(" ".join(random.permutation(words)))
    return texts, labels


def folds(n: int, k: int = 3) -> torch.Tensor:
    """Neighbours are of both classes."""
    return torch.arange(n) // 2 % k


def none(n: int) -> torch.Tensor:
    return torch.full((n,), -1)


def accuracy(fitted: Tfidf, texts: list, labels: np.ndarray) -> float:
    return float((fitted.logits(texts).argmax(1) == labels).mean())


# -- tasks -------------------------------------------------------------------------------------------------------------


def test_telling_words_are_found() -> None:
    texts, labels = reviews()
    fitted = fit_tfidf(texts, labels, TWO, "accuracy", folds(60))
    assert accuracy(fitted, *reviews(40, seed=1)) == 1.0


def test_logits_of_two_classes_are_those_of_scikit_learn() -> None:
    texts, labels = reviews()
    fitted = fit_tfidf(texts, labels, TWO, "accuracy", none(60), strengths=[10.0])
    vectorizer = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
    x = vectorizer.fit_transform(texts)
    model = LogisticRegression(C=10.0, solver="liblinear", dual=True, tol=1e-6, random_state=0).fit(x, labels)
    expected = model.decision_function(vectorizer.transform(texts[:5]))
    found = fitted.logits(texts[:5])
    np.testing.assert_allclose(found[:, 1] - found[:, 0], expected, atol=0.05)


def test_a_class_that_training_lacks_is_never_predicted() -> None:
    texts, labels = reviews()
    fitted = fit_tfidf(texts, labels, THREE, "accuracy", folds(60))
    assert 2 not in fitted.logits(texts).argmax(1)


def test_numbers_are_learned_in_their_own_unit() -> None:
    texts, labels = reviews(120)
    values = (1000 + 50 * labels).astype(np.float32)
    fitted = fit_tfidf(texts, values, NUMBER, "r2", folds(120))
    found = fitted.logits(texts)
    assert found.shape == (120, 1)
    assert np.abs(found[:, 0] - values).mean() < 10


def test_several_labels_are_learned_apart_and_gaps_left_out() -> None:
    texts, labels = reviews(120)
    sets = np.stack([labels, 1 - labels, np.zeros(120)], axis=1).astype(np.float32)
    sets[5] = np.nan
    fitted = fit_tfidf(texts, sets, SEVERAL, "macro_f1", folds(120))
    found = fitted.logits(texts) > 0
    np.testing.assert_array_equal(found[:, 0], labels == 1)
    np.testing.assert_array_equal(found[:, 1], labels == 0)
    assert not found[:, 2].any()


def test_unlabelled_texts_are_left_out() -> None:
    texts, labels = reviews()
    more, gaps = [*texts, *["dreadful lovely"] * 30], np.r_[labels, np.full(30, -1)]
    fitted = fit_tfidf(more, gaps, TWO, "accuracy", folds(90), strengths=[10.0])
    alone = fit_tfidf(texts, labels, TWO, "accuracy", none(60), strengths=[10.0])
    np.testing.assert_allclose(fitted.logits(texts), alone.logits(texts), atol=0.02)


def test_weights_move_the_answer() -> None:
    texts, labels = ["same words here"] * 20, np.arange(20) % 2
    weights = torch.tensor([1.0, 9.0]).repeat(10)
    even = fit_tfidf(texts, labels, TWO, "accuracy", none(20), strengths=[10.0]).logits(texts[:1])
    heavy = fit_tfidf(texts, labels, TWO, "accuracy", none(20), weights, [10.0]).logits(texts[:1])
    assert heavy[0, 1] - heavy[0, 0] > even[0, 1] - even[0, 0] + 1


# -- folds -------------------------------------------------------------------------------------------------------------


def test_held_out_logits_come_from_models_and_vocabularies_without_the_text() -> None:
    """Each text has words of its own and a label that is noise: in sample that is all, out of fold nothing."""
    labels = np.random.default_rng(0).integers(0, 2, 90)
    texts = [f"alpha{i} beta{i} gamma{i}" for i in range(90)]
    fitted = fit_tfidf(texts, labels, TWO, "accuracy", folds(90), strengths=[100.0])
    assert accuracy(fitted, texts, labels) == 1.0
    for fold in range(3):
        held = fitted.held_out[folds(90).numpy() == fold]
        np.testing.assert_allclose(held, np.broadcast_to(held[0], held.shape), atol=1e-6)


def test_what_is_never_held_out_has_no_held_out_logits() -> None:
    texts, labels = reviews()
    assignment = folds(60)
    assignment[:6] = -1
    fitted = fit_tfidf(texts, labels, TWO, "accuracy", assignment)
    assert np.isnan(fitted.held_out[:6]).all()
    assert not np.isnan(fitted.held_out[6:]).any()


def test_the_strength_is_the_one_with_the_best_held_out_score() -> None:
    texts, labels = reviews(60)
    noisy = np.where(np.random.default_rng(1).random(60) < 0.2, 1 - labels, labels)
    fitted = fit_tfidf(texts, noisy, TWO, "accuracy", folds(60))
    scores = {}
    for strength in STRENGTHS:
        one = fit_tfidf(texts, noisy, TWO, "accuracy", folds(60), strengths=[strength])
        scores[strength] = (one.held_out.argmax(1) == noisy).mean()
    assert scores[fitted.strength] == max(scores.values())


@pytest.mark.parametrize(("task", "metric"), [(THREE, "log_loss"), (NUMBER, "r2")], ids=["classes", "numbers"])
def test_folds_of_its_own_hold_out_every_class_in_its_share(task: Task, metric: str) -> None:
    """Classes that come in turn, as many as folds, would else be held out as a whole: the best guess were none."""
    base, _ = reviews(90)
    labels = np.arange(90) % 3
    texts = [f"{text} {'xyz'[k] * 3}" for text, k in zip(base, labels, strict=True)]
    values = labels.astype(np.float32) if task is NUMBER else labels
    fitted = fit_tfidf(texts, values, task, metric, none(90))
    assert fitted.strength >= 30
    assert np.isnan(fitted.held_out).all()


def test_labels_that_contradict_each_other_are_no_warning() -> None:
    texts, _ = reviews()
    noisy = np.random.default_rng(1).integers(0, 2, 60)
    fitted = fit_tfidf(texts * 2, np.r_[noisy, 1 - noisy], TWO, "accuracy", folds(120), strengths=[1e4])
    assert np.isfinite(fitted.held_out).all()


# -- scripts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "bad", "around"),
    [
        ("很满意", "太失望", "这家店的东西我用了以后觉得"),
        ("素晴らしい", "ひどすぎる", "この店の料理を食べてみました"),
        ("ดีมาก", "แย่มาก", "ร้านนี้อาหารที่กินแล้วรู้สึก"),
        ("wunderbar", "entsetzlich", "das essen hier fand ich"),
        ("отличный", "ужасный", "этот магазин совсем"),
    ],
    ids=["chinese", "japanese", "thai", "german", "russian"],
)
def test_texts_of_every_script_are_learned(good: str, bad: str, around: str) -> None:
    random = np.random.default_rng(0)
    space = "" if unspaced_share([around]) > 0.5 else " "
    parts = around.split() if space else list(around)
    labels = np.arange(40) % 2
    texts = [space.join([*random.permutation(parts), good if k else bad, *random.permutation(parts)]) for k in labels]
    fitted = fit_tfidf(texts[:30], labels[:30], TWO, "accuracy", folds(30))
    assert accuracy(fitted, texts[30:], labels[30:]) == 1.0


def test_a_few_unspaced_words_among_others_leave_words_whole() -> None:
    texts, labels = reviews()
    fitted = fit_tfidf([f"{t} 好" for t in texts], labels, TWO, "accuracy", folds(60))
    assert "lovely" in fitted.counter.vectorizers[0].vocabulary_


def test_chinese_reviews_are_told_apart_by_far_more_than_chance() -> None:
    data = load_data("sample:chinese-reviews")
    rows = np.random.default_rng(0).permutation(len(data))[:900]
    texts, labels = [data.read(int(i)).inputs for i in rows], data.labels()[rows]
    fitted = fit_tfidf(texts[:600], labels[:600], data.schema.task(), "accuracy", none(600), strengths=[10.0])
    assert accuracy(fitted, texts[600:], labels[600:]) > 0.75


@pytest.mark.parametrize("n", [20, 300])
def test_texts_without_a_word_of_two_letters_are_counted_by_characters(n: int) -> None:
    texts, labels = [["! ?", ":) x"][i % 2] for i in range(n)], np.arange(n) % 2
    assert accuracy(fit_tfidf(texts, labels, TWO, "accuracy", folds(n)), texts, labels) == 1.0


def test_texts_that_share_no_word_are_counted_by_characters() -> None:
    texts = [f"{'jkl' if i % 2 else 'vwx'}{i:04}" for i in range(400)]
    labels = np.arange(400) % 2
    assert accuracy(fit_tfidf(texts, labels, TWO, "accuracy", folds(400)), texts, labels) == 1.0


# -- pairs -------------------------------------------------------------------------------------------------------------


def test_the_sides_of_a_pair_have_vocabularies_of_their_own() -> None:
    """The same words on the other side mean the opposite."""
    words = ["tea", "rain"]
    pairs = [(words[i % 2], words[(i + 1) % 2]) for i in range(40)]
    labels = np.arange(40) % 2
    assert accuracy(fit_tfidf(pairs, labels, TWO, "accuracy", folds(40)), pairs, labels) == 1.0


def test_a_side_that_is_always_empty_says_nothing() -> None:
    texts, labels = reviews()
    pairs = [(text, "") for text in texts]
    assert accuracy(fit_tfidf(pairs, labels, TWO, "accuracy", folds(60)), pairs, labels) == 1.0
