"""What goes to raters: nothing in it tells the arms apart; and what stays with the sender."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.review.bundle import Bundle, make_bundle, naming
from keepgain.sweeps.review.export import Exported, Wanted, export, lines
from keepgain.sweeps.review.page import to_html
from keepgain.sweeps.review.pair import Answered, Pair, Side
from keepgain.sweeps.review.sample import draw
from keepgain.sweeps.spec_review import ReviewSpec
from tests.sweeps.review.world import BASE, MODEL, RIVAL, SWEEP, TRIAL, evidence_of, store_with

N = 40
RUBRIC = {"clear": "Is it clear?", "true": "Is it true?"}


def pair(n: int = N) -> Pair:
    """Items on which the two answers differ, the longer ones a's."""
    items = tuple(
        Answered(
            suite="s",
            item=f"row-{i:04d}",
            question=f"Question {i}?",
            reference=f"reference {i}",
            a=f"A long answer to number {i}.",
            b=f"short {i}",
            lead=(i % 3) - 1,
            group="",
            cluster=None,
        )
        for i in range(n)
    )
    a = Side("3f9a1c88", "acme-nano 3f9a1c", "acme-nano", "3f9a1c88-s7")
    b = Side("b0b0b0b0", "acme-nano base", "acme-nano", "b0b0b0b0-s0")
    return Pair("tickets-7f3a2c", "test", ("s",), a, b, items)


def swapped(given: Pair) -> Pair:
    items = tuple(replace(i, a=i.b, b=i.a, lead=-i.lead) for i in given.items)
    return replace(given, a=given.b, b=given.a, items=items)


def bundle_of(given: Pair, seed: str = "secret-seed-0123") -> Bundle:
    sample = draw([item.unit for item in given.items], None, 1)
    return make_bundle(given, sample, seed, RUBRIC)


def page_of(given: Pair, seed: str = "secret-seed-0123") -> str:
    return to_html(bundle_of(given, seed), ReviewSpec(rubric=RUBRIC))


# -- blindness --------------------------------------------------------------------------------


def test_swapping_the_arms_gives_the_same_page_and_the_opposite_key() -> None:
    given = pair()
    assert page_of(swapped(given)) == page_of(given)
    one, other = bundle_of(given).key, bundle_of(swapped(given)).key
    assert list(one.items) == list(other.items)
    for name, item in one.items.items():
        assert {item.left, other.items[name].left} == {"a", "b"}
        assert item.lead == -other.items[name].lead


def test_the_page_names_neither_arm_run_model_sweep_suite_item_nor_seed() -> None:
    given, page = pair(), page_of(pair())
    named = [
        given.sweep,
        "secret-seed-0123",
        "row-0",
        "answer_a",
        '"a":',
        '"b":',
        "stratum",
        "lead",
    ]
    for side in (given.a, given.b):
        named += [side.trial, side.label, side.model, side.run]
    assert [name for name in named if name in page] == []
    assert "reference 3" not in page  # only where the spec says so


def test_sides_are_a_fair_coin_whatever_the_scorer_says() -> None:
    n = 900
    given = pair(n)
    left = [item.left == "a" for item in bundle_of(given).key.items.values()]
    assert abs(sum(left) - n / 2) < 4 * (n / 4) ** 0.5
    for lead in (-1, 0, 1):
        some = [k.left == "a" for k in bundle_of(given).key.items.values() if k.lead == lead]
        assert abs(sum(some) - len(some) / 2) < 4 * (len(some) / 4) ** 0.5
    of_one = [bundle_of(pair(1), f"seed {k}") for k in range(400)]
    sides = [next(iter(b.key.items.values())).left for b in of_one]
    assert abs(sides.count("a") - 200) < 4 * 10


def test_order_and_ids_follow_from_the_secret_seed_alone() -> None:
    given = pair()
    one, other = bundle_of(given, "seed one").key, bundle_of(given, "seed two").key
    assert [k.item for k in one.items.values()] != sorted(k.item for k in one.items.values())
    assert not set(one.items) & set(other.items)
    assert one.export != other.export
    assert all(re.fullmatch("[0-9a-f]{12}", name) for name in (*one.items, one.export))


