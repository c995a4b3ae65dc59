"""From a spec to configurations: splits, budgets, references, identity."""

import json
from pathlib import Path
from typing import Any

import huggingface_hub.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepgain.core.config import EarlyStopping
from keepgain.core.errors import UserError
from keepgain.core.identity import file_digest
from keepgain.core.rows import Row, read_rows
from keepgain.sweeps.data_files import bucket
from keepgain.sweeps.loaded_spec import spec_space
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.search.searchable import SEARCHABLE
from keepgain.sweeps.spec import load_spec
from tests.sweeps.tiny_models import TEMPLATE, make_model, make_world, spec_text, write_jsonl

ROOT = Path(__file__).parents[2]
END = "prices: {gpu"
PARAMS = {"method": "lora", "learning_rate": 1e-4, "lora.rank": 8}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"))


def prepared_with(folder: Path, old: str, new: str, **world: Any) -> Prepared:
    path = make_world(folder, **world)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return prepare(load_spec(path), None)


def test_preparing_without_a_folder_writes_nothing(world: Path) -> None:
    before = sorted(world.parent.rglob("*"))
    prepared = prepare(load_spec(world), None)
    assert sorted(world.parent.rglob("*")) == before
    assert all(not ref.path for ref in prepared.source_refs)


def test_written_rows_are_those_that_the_references_name(world: Path, tmp_path: Path) -> None:
    prepared = prepare(load_spec(world), tmp_path)
    for ref in prepared.source_refs:
        assert file_digest(Path(ref.path)) == ref.digest
        assert len(list(read_rows(Path(ref.path)))) == ref.rows
    for split in ("validation", "test"):
        for suite in prepared.score_suites(split):
            assert file_digest(Path(suite.path)) == suite.digest
            assert len(list(read_rows(Path(suite.path)))) == suite.items
    assert not list(tmp_path.rglob("*.partial"))


def test_identity_knows_neither_folder_nor_resources(world: Path, tmp_path: Path) -> None:
    here = prepare(load_spec(world), tmp_path)
    other = make_world(tmp_path / "elsewhere")
    other.write_text(other.read_text() + "resources: {slots: 1, cpus_per_trial: 2}\n")
    there = prepare(load_spec(other), None)
    assert here.sweep_id == there.sweep_id
    first, second = (p.trial_config("m0", PARAMS).trial_id for p in (here, there))
    assert first == second


@pytest.mark.parametrize(
    ("old", "new", "same_trial"),
    [
        ("delta: 0.02", "delta: 0.03", True),
        ("trials_per_model: 12", "trials_per_model: 13", True),
        ("gpu_hour_usd: 2.5}", "gpu_hour_usd: 2.5}\ntraining: {epochs: 2}", False),
        ("role: task, split: auto", "role: task, split: auto, limit: 300", False),
    ],
)
def test_an_edited_spec_is_a_new_sweep(
    world: Path, tmp_path: Path, old: str, new: str, same_trial: bool
) -> None:
    before = prepare(load_spec(world), None)
    after = prepared_with(tmp_path, old, new)
    assert after.sweep_id != before.sweep_id
    ids = [p.trial_config("m1", PARAMS).trial_id for p in (before, after)]
    assert (ids[0] == ids[1]) is same_trial


def test_the_threshold_of_rescoring_is_no_part_of_the_sweep(world: Path, tmp_path: Path) -> None:
    asked = "question: {delta: 0.02, max_forgetting: 0.03, cost: usd_per_million_tokens}"
    given = asked.replace("delta", "rescore_drop: 0.1, delta")
    assert (
        prepared_with(tmp_path / "a", asked, given).sweep_id
        == prepare(load_spec(world), None).sweep_id
    )
    alone = prepared_with(tmp_path / "b", asked, "question: {rescore_drop: 0.1}")
    assert alone.sweep_id == prepared_with(tmp_path / "c", asked, "").sweep_id


