"""What PyTorch has under the names of `nn` and `nn.utils` that is not here, and what to do in its place."""

from __future__ import annotations

_SEVERAL = "it trains on several devices at once, which is not there yet"
_REWRITES = "it computes a parameter anew at each call: write a Module whose forward does so"
REASONS = {
    "DataParallel": _SEVERAL,
    "parallel": _SEVERAL,
    "weight_norm": _REWRITES,
    "remove_weight_norm": _REWRITES,
    "spectral_norm": _REWRITES,
    "remove_spectral_norm": _REWRITES,
    "parametrize": _REWRITES,
    "parametrizations": _REWRITES,
    "prune": _REWRITES,
    "modules": "every class is in modgrad.nn itself",
    "quantized": "integers have no derivative",
    "qat": "integers have no derivative",
    "UninitializedParameter": "left out with the lazy modules: say the sizes",
    "UninitializedBuffer": "left out with the lazy modules: say the sizes",
    "clip_grad_norm": "PyTorch has renamed it: write clip_grad_norm_",
}


def reason(name: str) -> str | None:
    """Why PyTorch's `nn.name` is not here; None for what is no name of PyTorch's that is known to be missing."""
    if name.startswith("Lazy"):
        return f"lazy modules are left out: write {name.removeprefix('Lazy')} with its sizes"
    return REASONS.get(name)


def refuse(module: str, name: str) -> AttributeError:
    """The error for a name that a module of this package has not."""
    why = reason(name)
    return AttributeError(f"module {module!r} has no attribute {name!r}" + (f": {why}" if why else ""))