def test_the_key_turns_what_is_shown_back_into_the_arms() -> None:
    given = pair()
    made = bundle_of(given)
    texts = {item.item: (item.a, item.b) for item in given.items}
    for shown in made.shown:
        item = made.key.items[shown.id]
        sides = (shown.left, shown.right)
        assert (sides if item.left == "a" else sides[::-1]) == texts[item.item]


def test_answers_that_say_a_models_name_are_counted() -> None:
    given = pair(3)
    told = replace(given.items[0], a="I am ACME-Nano, hello")
    given = replace(given, items=(told, *given.items[1:]))
    assert naming(["acme/acme-nano"], bundle_of(given).shown) == 1


# -- the page as a file -----------------------------------------------------------------------


def test_the_page_asks_for_nothing_from_outside_and_runs_its_own_script_alone() -> None:
    page = page_of(pair())
    assert not re.search(r"(src|href)=|https?:|url\(|@import", page)
    script = page[page.rindex("<script>") + len("<script>") : page.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page


def test_no_text_can_leave_its_place() -> None:
    given = pair(2)
    evil = "</script><img src=x onerror=alert(1)>\u202egnp\x1b[31m"
    given = replace(given, items=(replace(given.items[0], a=evil), given.items[1]))
    page = page_of(given)
    assert "<img" not in page and "\u202e" not in page and "\x1b" not in page
    data = page[page.index('id="data">') + len('id="data">') :]
    shown = json.loads(data[: data.index("</script>")])["items"]
    texts = {text for item in shown for text in (item["left"], item["right"])}
    assert "</script><img src=x onerror=alert(1)>gnp[31m" in texts


# -- out of a sweep's folder ------------------------------------------------------------------


def answers(n: int = N) -> dict[str, list[str]]:
    """A quarter alike (but for white space), the rest of other texts."""
    base = [f"I think that the answer is {i}." for i in range(n)]
    return {BASE: base, TRIAL: [f" {t}\n" if i % 4 == 0 else f"{i}" for i, t in enumerate(base)]}


def store(folder: Path, spec: str | None = None) -> Path:
    right = {BASE: [0] * N, TRIAL: [int(i % 4 == 1) for i in range(N)], RIVAL: [0] * N}
    groups = tuple("de" if i % 5 == 0 else "en" for i in range(N))
    store_with(folder, evidence_of(right, groups=groups), answers(), spec)
    return folder / ".keepgain"


def exported(folder: Path, spec: str | None = None, **wanted: object) -> Exported:
    right = {BASE: [0] * N, TRIAL: [int(i % 4 == 1) for i in range(N)], RIVAL: [0] * N}
    location = store_with(folder, evidence_of(right), answers(), spec)
    made = Wanted(**{"a": TRIAL, "b": "base", **wanted})  # type: ignore[arg-type]
    return export(location, SWEEP, made, folder / "out", seed="a secret")


def test_an_export_is_a_page_and_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    spec = {"review": {"rubric": RUBRIC, "instructions": "Be kind.", "show_reference": True}}
    made = exported(tmp_path, json.dumps(spec))
    page = (tmp_path / "out" / "review.html").read_text()
    key = json.loads((tmp_path / "out" / "key.json").read_text())
    assert (tmp_path / "out" / "key.json").stat().st_mode & 0o777 == 0o600
    assert (key["a"], key["b"], key["a_run"]) == (TRIAL, BASE, f"{TRIAL}-s0")
    assert (key["identical"], key["of"], len(key["items"])) == (10, 40, 30)
    assert made.sample.strata == {
        "other_score / answers": (10, 10),
        "same_score / answers": (20, 20),
    }
    assert all(text in page for text in ("Be kind.", "Is it clear?", "reference 1", "Question 1?"))
    assert MODEL not in page and "Question 0?" not in page  # answered alike: not asked about
    said = "\n".join(lines(made))
    assert "30 of 40 items on the page; 10 that both answered alike are ties" in said
    assert "a win rate 19.2 points from 50 % or more will be told from it" in said


def test_a_model_that_the_sweep_calls_otherwise_is_known_by_the_hubs_name(tmp_path: Path) -> None:
    for n, place in enumerate(({"id": "think/tank-1"}, {"path": "/models/think"})):
        spec = {"models": [{"name": MODEL, **place}, {"name": "other", "id": "a/answer"}]}
        # The base's answers: "I think that the answer is ..."
        assert exported(tmp_path / str(n), json.dumps(spec)).named == 30
    assert exported(tmp_path / "none").named == 0


def test_the_number_of_items_is_what_is_asked_for_or_what_the_resolution_needs(
    tmp_path: Path,
) -> None:
    assert len(exported(tmp_path / "a", items=12).sample.chosen) == 12
    # (.75)^2 * 196.2 * (.1/.25)^2 = 17.7
    assert len(exported(tmp_path / "b", resolve=0.25).sample.chosen) == 18


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--compare", "nope", "base"], "no trial, base or reference arm 'nope'"),
        (["--compare", TRIAL, TRIAL], "are both acme-nano 3f9a1c"),
        (["--compare", TRIAL, RIVAL], "no answers of acme-nano 77511c to the items of answers"),
        (["--compare", TRIAL, "base", "--split", "validation"], "(validation) are kept in"),
        (["--compare", TRIAL, "base", "--suite", "x"], "no suite 'x'. It has: answers."),
        (["--compare", TRIAL, "base", "--items", "0"], "must be a number, `auto` or `all`"),
        (["--compare", TRIAL, "base", "--items", "9" * 5000], "must be a number, `auto` or `all`"),
        (["--compare", TRIAL, "base", "--resolve", "50"], "above 0 and below 50 points"),
        (["--compare", TRIAL, "base", "--items", "9", "--resolve", "5"], "is for --items auto"),
        ([], "has decided for no trial"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = store(tmp_path)
    out = tmp_path / "out"
    given = ["review", "export", SWEEP, "--store", str(place), "--to", str(out), *words]
    assert main(given) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_place_that_cannot_be_written_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["review", "export", SWEEP, "--store", str(store(tmp_path)), "--compare", TRIAL, "base"]
    (tmp_path / "file").write_text("")
    assert main([*words, "--to", str(tmp_path / "file" / "out")]) == 2
    assert "key.json: cannot be written (Not a directory)" in capsys.readouterr().err


def test_an_export_that_is_there_is_replaced_only_by_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["review", "export", SWEEP, "--store", str(store(tmp_path)), "--compare", TRIAL, "base"]
    words += ["--to", str(tmp_path / "out")]
    assert main(words) == 0
    first = (tmp_path / "out" / "key.json").read_bytes()
    assert main(words) == 2
    assert "review.html and key.json are there already" in capsys.readouterr().err
    assert (tmp_path / "out" / "key.json").read_bytes() == first
    assert main([*words, "--force"]) == 0
    assert (tmp_path / "out" / "key.json").read_bytes() != first  # another secret seed


def test_two_that_answer_everything_alike_leave_nothing_to_ask(tmp_path: Path) -> None:
    same = ["yes"] * 4
    right = {BASE: [1] * 4, TRIAL: [1] * 4}
    location = store_with(tmp_path, evidence_of(right), {BASE: same, TRIAL: same})
    with pytest.raises(UserError, match="answered all 4 items alike"):
        export(location, SWEEP, Wanted(TRIAL, "base"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("review", "message"),
    [
        ({"rubric": {"1": "Good?"}}, "must begin with a letter"),
        ({"rubric": {"good": " "}}, "'good' needs a question"),
        ({"rubrik": {}}, "unknown key 'rubrik'"),
    ],
)
def test_a_rubric_that_cannot_be_is_refused(
    review: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        exported(tmp_path, json.dumps({"review": review}))