def test_splits_are_disjoint_and_about_80_10_10(world: Path) -> None:
    source = prepare(load_spec(world), None).sources["tickets"]
    parts = [{r.question() for r in p.rows} for p in (source.train, source.validation, source.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    assert sum(map(len, parts)) == 400
    assert 290 <= len(parts[0]) <= 350


@given(st.text(min_size=1), st.sampled_from(["", " ", "\t ", "\n"]))
def test_equal_questions_stay_on_one_side(question: str, space: str) -> None:
    row = Row("1", "pair", prompt=question, answer="a")
    copy = Row("2", "pair", prompt=space + question.replace(" ", "  ") + space, answer="b")
    assert bucket(row, 10, "split") == bucket(copy, 10, "split")


def test_a_row_stays_where_it_is_when_the_file_grows(tmp_path: Path) -> None:
    small = prepare(load_spec(make_world(tmp_path / "small", rows=300)), None)
    large = prepare(load_spec(make_world(tmp_path / "large", rows=600)), None)
    tests = [{r.prompt for r in p.sources["tickets"].test.rows} for p in (small, large)]
    assert tests[0] < tests[1]


def test_budget_is_epochs_of_task_tokens(world: Path) -> None:
    prepared = prepare(load_spec(world), None)
    task = prepared.token_stats["m0", "tickets/train"]
    characters = sum(len(r.prompt + r.answer) for r in prepared.sources["tickets"].train.rows)
    assert task.tokens == characters + task.rows  # one token a character, and the end
    assert (prepared.budget, prepared.budget_unit) == (3 * task.tokens, "tokens")
    assert prepared.rungs == (prepared.budget,)


def test_rungs_are_shares_of_the_budget(tmp_path: Path) -> None:
    training = "training: {budget_tokens: 900, rungs: [0.1111, 0.3333, 1]}\nprices: {gpu"
    assert prepared_with(tmp_path, "prices: {gpu", training).rungs == (100, 300, 900)


def test_models_of_different_tokenizers_share_a_budget_in_examples(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    make_model(tmp_path / "chatty", template=TEMPLATE)
    path.write_text(spec_text(["m0", "chatty"]))
    prepared = prepare(load_spec(path), None)
    rows = len(prepared.sources["tickets"].train.rows)
    assert (prepared.budget, prepared.budget_unit) == (3 * rows, "examples")
    plain, chat = (prepared.token_stats[m, "tickets/train"].tokens for m in ("m0", "chatty"))
    # <user> and <assistant> around each row, and one end more
    assert chat == plain + rows * (len("<user>") + len("<assistant>") + 1)


def test_tokens_of_different_tokenizers_are_refused_as_a_budget(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    make_model(tmp_path / "chatty", template=TEMPLATE)
    path.write_text(spec_text(["m0", "chatty"]) + "training: {budget_tokens: 100}\n")
    with pytest.raises(UserError, match=r"training\.budget_tokens .*budget_examples"):
        prepare(load_spec(path), None)


def test_a_trial_takes_params_over_training_defaults(tmp_path: Path) -> None:
    training = "training: {batch_size: 8, lora: {rank: 2, dropout: 0.1}, micro_batch_size: 4}\n"
    prepared = prepared_with(tmp_path, "prices: {gpu", training + "prices: {gpu")
    shares = {"mixture.tickets": 0.75, "mixture.general": 0.25}
    config = prepared.trial_config("m1", PARAMS | shares | {"batch_size": 4})
    assert (config.batch_size, config.lora and config.lora.rank) == (4, 8)
    assert config.lora is not None and config.lora.dropout == 0.1
    assert config.mixture == {"tickets": 0.75, "general": 0.25}
    assert config.runtime.micro_batch_size == 4
    assert {s.split for s in config.suites} == {"validation"}
    full = prepared.trial_config("m1", {"method": "full", "learning_rate": 0.1})
    assert full.lora is None


def test_duration_is_a_factor_on_the_budget_and_its_rungs(tmp_path: Path) -> None:
    training = "training: {budget_tokens: 900, rungs: [0.1111, 0.3333, 1]}\nprices: {gpu"
    prepared = prepared_with(tmp_path, "prices: {gpu", training)
    config = prepared.trial_config("m0", PARAMS | {"duration": 0.5})
    assert (config.budget, config.rungs) == (450, (50, 150, 450))
    plain = prepared.trial_config("m0", PARAMS)
    assert prepared.trial_config("m0", PARAMS | {"duration": 1.0}).trial_id == plain.trial_id


def test_early_stopping_is_part_of_every_trial_and_of_its_identity(tmp_path: Path) -> None:
    plain = prepared_with(tmp_path / "plain", "prices: {gpu", "prices: {gpu")
    asked = "{patience_tokens: 900, check_every_tokens: 300, min_improvement: 0.01}"
    line = f"training: {{early_stopping: {asked}}}\nprices: {{gpu"
    prepared = prepared_with(tmp_path / "stops", "prices: {gpu", line)
    configs = [p.trial_config("m0", PARAMS) for p in (plain, prepared)]
    assert configs[0].early_stopping is None
    assert configs[1].early_stopping == EarlyStopping(
        patience_tokens=900, check_every_tokens=300, min_improvement=0.01
    )
    assert configs[0].trial_id != configs[1].trial_id
    impatient = line.replace("900", "299")
    with pytest.raises(UserError, match="`patience_tokens` 299 is less") as caught:
        prepared_with(tmp_path / "fault", "prices: {gpu", impatient)
    assert "training.early_stopping (line" in str(caught.value.where)


def test_modules_of_adapters_are_as_the_space_names_them(world: Path) -> None:
    prepared = prepare(load_spec(world), None)
    some = prepared.trial_config("m0", PARAMS | {"lora.targets": "q_proj,up_proj"})
    assert some.lora is not None and some.lora.targets == ("q_proj", "up_proj")
    every = prepared.trial_config("m0", PARAMS | {"lora.targets": "all-linear"})
    assert every.trial_id == prepared.trial_config("m0", PARAMS).trial_id


def test_every_searchable_setting_reaches_the_trial(world: Path) -> None:
    prepared = prepare(load_spec(world), None)
    changed: dict[str, Any] = {
        "method": "full",
        "learning_rate": 0.5,
        "schedule": "cosine",
        "warmup_share": 0.4,
        "decay_share": 0.4,
        "weight_decay": 0.4,
        "max_grad_norm": 0.4,
        "batch_size": 3,
        "max_length": 33,
        "loss": "all_turns",
        "dropout": 0.1,
        "label_smoothing": 0.1,
        "neftune_alpha": 5.0,
        "group_dro_step": 0.1,
        "balance_strength": 0.5,
        "retention.l2_sp": 0.1,
        "retention.ewc": 0.1,
        "retention.lwf": 0.1,
        "retention.kl": 0.1,
        "retention.temperature": 2.0,
        "duration": 2.0,
        "rows": 7,
        "replay_share": 0.3,
        "synthetic_share": 0.0,  # there is no synthetic source here
        "lora.rank": 3,
        "lora.alpha": 3.0,
        "lora.dropout": 0.3,
        "lora.targets": "q_proj",
    }
    assert changed.keys() == SEARCHABLE.keys()
    plain = prepared.trial_config("m0", PARAMS)
    for name, value in changed.items():
        same = name == "synthetic_share"
        assert (prepared.trial_config("m0", PARAMS | {name: value}) == plain) is same, name


GENERAL = "  general: {path: general.jsonl, role: replay}\n"
MORE = (
    GENERAL
    + "  code: {path: code.jsonl, role: replay}\n  made: {path: made.jsonl, role: synthetic}\n"
)


def mixed_world(folder: Path, training: str = "") -> Prepared:
    """Of the task, two replay sources of 100 and 300 rows, and a synthetic one."""
    path = make_world(folder, models=1)
    for name, rows in (("code", 300), ("made", 50)):
        write_jsonl(folder / f"{name}.jsonl", [{"text": f"{name} {i}"} for i in range(rows)])
    text = path.read_text().replace(GENERAL, MORE)
    text = text.replace("mixture: {tickets: [0.5, 1], general: [0, 0.5]}", "replay_share: [0, 0.4]")
    path.write_text(text + training)
    return prepare(load_spec(path), None)


@pytest.mark.parametrize(
    ("training", "params", "shares"),
    [
        ("", {"replay_share": 0.4}, {"tickets": 0.6, "general": 0.1, "code": 0.3}),
        ("", {"replay_share": 0.0}, {"tickets": 1.0}),
        (
            "",
            {"replay_share": 0.4, "synthetic_share": 0.5},
            {"tickets": 0.3, "general": 0.1, "code": 0.3, "made": 0.3},
        ),
        ("", {"synthetic_share": 0.25}, {"tickets": 0.75, "made": 0.25}),
        (  # `training.mixture` weighs within a role, and fills in what is not searched
            "training: {mixture: {tickets: 0.6, made: 0.2, general: 0.15, code: 0.05}}\n",
            {"replay_share": 0.4},
            {"tickets": 0.45, "made": 0.15, "general": 0.3, "code": 0.1},
        ),
        (
            "training: {mixture: {tickets: 0.8, general: 0.2}}\n",
            {"synthetic_share": 0.5},
            {"tickets": 0.4, "made": 0.4, "general": 0.2},
        ),
    ],
)
def test_shares_of_roles_become_shares_of_sources(
    tmp_path: Path, training: str, params: dict[str, Any], shares: dict[str, float]
) -> None:
    config = mixed_world(tmp_path, training).trial_config("m0", PARAMS | params)
    assert config.mixture == pytest.approx(shares)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "role: replay",
            "role: task",
            r"space\.replay_share \(line \d+\): .*no source has the role",
        ),
        ("replay_share: [0, 0.4]", "synthetic_share: 0.1", r"no source has the role synthetic"),
        ("role: task", "role: synthetic", r"no source has the role task"),
    ],
)
def test_a_share_of_a_role_without_a_source_is_refused(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    path = make_world(tmp_path, models=1)
    text = path.read_text()
    text = text.replace("mixture: {tickets: [0.5, 1], general: [0, 0.5]}", "replay_share: [0, 0.4]")
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=words):
        load_spec(path)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("rows: [100, 900]", r"space\.rows \(line \d+\): 900 rows .*'tickets' has 3\d\d training"),
        ("rows: {int: [100, 900]}", r"900 rows are asked for"),
        ("lora.targets: [[q_proj, k_proj]]", r"space\.lora\.targets .*m0 has no module 'k_proj'"),
    ],
)
def test_what_data_or_models_do_not_have_is_refused(tmp_path: Path, space: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        prepared_with(tmp_path, "  mixture:", f"  {space}\n  mixture:")


@pytest.mark.parametrize("domain", ["far", "near"])
def test_the_grid_of_the_benchmark_is_that_of_its_recorder(
    domain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "search"))
    import grid

    prepared = grid.prepared_grid(domain, None)
    space, models = spec_space(prepared.loaded), [m.ref.name for m in prepared.models]
    ids = [
        prepared.trial_config(m, space.resolve(raw)).trial_id
        for m in models
        for raw in space.grid()
    ]
    recorded = [grid.trial_config(prepared, cell).trial_id for cell in grid.cells(tuple(models))]
    assert len(recorded) == len(set(recorded)) == 540
    assert sorted(ids) == sorted(recorded)
    if domain == "far":  # of the recording itself: identities do not change
        cell = grid.Cell("s", "lora", 2e-4, 0.02, 0.0)
        assert grid.trial_config(prepared, cell).trial_id == "e25d8f1272a4"


