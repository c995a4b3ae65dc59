"""Personal data are counted by row and kind, and no finding shows them."""

from typing import Any

from keepgain.core.personal.find import KINDS
from keepgain.core.rows import Row
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.personal_data import PersonalProbe, check_personal_data
from tests.sweeps.gates.whole import whole


def row_set(texts: list[str], **kind: Any) -> RowSet:
    rows = [Row(str(i), "pair", prompt=t, answer="ok") for i, t in enumerate(texts)]
    places = [f"f:{i + 1}" for i in range(len(rows))]
    return RowSet("data/train", "train", rows, places, role="task", **kind)


def test_a_finding_counts_rows_and_shows_nothing_in_clear() -> None:
    texts = ["a@b.org and c@d.org", "no", "e@f.org", "key ghp_" + "a1B2" * 9]
    mail, secret = sorted(check_personal_data([row_set(texts)]), key=lambda f: f.code)
    assert (mail.code, mail.severity, mail.count, mail.of) == ("personal_data", "warning", 2, 4)
    assert mail.figures == {"found": 3.0, "share": 0.5}
    assert mail.rows == ("f:1", "f:3") and whole(mail) == [1, 3]
    assert mail.message == "email: 3 in 2 of 4 rows, e.g. a***@b***.org, e***@f***.org."
    assert secret.code == "secrets_in_rows" and "a1B2" not in secret.message


def test_the_answer_of_a_chat_and_its_prompt_are_both_looked_at() -> None:
    chat = (
        {"role": "user", "content": "who? a@b.org"},
        {"role": "assistant", "content": "c@d.org"},
    )
    counts = PersonalProbe().measure([Row("1", "chat", chat, answer="c@d.org")])["counts"]
    assert counts.shape == (1, len(KINDS)) and counts[0, KINDS.index("email")] == 2
    assert PersonalProbe().measure([])["counts"].shape == (0, len(KINDS))


def test_what_a_long_row_has_is_counted_whole() -> None:
    mails = " ".join(f"user{i}@mail{i}.com" for i in range(12_000))
    counts = PersonalProbe().measure([Row("1", "text", text=mails)])["counts"]
    assert counts.sum() == 12_000
