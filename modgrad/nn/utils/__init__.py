"""What goes with layers and is none, under PyTorch's names."""

from modgrad.nn.utils import rnn as rnn
