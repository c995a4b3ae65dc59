"""What `sweep` and `cluster` share as command lines: a module a command, an error in one line."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from keepgain.core.errors import EXIT_INTERRUPTED, EXIT_OK, KeepgainError
from keepgain.core.terminal import show_faults_redacted, shown


def run_command(
    parser: Callable[[Sequence[str]], argparse.ArgumentParser], argv: Sequence[str] | None
) -> int:
    """Parses, runs one command (`args.run`), and turns errors into one line and an exit code.

    Args:
        parser: Makes the parser for these words; its `prog` begins the line of an error.
        argv: The words; None: the process's own.
    """
    show_faults_redacted()
    words = sys.argv[1:] if argv is None else argv
    made = parser(words)
    args = made.parse_args(words)
    try:
        code: int = args.run(args)
        return code
    except KeepgainError as error:
        print(shown(f"{made.prog}: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{made.prog}: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; a second attempt to write must not complain.
        sys.stdout = None
        return EXIT_OK


def parser_of(
    prog: str,
    description: str,
    epilog: str,
    package: str,
    commands: Sequence[str],
    words: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """The parser of a program whose commands are modules of `package`, each with `add_parser`.

    Args:
        words: The command line. If it begins with a command, the others are not imported: some
            take a second.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    named = {name.strip("_").replace("_", "-"): name for name in commands}
    chosen = [named[word] for word in words[:1] if word in named]
    for name in chosen or commands:
        import_module(f"{package}.{name}").add_parser(subparsers)
    return parser