def test_without_a_mixture_the_task_is_trained_on_alone(world: Path) -> None:
    config = prepare(load_spec(world), None).trial_config("m0", PARAMS)
    assert config.mixture == {"tickets": 1.0}
    assert [s.name for s in config.sources] == ["tickets"]


def test_reference_arms_by_default_and_as_asked(world: Path, tmp_path: Path) -> None:
    prepared = prepare(load_spec(world), None)
    (arm,) = prepared.arms
    assert arm.arm == "few_shot" and len(arm.few_shot) == 4
    trained = {(r.prompt, r.answer) for r in prepared.sources["tickets"].train.rows}
    assert all((e["prompt"], e["answer"]) in trained for e in arm.few_shot)
    base, shot = prepared.base_config("m0"), prepared.base_config("m0", arm)
    assert base.trial_id != shot.trial_id
    assert prepared.base_config("m0", arm, "test").suites[0].split == "test"
    asked = 'reference_arms: [{system_prompt: "Route."}, {few_shot: 2}]\nprices: {gpu'
    arms = prepared_with(tmp_path, "prices: {gpu", asked).arms
    assert [(a.arm, a.system_prompt, len(a.few_shot)) for a in arms] == [
        ("system_prompt", "Route.", 0),
        ("few_shot", None, 2),
    ]


