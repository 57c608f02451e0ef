"""Clipping of gradients, as `nn.utils` has it too."""

from modgrad.functional.clipping import clip_factor as clip_factor
from modgrad.functional.clipping import clip_grad_norm_ as clip_grad_norm_
from modgrad.functional.clipping import clip_grad_value_ as clip_grad_value_
from modgrad.functional.clipping import clip_grads_with_norm_ as clip_grads_with_norm_
from modgrad.functional.clipping import get_total_norm as get_total_norm
from modgrad.functional.clipping import total_norm as total_norm
