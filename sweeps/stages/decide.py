"""Decide: the decision as `analyze` makes it, kept beside the record; nothing is trained."""

from pathlib import Path

from keepgain.core.record import Evidence


def write_decision(evidence: Evidence, folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Writes `decision/decision.json` (the contract), `.txt` and `.md`.

    Returns:
        The files, and what puts the search itself in doubt, a sentence each: unsafe rungs, unequal
        effort.
    """
    from keepgain.analysis import render
    from keepgain.analysis.analyze import analyze
    from keepgain.analysis.contract import to_json

    analysis = analyze(evidence)
    target = folder / "decision"
    target.mkdir(exist_ok=True)
    texts = {
        "decision.json": to_json(analysis) + "\n",
        "decision.txt": render.text(analysis),
        "decision.md": render.markdown(analysis),
    }
    paths = [target / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths, analysis.cautions
