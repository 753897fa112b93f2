"""What the names in a run folder are called in plain words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricWords:
    """How a metric is read: title, one sentence, whether higher is better and it is shown as a percentage."""

    title: str
    meaning: str
    higher: bool = True
    percent: bool = True


METRICS = {
    "accuracy": MetricWords("Accuracy", "Share of samples that the model names correctly."),
    "balanced_accuracy": MetricWords(
        "Balanced accuracy",
        "Mean over classes of the share found; rare classes count as much as common ones.",
    ),
    "macro_f1": MetricWords(
        "Macro F1",
        "Mean over classes of F1, which asks for both: finding a class and not calling others by it.",
    ),
    "micro_f1": MetricWords("Micro F1", "F1 over all answers together; common classes count more."),
    "auroc": MetricWords(
        "AUROC",
        "Chance that a sample of a class is ranked above one of another; 50% is guessing.",
    ),
    "map": MetricWords(
        "Mean average precision", "Mean over classes of how well the samples of a class are ranked first."
    ),
    "subset_accuracy": MetricWords("Exact matches", "Share of samples whose whole set of labels is right."),
    "log_loss": MetricWords("Log loss", "Penalty for confident mistakes; 0 is perfect.", higher=False, percent=False),
    "ece": MetricWords(
        "Calibration error", "Mean distance between stated confidence and share that is right.", higher=False
    ),
    "mae": MetricWords("Mean absolute error", "Mean distance from the true value.", higher=False, percent=False),
    "rmse": MetricWords(
        "Root mean squared error",
        "Like the mean error, but large misses weigh more.",
        higher=False,
        percent=False,
    ),
    "perplexity": MetricWords(
        "Perplexity", "Between how many words the network hesitates, on average.", higher=False, percent=False
    ),
    "mse": MetricWords(
        "Squared error",
        "Of hidden values, in units of the channels' deviations; 1 is guessing the mean.",
        higher=False,
        percent=False,
    ),
    "change by sharing": MetricWords(
        "Change by sharing", "Over tasks, by the run's rule: relative to each task's own probe.", percent=False
    ),
    "r2": MetricWords(
        "R²",
        "Share of the variation that is explained; 1 is perfect, 0 is as good as the mean.",
        percent=False,
    ),
}

BASELINES = {
    "majority": "Most common class",
    "mean": "Mean value",
    "raw_features": "Raw pixels",
    "linear_probe": "Linear probe",
    "network": "The network, not taken",
    "scratch": "From random weights",
}

BASELINE_MEANINGS = {
    "network": "is what validation chose among networks; a baseline was better and took its place",
    "scratch": "is the same network trained from random weights",
    "majority": "always gives the most common answer (for numbers, the mean)",
    "mean": "always gives the mean",
    "raw_features": "is a linear model on the inputs themselves, without a network",
    "linear_probe": "is a linear model on the last features of the frozen network",
}

STRATEGIES = {
    "probe": "kept frozen and given a new linear head",
    "lp-ft": "given a linear head, solved on its frozen features, and then fine-tuned together with it",
    "full": "fine-tuned as a whole",
    "partial": "fine-tuned in its last stages",
    "gradual": "fine-tuned from the top down, stage by stage",
    "ulmfit": "trained further on the target's texts and then fine-tuned from the top down",
}

VERDICTS = {
    "positive": ("good", "Transfer pays here"),
    "inconclusive": ("open", "No clear difference to a simpler model"),
    "negative": ("bad", "Transfer does not pay here"),
}

STATUSES = {
    "finished": "",
    "running": "This run had not ended when the page was written. What is there so far is shown.",
    "interrupted": "This run was interrupted. What was measured until then is shown.",
    "failed": "This run failed. What was measured until then is shown.",
}
UNFINISHED = "This run has not ended. What is there so far is shown."

PARTS = {"train": "Training", "validation": "Validation", "test": "Test"}

INPUTS = {"image": ("picture", "pictures"), "text": ("text", "texts"), "sequence": ("series", "series")}


def less_or_more(gain: float, low: float | None, high: float | None, title: str) -> str:
    """A gain in an error, which is better where it is less.

    >>> less_or_more(0.412, 0.1, 0.7, "log loss"), less_or_more(-0.2, -0.3, 0.1, "log loss")
    ('0.412 less log loss (0.1 to 0.7)', '0.2 more log loss (-0.1 to 0.3)')
    """
    ends = (low, high) if gain >= 0 else (None if high is None else -high, None if low is None else -low)
    range_ = "" if ends[0] is None or ends[1] is None else f" ({ends[0]:.3g} to {ends[1]:.3g})"
    return f"{abs(gain):.3g} {'less' if gain >= 0 else 'more'} {title}{range_}"


def metric_words(name: str) -> MetricWords:
    """Words of a metric; an unknown one is called by its own name and shown as a plain number."""
    return METRICS.get(name) or MetricWords(name.replace("_", " "), "", percent=False)


def baseline_title(name: str, kind: str = "single-label", raw: str = "") -> str:
    """Title of a baseline; the majority of a regression is the mean, `raw` what the run calls its raw features."""
    if name == "raw_features" and raw:
        return raw
    if name == "majority" and kind == "regression":
        return BASELINES["mean"]
    return BASELINES.get(name) or name.replace("_", " ").capitalize()


def inside(title: str) -> str:
    """A title within a sentence: its first letter small, unless it begins with an abbreviation.

    >>> inside("Linear probe"), inside("TF-IDF + logistic regression")
    ('linear probe', 'TF-IDF + logistic regression')
    """
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def inputs_name(modality: str, n: int | None) -> str:
    """ "picture" or "pictures", by the number of them."""
    one, many = INPUTS.get(modality, ("sample", "samples"))
    return one if n == 1 else many
