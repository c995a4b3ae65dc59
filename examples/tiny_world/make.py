"""Makes the quickstart's data and its base models.

examples:
  python examples/tiny_world/make.py data --out examples/quickstart/data
  python examples/tiny_world/make.py bases --out examples/quickstart/bases
  python examples/tiny_world/make.py bases --only xs --out /tmp/bases
"""

from __future__ import annotations

import argparse
from pathlib import Path


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n", 1)[0],
        epilog=(__doc__ or "").split("\n", 2)[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    data = commands.add_parser("data", help="write the JSONL files (seconds, no torch)")
    data.add_argument("--out", type=Path, required=True, help="folder for the files")
    bases = commands.add_parser("bases", help="pretrain the base models (minutes)")
    bases.add_argument("--out", type=Path, required=True, help="folder for the model folders")
    bases.add_argument("--only", nargs="+", choices=("xs", "s", "m"), help="just these sizes")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    if options.command == "data":
        import datafiles

        for path in datafiles.write_all(options.out):
            print(f"{path}  {path.stat().st_size:,} bytes")
    else:
        import bases  # imports torch, which "data" does without

        bases.make(options.out, options.only or list(bases.SIZES))


if __name__ == "__main__":
    main()
