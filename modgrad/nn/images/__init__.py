"""Layers that give images another size or order, as in `functional/images`."""

from modgrad.nn.images.folding import *
from modgrad.nn.images.interpolation import *
from modgrad.nn.images.shuffling import *