def test_context_is_an_arm_where_rows_have_one(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    rows = [{"prompt": f"q {i}", "answer": "a", "passage": f"p {i}"} for i in range(300)]
    write_jsonl(tmp_path / "tickets.jsonl", rows)
    text = path.read_text().replace("split: auto", "split: auto, fields: {context: passage}")
    path.write_text(text)
    assert [a.arm for a in prepare(load_spec(path), None).arms] == ["few_shot", "context"]


def test_context_of_other_suites_makes_no_arm(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    rows = [{"text": f"other fact {i}", "context": "p"} for i in range(300)]
    write_jsonl(tmp_path / "general_eval.jsonl", rows)
    prepared = prepare(load_spec(path), None)
    assert prepared.suites["forgetting"].validation.rows[0].context == "p"
    assert [a.arm for a in prepared.arms] == ["few_shot"]
    path.write_text(path.read_text() + "reference_arms: [{context: true}]\n")
    with pytest.raises(UserError, match="measures gain has a context"):
        prepare(load_spec(path), None)


def test_chats_are_counted_and_give_worked_examples(tmp_path: Path) -> None:
    path = make_world(tmp_path, models=1)
    answer = {"role": "assistant", "content": "a"}
    rows = [{"messages": [{"role": "user", "content": f"q {i}"}, answer]} for i in range(300)]
    write_jsonl(tmp_path / "tickets.jsonl", rows)
    prepared = prepare(load_spec(path), None)
    assert prepared.sources["tickets"].format == "messages"
    assert prepared.arms[0].few_shot[0]["answer"] == "a"


def test_long_files_are_sampled_and_said_to_be(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = prepare(load_spec(world), None).token_stats["m0", "tickets/train"]
    monkeypatch.setattr("keepgain.sweeps.gates.tokens.SAMPLE", 50)
    sampled = prepare(load_spec(world), None).token_stats["m0", "tickets/train"]
    assert sampled.is_sample and not exact.is_sample
    assert sampled.tokens == pytest.approx(exact.tokens, rel=0.05)


def test_parameters_are_those_stored(world: Path) -> None:
    sizes = {m.ref.name: m.parameters for m in prepare(load_spec(world), None).models}
    assert sizes == {"m0": 97 * 8 + 64 + 128 + 8, "m1": 97 * 16 + 256 + 512 + 16}


def break_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


BROKEN_MODELS = {
    "no such folder": (lambda f: None, "./nowhere", "no model folder"),
    "no config": (lambda f: (f / "config.json").unlink(), "m0", "no config.json"),
    "bad config": (lambda f: (f / "config.json").write_text("{"), "m0", "not readable as JSON"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "m0", "no tokenizer.json"),
    "bad tokenizer": (lambda f: (f / "tokenizer.json").write_text("{}"), "m0", "as a tokenizer"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "m0", "no .*safetensors"),
    "short weights": (
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-9]
        ),
        "m0",
        "not a whole safetensors",
    ),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "m0", "not a whole"),
    "masked LM": (
        lambda f: break_config(f, architectures=["BertForMaskedLM"]),
        "m0",
        "not a causal language model: its architecture is BertForMaskedLM",
    ),
    "unknown type": (
        lambda f: break_config(f, architectures=None, model_type="vit"),
        "m0",
        "its model_type is vit",
    ),
    "bad template": (
        lambda f: (f / "chat_template.jinja").write_text("{% if %}"),
        "m0",
        "not valid Jinja",
    ),
    "template that refuses": (
        lambda f: (f / "chat_template.jinja").write_text("{{ raise_exception('no system') }}"),
        "m0",
        "refuses the row .* no system",
    ),
    "same name twice": (lambda f: None, "m0, ./m0", "two models are called 'm0'"),
}


