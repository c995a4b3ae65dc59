"""Tasks of lm-evaluation-harness in a folder: YAML and JSON lines, of each kind that we score."""

import json
from pathlib import Path
from typing import Any

import yaml

COUNT = 24


def write_tasks(folder: Path) -> Path:
    """`pick` (multiple choice, few-shot), `echo` (generation, two filters), `cloze` (likelihood),
    `both` (a group of the first and the last); documents are `COUNT` each.

    A model with tied weights that nobody trained says again what it has read last: it goes on with
    `=`, so of the last two every second document is answered rightly."""
    folder.mkdir(parents=True)
    documents = [
        {
            "q": f"what is {i} + {i % 5}",
            "options": [str(i), str(i + i % 5), str(i * 3 + 1)],
            "a": 1,
            "next": "=" if i % 2 else "x",
        }
        for i in range(COUNT)
    ]
    for name, rows in {"asked": documents, "shots": documents[:9]}.items():
        lines = [json.dumps(row | {"from": name}) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    shared: dict[str, Any] = {
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": "asked.jsonl", "train": "shots.jsonl"},
            "cache_dir": "cache",
        },
        "test_split": "test",
        "fewshot_split": "train",
        "doc_to_text": "{{q}} =",
    }
    mean = {"aggregation": "mean", "higher_is_better": True}
    tasks: dict[str, dict[str, Any]] = {
        "pick": {
            "output_type": "multiple_choice",
            "num_fewshot": 2,
            "doc_to_choice": "options",
            "doc_to_target": "a",
            "metric_list": [
                {"metric": "acc", **mean},
                {"metric": "acc_norm", **mean},
                {"metric": "mcc", "aggregation": "matthews_corrcoef", "higher_is_better": True},
            ],
        },
        "echo": {
            "output_type": "generate_until",
            "num_fewshot": 0,
            "doc_to_target": "next",
            "generation_kwargs": {"until": ["\n"], "max_gen_toks": 6, "do_sample": False},
            "metric_list": [{"metric": "exact_match", **mean}],
            "filter_list": [
                {"name": "strict", "filter": [{"function": "take_first"}]},
                {
                    "name": "letter",
                    "filter": [
                        {"function": "regex", "regex_pattern": "(.)"},
                        {"function": "take_first"},
                    ],
                },
            ],
        },
        "cloze": {
            "output_type": "loglikelihood",
            "doc_to_target": "next",
            "target_delimiter": "",
            "metric_list": [
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                {"metric": "acc", **mean},
            ],
        },
    }
    for name, task in tasks.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name} | shared | task))
    group = {"group": "both", "task": ["pick", "cloze"]}
    (folder / "both.yaml").write_text(yaml.safe_dump(group))
    return folder
