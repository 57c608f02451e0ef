"""The recorded graph: values, calls, modules, and the walk back through them. No formula, no layer.

In the order that data goes through: `module` (Module) is called, with its `hooks` around it, and calls a `primitive`
(Primitive), which leaves a `call` (Call) and gives a `variable` (Variable, Parameter); `dispatch` turns operators into
primitives; `walk` goes back, also through what `recompute` marks and `again` computes once more; `mode` holds the
switches, `autocast` says in which dtypes a call runs, by PyTorch's `lists`; `randomness` is what is drawn from where
torch's generator must not be. `tensors` converts and loads all of a module at once.
"""

from modgrad.graph.autocast import autocast
from modgrad.graph.call import Call
from modgrad.graph.mode import keep_values, no_grad
from modgrad.graph.module import Buffer, Module
from modgrad.graph.primitive import Passing, Primitive, call_in_turn
from modgrad.graph.randomness import Randomness
from modgrad.graph.recompute import recompute
from modgrad.graph.variable import Parameter, Variable

__all__ = [
    "Buffer",
    "Call",
    "Module",
    "Parameter",
    "Passing",
    "Primitive",
    "Randomness",
    "Variable",
    "autocast",
    "call_in_turn",
    "keep_values",
    "no_grad",
    "recompute",
]
