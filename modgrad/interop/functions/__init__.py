"""PyTorch's functions of layers (`torch.nn.functional`), called on Variables: each calls the primitive of its name.

So a model that is written with them is ported without rewriting its forward. Those that are not here raise. A file for
each family; importing it registers its functions.
"""

from modgrad.interop.functions import activation, dropout, embedding, likelihood, linear, loss, normalization, pooling

__all__ = ["activation", "dropout", "embedding", "likelihood", "linear", "loss", "normalization", "pooling"]
