"""python -m modgrad.check package.module:Class: check the derivatives of a module from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from modgrad.check.gradients import gradients
from modgrad.check.guess import inputs_for
from modgrad.check.target import UsageError, module_of

_DESCRIPTION = "Compare the derivatives that a module states with central differences, in float64."
_EPILOG = """\
examples:
  python -m modgrad.check "modgrad.nn:Linear(3, 2)"
  python -m modgrad.check mymodel:Net --input 8,1,28,28
  python -m modgrad.check modgrad.nn:CrossEntropyLoss --input 4,5 --input 4:int5

exit status: 0 if every derivative is right, 1 if one is wrong, 2 if the check could not be made.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what the command line names, print the report, and return the exit status."""
    parser = argparse.ArgumentParser(
        "python -m modgrad.check",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "target",
        help="package.module:Class, made without arguments or with literals, as in modgrad.nn:Linear(3, 2); or "
        "package.module:instance",
    )
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SHAPE",
        help="one of forward's inputs: 4,3 for normal numbers of shape (4, 3), 4:int5 for four integers from 0 to 4. "
        "Once for each. Without it: the module's example_inputs(), if it has them, or a guess",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default 0)")
    parser.add_argument("--elements", type=int, default=200, help="to compare in each tensor at most (default 200)")
    options = parser.parse_args(arguments)
    try:
        module = module_of(options.target)
        inputs, sentence = inputs_for(module, options.input, options.seed)
        report = gradients(module, *inputs, elements=options.elements, seed=options.seed)
    except UsageError as error:
        parser.error(str(error))
    except Exception as error:
        parser.error(f"{options.target}: {type(error).__name__}: {error}")
    sys.stdout.write(f"{report}\n\n{sentence}\n")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
