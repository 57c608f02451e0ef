"""Loads what `train.cpp` has trained into the model in Python, and counts its errors.

python examples/cpp/evaluate.py FOLDER NAME
"""

from __future__ import annotations

import argparse
from pathlib import Path

from export_models import TASKS, make

from modgrad import load
from modgrad.helper import compute_nb_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", choices=TASKS)
    options = parser.parse_args()
    task = make(options.name)
    state = load(options.folder / f"{options.name}.trained.safetensors")
    model = task.step.model
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    wrong, of = compute_nb_errors(model, *task.test), len(task.test[1])
    print(f"{options.name}: test error {100 * wrong / of:.1f} %   ({wrong} of {of})")


if __name__ == "__main__":
    main()
