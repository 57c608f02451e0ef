"""PyTorch's functions of layers (`torch.nn.functional`), called on Variables: each calls the primitive of its name.

So a model that is written with them is ported without rewriting its forward. Those that are not here raise. A file for
each family; importing it registers its functions.
"""

from modgrad.interop.functions import activation, dropout, embedding, linear, loss, normalization, pooling, recurrent

__all__ = ["activation", "dropout", "embedding", "linear", "loss", "normalization", "pooling", "recurrent"]