@pytest.mark.parametrize("case", BROKEN_MODELS)
def test_an_unusable_model_is_refused(tmp_path: Path, case: str) -> None:
    spoil, models, words = BROKEN_MODELS[case]
    path = make_world(tmp_path, models=1)
    path.write_text(spec_text([models]))
    spoil(tmp_path / "m0")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=words):
        prepare(load_spec(path), None)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_hub_model_offline_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    path = make_world(tmp_path, models=1)
    path.write_text(spec_text(["nobody/no-such-model"]))
    with pytest.raises(UserError, match=r"models\.0 .*not in the local cache"):
        prepare(load_spec(path), None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("GatedRepoError", "is gated.*hf auth login"),
        ("RepositoryNotFoundError", "no model 'org/tiny' on the Hugging Face Hub"),
        ("RevisionNotFoundError", "no revision 'v9'"),
        ("LocalEntryNotFoundError", "the Hub cannot be reached"),
        ("OfflineModeIsEnabled", "the Hub cannot be reached"),
    ],
)
def test_faults_of_the_hub_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, words: str
) -> None:
    kind = getattr(huggingface_hub.errors, error)

    def download(*_: Any, local_files_only: bool = False, **__: Any) -> str:
        raise (
            huggingface_hub.errors.LocalEntryNotFoundError("")
            if local_files_only
            else (kind.__new__(kind))
        )

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    path = make_world(tmp_path, models=1)
    path.write_text(spec_text(["{id: org/tiny, revision: v9}"]))
    with pytest.raises(UserError, match=words):
        prepare(load_spec(path), None)


