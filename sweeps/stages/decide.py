"""Decide: the decision as `analyze` makes it, kept beside the record; nothing is trained."""

from pathlib import Path

from keepgain.core.record import Evidence


def write_decision(evidence: Evidence, folder: Path) -> list[Path]:
    """Writes `decision/decision.json` (the contract), `.txt` and `.md`; returns the files."""
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
    return paths
