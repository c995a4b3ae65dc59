"""Texts in another language than the others are found where there are letters enough to tell."""

from keepgain.core.rows import Row
from keepgain.sweeps.gates.language import check_language, sampled
from keepgain.sweeps.gates.material import RowSet
from tests.sweeps.gates.whole import whole

ENGLISH = [
    "The committee has agreed that the new bridge will be opened in spring.",
    "Nobody knows why the clock in the hall stopped at a quarter past nine.",
    "You may copy this text as long as you keep the name of its author.",
    "Most of the farmers in the valley still bring in the hay by hand.",
    "He asked whether the last train to the coast had already left the station.",
]
OTHERS = [
    "Der Ausschuss hat beschlossen, dass die neue Brücke im Frühling eröffnet wird.",
    "Personne ne sait pourquoi l'horloge du salon s'est arrêtée à neuf heures.",
    "La mayoría de los campesinos del valle todavía recogen el heno a mano.",
    "Комитет решил, что новый мост будет открыт весной следующего года.",
    "委员会决定新桥将在明年春天开放，大家都很高兴。",
]


def texts(lines: list[str]) -> RowSet:
    rows = [Row(str(i), "text", text=t) for i, t in enumerate(lines)]
    return RowSet("d/train", "train", rows, [f"f:{i + 1}" for i in range(len(rows))], role="task")


def test_other_languages_are_found_among_most_texts_of_one() -> None:
    (found,) = check_language([texts([*ENGLISH * 10, *OTHERS])])
    assert (found.code, found.severity) == ("wrong_language", "warning")
    assert (found.count, found.of, found.rows) == (5, 55, ("f:51", "f:52", "f:53"))
    assert "5 of 55 texts looked at are not in en" in found.message
    assert whole(found) == [51, 52, 53, 54, 55]


def test_the_languages_of_the_spec_go_before_the_majority() -> None:
    (found,) = check_language([texts(ENGLISH * 10 + OTHERS[:1])], ["de-AT"])
    assert found.count == 50
    assert check_language([texts(ENGLISH * 10 + OTHERS[:1])], ["en", "de"]) == []


def test_short_texts_and_code_are_counted_and_not_judged() -> None:
    lines = [*ENGLISH * 10, "T:vpn crit 73=", "eg1 xk1", "guten Tag", "f(x)=[1,2,3];" * 8]
    assert check_language([texts(lines)]) == []
    (found,) = check_language([texts([*lines, OTHERS[0]])])
    assert found.figures["not_looked_at"] >= 3
    assert check_language([texts(["T:vpn crit 73="] * 500)]) == []


def test_a_source_of_two_languages_is_at_home_in_both() -> None:
    lines = ENGLISH * 10 + OTHERS[:1] * 30
    assert check_language([texts(lines)]) == []


def test_answers_of_translations_have_a_language_of_their_own() -> None:
    rows = [Row(str(i), "pair", prompt=ENGLISH[i % 5], answer=OTHERS[0]) for i in range(50)]
    rows[9] = Row("9", "pair", prompt=ENGLISH[0], answer=ENGLISH[1])
    (found,) = check_language([RowSet("d/train", "train", rows, [str(i) for i in range(50)])])
    assert found.rows == ("9",) and "1 of 50 answers looked at are not in de" in found.message


def test_large_sources_are_sampled_the_same_in_every_run_and_say_so() -> None:
    (found,) = check_language([texts(ENGLISH * 20 + OTHERS * 10)], sample=60)
    assert "of 60 rows drawn" in found.message and found.of == 60
    assert sampled(10, 20).tolist() == list(range(10))
    chosen = sampled(1000, 50)
    assert len(set(chosen.tolist())) == 50 and (chosen == sampled(1000, 50)).all()
    assert (chosen[1:] > chosen[:-1]).all()