def test_a_cached_hub_model_is_used_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cache, commit = tmp_path / "hub", "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    make_model(cache / "models--org--tiny" / "snapshots" / commit)
    (cache / "models--org--tiny" / "refs").mkdir()
    (cache / "models--org--tiny" / "refs" / "main").write_text(commit)
    path = make_world(tmp_path / "world", models=1)
    path.write_text(spec_text(["org/tiny"]))
    (model,) = prepare(load_spec(path), None).models
    assert (model.ref.name, model.ref.revision) == ("tiny", commit)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("path: tickets.jsonl", "path: nowhere.jsonl", r"data\.tickets\.path .*no such file"),
        ("path: tickets.jsonl", "path: m0", "a directory"),
        ("path: general_eval.jsonl", "path: nowhere", r"suites\.forgetting\.path"),
        ("eval.jsonl,", "eval.jsonl, limit: 1,", "has no test items"),
        ("scorer: bits_per_byte", "scorer: exact_match", "no answer"),
        ("role: task", "role: replay", "no source is a task"),
        ("role: replay", "role: replay, fields: {prompt: body}", r"general\.jsonl:1: "),
        (END, "reference_arms: [{few_shot: 900}]\n" + END, "900 worked examples are wanted"),
        (END, "reference_arms: [{context: true}]\n" + END, "no item of a suite"),
    ],
)
def test_unusable_data_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = make_world(tmp_path, models=1)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=words):
        prepare(load_spec(path), tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before
