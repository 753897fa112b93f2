"""MiniLM's features and fine-tuning by the peers for texts: one way per process; prints JSON.

    python sentence_texts.py BODY TEXTS WHAT

BODY is a folder with the network (config.json, tokenizer, weights); TEXTS a JSON file {"texts", "labels", "train",
"test"}. WHAT is `plain` (transformers, batches of 32 in the order of the data, padded to their longest), `setfit` (the
body of a SetFitModel, frozen, by its own `encode`, and scikit-learn's logistic regression as SetFit's head) or
`trainer` (transformers' Trainer: AdamW, bfloat16, batches grouped by length, 4 epochs).
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from typing import Any

from headstart.models.torchvision_import import prepare_torchvision

prepare_torchvision()

import numpy as np  # noqa: E402
import torch  # noqa: E402

TOKENS = 128


def accuracy_of(x: np.ndarray, data: dict[str, Any]) -> float:
    from sklearn.linear_model import LogisticRegression

    y = np.array(data["labels"])
    head = LogisticRegression(max_iter=1000).fit(x[data["train"]], y[data["train"]])
    return float(head.score(x[data["test"]], y[data["test"]]))


def plain(body: str, data: dict[str, Any]) -> dict[str, Any]:
    from transformers import AutoModel, AutoTokenizer

    tokenizer, net = AutoTokenizer.from_pretrained(body), AutoModel.from_pretrained(body).eval()
    made = []
    start = time.perf_counter()
    with torch.inference_mode():
        for i in range(0, len(data["texts"]), 32):
            some = tokenizer(
                data["texts"][i : i + 32], padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
            )
            states, mask = net(**some).last_hidden_state, some["attention_mask"][:, :, None]
            made.append((states * mask).sum(1) / mask.sum(1))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "accuracy": accuracy_of(torch.cat(made).numpy(), data)}


def setfit(body: str, data: dict[str, Any]) -> dict[str, Any]:
    from sentence_transformers import SentenceTransformer, models
    from setfit import SetFitModel

    transformer = models.Transformer(body, max_seq_length=TOKENS)
    pooling = models.Pooling(transformer.get_word_embedding_dimension(), "mean")
    model = SetFitModel(model_body=SentenceTransformer(modules=[transformer, pooling], device="cpu"))
    start = time.perf_counter()
    x = model.encode(data["texts"], show_progress_bar=False)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "accuracy": accuracy_of(np.asarray(x), data)}


def trainer(body: str, data: dict[str, Any]) -> dict[str, Any]:
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(body)
    classes = len(set(data["labels"]))
    net = AutoModelForSequenceClassification.from_pretrained(body, num_labels=classes)

    def part(name: str) -> list[dict[str, Any]]:
        made = tokenizer([data["texts"][i] for i in data[name]], truncation=True, max_length=TOKENS)
        labels = [data["labels"][i] for i in data[name]]
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": label}
            for ids, mask, label in zip(made["input_ids"], made["attention_mask"], labels, strict=True)
        ]

    start = time.perf_counter()
    asked = TrainingArguments(
        output_dir="/tmp/trainer", num_train_epochs=4, per_device_train_batch_size=16, learning_rate=1e-4,
        warmup_steps=0.1, use_cpu=True, bf16=True, train_sampling_strategy="group_by_length", save_strategy="no",
        report_to="none", disable_tqdm=True, seed=0,
    )  # fmt: skip
    learn = Trainer(net, asked, DataCollatorWithPadding(tokenizer), part("train"), processing_class=tokenizer)
    began = time.perf_counter()
    learn.train()
    trained = time.perf_counter() - began
    found = learn.predict(part("test"))  # in the order of lengths: labels come with it
    logits, y = found.predictions, found.label_ids
    return {
        "seconds": time.perf_counter() - start,
        "epoch": trained / 4,
        "accuracy": float((logits.argmax(1) == y).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("body")
    parser.add_argument("texts")
    parser.add_argument("what", choices=["plain", "setfit", "trainer"])
    asked = parser.parse_args()
    with open(asked.texts) as file:
        data = json.load(file)
    made = {"plain": plain, "setfit": setfit, "trainer": trainer}[asked.what](asked.body, data)
    made["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(json.dumps(made), file=sys.stdout)


if __name__ == "__main__":
    main()
