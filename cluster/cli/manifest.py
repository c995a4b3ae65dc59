"""`cluster manifest`: files for real machines."""

import argparse
from dataclasses import fields
from pathlib import Path

KINDS = ("kuberay", "slurm", "container")
EPILOG = """examples:
  cluster manifest kuberay --image example.org/keepgain:1 --nodes 8 --gpus 1 --to deploy
  cluster manifest slurm --nodes 4 --gpus 8 --cpus 64 --memory-gb 512 --to job
  cluster manifest container --gpus 0 --to image

Without --to they are printed. No file holds a secret. docs/cluster.md says how to use them.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command; an option that is not given has its default from `Machines`."""
    parser = subparsers.add_parser(
        "manifest",
        help="files for real machines: KubeRay, Slurm, a container image",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="write them there")
    parser.add_argument("--name", help="first part of all names; default: keepgain")
    parser.add_argument("--image", help="kuberay: made from the container file")
    parser.add_argument("--nodes", type=int, help="workers beside the head; slurm: nodes in all")
    parser.add_argument("--cpus", type=int, help="of each worker; default: 8")
    parser.add_argument("--gpus", type=int, help="of each worker; 0: none; default: 1")
    parser.add_argument("--memory-gb", type=int, help="of each worker; default: 64")
    parser.add_argument("--hours", type=int, help="slurm: time limit; default: 24")
    parser.add_argument("--partition", help="slurm")
    parser.add_argument("--shared", metavar="FOLDER", help="that all nodes have")
    parser.add_argument("--venv", metavar="FOLDER", help="slurm: with Keepgain, on all nodes")
    parser.add_argument("--storage-gb", type=int, help="kuberay: the shared volume; default: 500")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints or writes them."""
    from keepgain.cluster.manifest import Machines, render, write

    given = {f.name: getattr(args, f.name) for f in fields(Machines) if hasattr(args, f.name)}
    files = render(args.kind, Machines(**given))
    folder = getattr(args, "to", None)
    if folder is None:
        print("\n".join(f"# ---- {name}\n{text}" for name, text in files.items()), end="")
        return 0
    for path in write(files, folder):
        print(path)
    return 0
