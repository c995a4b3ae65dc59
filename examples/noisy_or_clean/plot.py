"""analyze ID curves --format json | python examples/noisy_or_clean/plot.py curve.svg

Draws every curve of gain that was assessed: points with their own 95 % intervals, and the band that
holds for the whole curve at once.
"""

import json
import sys
from typing import Any


def main(target: str) -> None:
    """One panel a base model and setting."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    found = json.load(sys.stdin)["data"]["amounts"]
    curves = [c for c in found if c["measure"] == "gain" and c["part"] is None and c["points"]]
    if not curves:
        sys.exit("no curve of gain: no amount of data varies, or it was not assessed")
    style = {"svg.hashsalt": "keepgain", "axes.spines.top": False, "axes.spines.right": False}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(
            1, len(curves), figsize=(5.6 * len(curves), 3.6), squeeze=False, layout="constrained"
        )
        for axis, curve in zip(axes.flat, curves, strict=True):
            draw(axis, curve)
        figure.savefig(target, metadata={"Date": None} if target.endswith(".svg") else None)


def draw(axis: Any, curve: dict[str, Any]) -> None:
    """One curve."""
    points = curve["points"]
    at = [p["at"] for p in points]
    values = [p["value"]["value"] for p in points]
    band = [p["low_all"] for p in points], [p["high_all"] for p in points]
    half = [p["value"]["high"] - v for p, v in zip(points, values, strict=True)]
    axis.fill_between(at, *band, color="#0072B2", alpha=0.15, lw=0, label="all points, 95 %")
    axis.errorbar(at, values, yerr=half, color="#0072B2", marker="o", ms=4, label="one point, 95 %")
    near = [(a, v) for a, v, p in zip(at, values, points, strict=True) if p["verdict"] == "within"]
    if near:
        label = f"within {curve['margin']:g} of the best"
        axis.scatter(*zip(*near, strict=True), s=110, fc="none", ec="#D55E00", label=label)
    axis.set_xlabel(curve["setting"])
    axis.set_ylabel("gain on validation")
    axis.set_title(f"{curve['model']}, {curve['trials']} configurations", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
