"""How long rows are and how many are alike: what the data card tells of any set."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from keepgain.core.rows import Row

PROBE = "shape"


@dataclass(frozen=True)
class ShapeProbe:
    """Lengths in characters and words, and a digest of the content, of each row."""

    name: str = PROBE

    def measure(self, rows: Sequence[Row]) -> Mapping[str, npt.NDArray[np.generic]]:
        """`question`, `answer`, `words`: int32 of shape [rows]; `content`: uint64 of shape [rows],
        equal for rows with the same question and answer.

        A text counts as a question without an answer.
        """
        lengths = np.zeros((len(rows), 3), dtype=np.int32)
        content = np.zeros(len(rows), dtype=np.uint64)
        for i, row in enumerate(rows):
            question = row.question()
            words = len(question.split()) + len(row.answer.split())
            lengths[i] = len(question), len(row.answer), words
            digest = hashlib.blake2b(digest_size=8)
            for part in (question, "\0", row.answer):
                digest.update(part.encode("utf-8", "surrogatepass"))
            content[i] = int.from_bytes(digest.digest(), "little")
        question_, answer, words_ = lengths.T
        return {"question": question_, "answer": answer, "words": words_, "content": content}
