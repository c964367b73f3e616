"""``python -m policies.vla describe <checkpoint>``: what a checkpoint is and which structure it fits."""

from __future__ import annotations

import argparse
import sys

from envs.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or that of the error."""
    parser = argparse.ArgumentParser(prog="python -m policies.vla", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    describing = commands.add_parser("describe", help="groups, shapes, dtypes, and the structure they fit")
    describing.add_argument(
        "checkpoint", help="a .pt, .ckpt or .safetensors file, or a folder in our own format"
    )
    describing.add_argument(
        "--shapes", action="store_true", help="list every tensor with its shape and dtype too"
    )
    describing.add_argument(
        "--trust",
        action="store_true",
        help="read a file that holds more than tensors; doing so can run its code",
    )
    typed = parser.parse_args(arguments)
    try:
        from policies.vla.checkpoints import read_tensors
        from policies.vla.describe import as_text, describe_tensors

        tensors = read_tensors(typed.checkpoint, trust=typed.trust)
        if typed.shapes:
            for name, tensor in tensors.items():
                print(f"{name}  {tuple(tensor.shape)}  {str(tensor.dtype).removeprefix('torch.')}")
            print()
        print(as_text(describe_tensors(tensors)))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"vla needs the package {error.name!r}; type: pip install -e '.[vla]'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
