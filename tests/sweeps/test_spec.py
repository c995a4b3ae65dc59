"""The spec: what is accepted, and that every fault names file, key and line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.core.identity import sweep_id
from keepgain.core.store.names import check_id
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.profiles import merge
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.spec_suites import measures_of
from tests.sweeps.tiny_models import spec_text

GOOD = spec_text(["m0", "m1"])
RATE = "learning_rate: {log: [1e-5, 1e-3]}"
SPACE = "space.learning_rate"
WORKERS = "resources.workers_per_trial"
END = "prices: {gpu"
DEEPSPEED = "training: {engine: deepspeed,"
MICRO = "training.micro_batch_size"
BITS = "{from: tickets, scorer: bits_per_byte}"
WORDS = "{path: x.jsonl, scorer: exact_match}"
PLACE = "  forgetting: {"
PROXY = "  smooth: {{from: tickets, scorer: bits_per_byte, measures: {1}, proxy_for: {0}}}\n"
AT_PROXY = "suites.smooth.proxy_for"
GAIN_2 = "  gain_2: {from: tickets, scorer: exact_match}\n"
FORGETTING = "suites.forgetting.scorer"
LISTED = (
    "sampler: list, configs: [{method: full, learning_rate: 1.0e-4, "
    "mixture: {tickets: 1, general: 0}"
)
SMOKE = "    search: {trials_per_model: 4}"

# what to replace in the good spec, by what, key named by the message, words of the message
MALFORMED: list[tuple[str, str, str, str]] = [
    ("name: ticket-routing", "nme: x\nname: ticket-routing", "nme", "unknown key"),
    ("name: ticket-routing", "name: a\nname: b", "name", "twice"),
    ("name: ticket-routing", "name: ../x", "name", "A-Z"),
    ("name: ticket-routing", "name: " + "x" * 300, "name", "57"),
    ("name: ticket-routing", "name: tickеt", "name", "A-Z"),  # a Cyrillic letter
    ("name: ticket-routing", "name: [a]", "name", "string"),
    ("name: ticket-routing\n", "", "", "'name' is missing"),
    ("models: [m0, m1]", "models: []", "models", "at least 1"),
    ("models: [m0, m1]", "models: m0", "models", "given: 'm0'"),
    ("models: [m0, m1]", "models: [{path: a, id: b}]", "models.0", "exactly one"),
    ("models: [m0, m1]", "models: [{path: a, revision: b}]", "models.0", "hub id"),
    ("role: task", "role: tsk", "data.tickets.role", "'task'"),
    ("role: task, ", "", "data.tickets.role", "missing"),
    ("path: tickets.jsonl, ", "", "data.tickets", "either `path`"),
    ("split: auto", "split: random", "data.tickets.split", "'auto'"),
    ("split: auto", "fields: {promt: q}", "data.tickets.fields", "unknown field 'promt'"),
    ("split: auto", "format: csv", "data.tickets.format", "'auto'"),
    ("split: auto", "limit: 0", "data.tickets.limit", "greater than or equal to 1"),
    ("split: auto", "test: t.jsonl", "data.tickets", "either `path`"),
    ("path: tickets.jsonl, role", "test: t.jsonl, role", "data.tickets", "`train` is missing"),
    ("tickets: {path", "tick/ets: {path", "data", "tick/ets"),
    ("from: tickets", "from: ticket", "suites.gain.from", "Known sources: tickets, general"),
    ("from: tickets, ", "", "suites.gain", "exactly one of `from`"),
    ("from: tickets", "from: tickets, path: x", "suites.gain", "exactly one of `from`"),
    ("from: tickets", "validation: x", "suites.gain", "both"),
    ("from: tickets", "from: tickets, limit: 3", "suites.gain", "at its source"),
    ("scorer: exact_match", "scorer: accuracy", "suites.gain.scorer", "'exact_match'"),
    ("  gain: {from", "  quality: {from", "suites.quality", "measures"),
    ("  gain: {from", "  forgetting_2: {from", "suites", "no suite measures gain"),
    (RATE, "learning_rate: {log: [0, 1]}", SPACE, "above 0"),
    (RATE, "learning_rate: {log: [2, 1]}", SPACE, "below"),
    (f"  {RATE}\n", "", "space", "no learning_rate"),
    ("method: [full, lora]", "method: [full, [lora]]", "space.method", "given"),
    ("method: [full, lora]", "methd: [full, lora]", "space.methd", "method"),
    ("when: {method: lora}", "when: {engine: x}", "space.lora.rank", "engine"),
    ("{tickets: [0.5, 1]", "{ticket: [0.5, 1]", "space.mixture.ticket", "unknown source"),
    ("general: [0, 0.5]", "general: [0.6, 0.7]", "space.mixture", "1"),
    ("trials_per_model: 12", "trials_per_model: 0", "search.trials_per_model", "equal to 1"),
    ("trials_per_model: 12", "trials_per_model: 1000000000", "search.trials_per_model", "10000"),
    ("trials_per_model: 12", "trials_per_model: ten", "search.trials_per_model", "integer"),
    ("trials_per_model: 12", "mode: sync", "search.mode", "'async'"),
    ("trials_per_model: 12", "sampler: grid", "space.learning_rate", "continuous range"),
    ("trials_per_model: 12", "sampler: list", "search.sampler", "belong together"),
    ("trials_per_model: 12", "configs: [{a: 1}]", "search.configs", "belong together"),
    ("trials_per_model: 12", "storage: here.db", "search.storage", "not the URL"),
    ("trials_per_model: 12", f"{LISTED}, a: 1}}]", "search.configs.0.a", "not a setting"),
    ("trials_per_model: 12", f"{LISTED}, lora.rank: 8}}]", "search.configs.0.lora.rank", "lora"),
    ("trials_per_model: 12", f"{LISTED}}}, {{method: full}}]", "search.configs.1", "missing"),
    ("trials_per_model: 12", "sampler: magic", "search.sampler", "'tpe'"),
    ("trials_per_model: 12", "max_failure_rate: 0", "search.max_failure_rate", "greater than 0"),
    ("seeds: 3", "seeds: -1", "confirm.seeds", "equal to 1"),
    ("delta: 0.02", "delta: -1", "question.delta", "equal to 0"),
    ("delta: 0.02", "delta: .nan", "question.delta", "finite"),
    ("cost: usd_per_million_tokens", "cost: money", "question.cost", "parameters"),
    ("delta: 0.02", "reference_point: {charm: 1}", "question.reference_point", "'charm'"),
    ("delta: 0.02", "reference_point: {usd: 0}", "question.reference_point", "logarithm"),
    ("delta: 0.02", "weights: {gain: -1}", "question.weights", "at least 0"),
    ("delta: 0.02", "max_cost: {gain: 1}", "question.max_cost", "unknown name 'gain'"),
    ("prices: {gpu_hour_usd: 2.5}\n", "", "question.cost", "needs a price"),
    (END, "training: {epochs: 1, budget_tokens: 5}\n" + END, "training", "one budget"),
    (END, "training: {rungs: [0.5]}\n" + END, "training.rungs", "end with 1"),
    (END, "training: {rungs: []}\n" + END, "training.rungs", "at least 1"),
    (END, "training: {zero_stage: 2}\n" + END, "training", "deepspeed"),
    (END, "training: {mixture: {tickets: 0.4}}\n" + END, "training", "sum to 1"),
    (END, "training: {mixture: {x: 1}}\n" + END, "training.mixture.x", "unknown"),
    (END, "resources: {workers_per_trial: 2}\n" + END, WORKERS, "need `engine: deepspeed`"),
    (END, "resources: {placement: packed}\n" + END, "resources.placement", "strict_spread"),
    (END, "resources: {gpu_type: H100, gpus_per_trial: 0}\n" + END, "resources", "to have none"),
    (END, "resources: {labels: {zone: '!a'}}\n" + END, "resources", "is no label"),
    (END, "resources: {hang_seconds: 0}\n" + END, "resources.hang_seconds", "greater than 0"),
    (
        END,
        "resources: {workers_per_trial: 3}\ntraining: {engine: deepspeed}\n" + END,
        "training.batch_size",
        "evenly over 3 workers",
    ),
    (
        END,
        f"{DEEPSPEED} zero_stage: 3, retention: {{kl: 0.5}}}}\n" + END,
        "training.retention.kl",
        "under ZeRO-3",
    ),
    (RATE, RATE + "\n  balance_strength: [0, 1]", "space.balance_strength", "balance_by"),
    (END, f"{DEEPSPEED} micro_batch_size: 6}}\n" + END, MICRO, "16 is no multiple"),
    ("name: ticket", "Search: 1\nname: ticket", "Search", "unknown key 'Search'"),
    ("  tickets: {path: tickets.jsonl, role: task,", "  Tickets: {", "data.Tickets", "role"),
    (SMOKE, "    1: 2", "profiles.smoke.1 (line", "not text"),
    (SMOKE, "    search: {null: 1}", "profiles.smoke.search", "not text"),
    ("method: [full, lora]", "2: [full, lora]", "space.2", "not text"),
    ("  forgetting: {", f"  gain_2: {BITS}\n  forgetting: {{", "suites.gain_2.scorer", "'gain'"),
    ("  forgetting: {", f"  forgetting_2: {WORDS}\n  forgetting: {{", FORGETTING, "both measure"),
    (PLACE, PROXY.format("gain2", "behaviour") + PLACE, AT_PROXY, "unknown suite 'gain2'"),
    (PLACE, PROXY.format("forgetting", "behaviour") + PLACE, AT_PROXY, "does not measure gain"),
    (PLACE, PROXY.format("gain", "forgetting") + PLACE, AT_PROXY, "behaviour"),
    (PLACE, PROXY.format("gain", "behaviour") + GAIN_2 + PLACE, "suites.gain_2", "has none"),
    (END, "reference_arms: [{few_shot: 0}]\n" + END, "reference_arms.0.few_shot", "1"),
    (END, "reference_arms: [{}]\n" + END, "reference_arms.0", "exactly one"),
    (END, "allow: [split_overlaps]\n" + END, "allow", "nearest is 'split_overlap'"),
    (END, "allow: {few_item@gain: so}\n" + END, "allow", "nearest is 'few_items'"),
    (END, "allow: {few_items: ' '}\n" + END, "allow", "needs a reason"),
    (END, "allow: {too_few_resources: so}\n" + END, "allow", "No trial could start"),
    (SMOKE, "    search: {trials: 4}", "search.trials", "unknown key"),
    ("profiles:\n", "profiles: 3\nxx:\n", "profiles", "map names"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "key", "words"), MALFORMED, ids=[m[1] for m in MALFORMED])
def test_fault_names_file_key_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, key: str, words: str
) -> None:
    assert old in GOOD
    path = tmp_path / "sweep.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_spec(path)
    where = caught.value.where or ""
    assert where.startswith(f"{path}:{key}" if key else str(path))
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("engine", "micro", "sizes", "refused"),
    [
        ("deepspeed", 16, "[16, 24]", "batch_size 24"),
        ("deepspeed", 8, "[16, 24]", None),
        ("deepspeed", 32, "[16, 24]", None),  # a batch in one piece
        ("deepspeed", 16, "{int: [16, 48], step: 16}", None),
        ("deepspeed", 16, "{int: [16, 48], step: 8}", "batch_size 24"),
        ("deepspeed", 6, "{value: 12, when: {method: lora}}", "batch_size 16"),
        ("deepspeed", 6, "12", None),
        ("torch", 6, "[16, 24]", None),
    ],
)
def test_every_batch_of_the_space_fits_its_micro_batches(
    tmp_path: Path, engine: str, micro: int, sizes: str, refused: str | None
) -> None:
    text = GOOD.replace(RATE, f"{RATE}\n  batch_size: {sizes}")
    text += f"training: {{engine: {engine}, micro_batch_size: {micro}}}\n"
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    if refused is None:
        load_spec(path)
        return
    with pytest.raises(UserError, match=refused) as caught:
        load_spec(path)
    assert (caught.value.where or "").startswith(f"{path}:space.batch_size (line")


def test_the_longest_name_makes_an_id(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(GOOD.replace("name: ticket-routing", f"name: {'x' * 57}"))
    check_id(sweep_id(load_spec(path).spec.name, {}))
    path.write_text(GOOD.replace("name: ticket-routing", f"name: {'x' * 58}"))
    with pytest.raises(UserError, match="1 to 57"):
        load_spec(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("- a\n", "mapping"),
        ("name: a\n---\nname: b\n", "another document"),
        ("name:\ta\n\tmodels: b", "tabs"),
        ("name: !!python/object/apply:os.system [ls]\n", "python"),
        ("a: &a [x]\nb: [" + ", ".join(["*a"] * 60) + "]\n", "aliases"),
    ],
)
def test_what_is_no_spec_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        load_spec(path)


def test_the_line_of_the_fault_is_said(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(GOOD.replace("seeds: 3", "seeds: 0"))
    line = GOOD[: GOOD.index("confirm:")].count("\n") + 1
    with pytest.raises(UserError, match=rf"confirm\.seeds \(line {line}\)"):
        load_spec(path)


def test_the_line_of_a_fault_in_a_profile_is_the_profiles(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(GOOD.replace("confirm.finalists: 2", "confirm.finalists: 0"))
    line = GOOD[: GOOD.index("confirm.finalists")].count("\n") + 1
    with pytest.raises(UserError, match=rf"confirm\.finalists \(line {line}\)"):
        load_spec(path)


def test_the_example_of_the_readme_loads(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(GOOD)
    loaded = load_spec(path)
    assert [m.id for m in loaded.spec.models] == ["m0", "m1"]
    assert {n: measures_of(n, s) for n, s in loaded.spec.suites.items()} == {
        "gain": "gain",
        "forgetting": "forgetting",
    }
    assert {p.name for p in spec_space(loaded).parameters} == {
        "learning_rate",
        "lora.rank",
        "method",
    }
    smoke = load_spec(path, "smoke").spec
    assert (smoke.search.trials_per_model, smoke.confirm.finalists, smoke.confirm.seeds) == (
        4,
        2,
        3,
    )


def test_an_unknown_profile_names_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(GOOD)
    with pytest.raises(UserError, match="Known profiles: smoke"):
        load_spec(path, "smok")


def test_profiles_merge_nested_and_dotted_keys() -> None:
    base = {
        "search": {"seed": 1, "trials_per_model": 12},
        "space": {"lora.rank": {"int": [1, 4]}, "mixture": {"a": 1}},
        "models": ["a", "b"],
    }
    merged = merge(
        base,
        {
            "search.trials_per_model": 2,
            "space": {"lora.rank": {"log_int": [2, 8]}},
            "space.lora.alpha": 8,
            "models": ["c"],
            "confirm.seeds": 2,
            "search": {"seed": None},
        },
    )
    assert merged == {
        "search": {"trials_per_model": 2},
        "space": {"lora.rank": {"log_int": [2, 8]}, "mixture": {"a": 1}, "lora.alpha": 8},
        "models": ["c"],
        "confirm": {"seeds": 2},
    }


keys = st.sampled_from(["search", "confirm", "seed", "space", "a"])
trees = st.recursive(
    st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(keys, trees, max_size=4)


@given(mappings, mappings)
def test_merging_twice_is_merging_once(
    base: dict[str, object], overrides: dict[str, object]
) -> None:
    before = repr(base)
    merged = merge(base, overrides)
    assert merge(merged, overrides) == merged
    assert merge(base, {}) == base
    assert repr(base) == before
    for key, value in overrides.items():
        if not isinstance(value, dict):
            assert merged[key] == value
    assert {k: v for k, v in merged.items() if k not in overrides} == {
        k: v for k, v in base.items() if k not in overrides
    }
