"""Optimizers, under PyTorch's names: update rules as pure functions, thin classes over them; schedules; averages; the
scaler of float16's losses.

A rule `f` gives the new parameter and state, and `f_` does the same in place on many parameters at once.
"""

from modgrad.optim import lr_scheduler, swa_utils
from modgrad.optim.adadelta import Adadelta, adadelta, adadelta_
from modgrad.optim.adafactor import Adafactor, adafactor
from modgrad.optim.adagrad import Adagrad, adagrad, adagrad_
from modgrad.optim.adam import Adam, AdamW, adam, adam_
from modgrad.optim.adamax import Adamax, adamax, adamax_
from modgrad.optim.asgd import ASGD, asgd, asgd_
from modgrad.optim.clipping import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from modgrad.optim.grad_scaler import GradScaler
from modgrad.optim.lbfgs import LBFGS
from modgrad.optim.lion import Lion, lion, lion_
from modgrad.optim.muon import Muon, muon
from modgrad.optim.nadam import NAdam, nadam, nadam_
from modgrad.optim.optimizer import Optimizer
from modgrad.optim.radam import RAdam, radam, radam_
from modgrad.optim.rmsprop import RMSprop, rmsprop, rmsprop_
from modgrad.optim.rprop import Rprop, rprop, rprop_
from modgrad.optim.rule import RuleOptimizer
from modgrad.optim.sgd import SGD, sgd, sgd_
from modgrad.optim.sparse_adam import SparseAdam, sparse_adam, sparse_adam_

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "GradScaler",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "RuleOptimizer",
    "SparseAdam",
    "adadelta",
    "adadelta_",
    "adafactor",
    "adagrad",
    "adagrad_",
    "adam",
    "adam_",
    "adamax",
    "adamax_",
    "asgd",
    "asgd_",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "lion",
    "lion_",
    "lr_scheduler",
    "muon",
    "nadam",
    "nadam_",
    "radam",
    "radam_",
    "rmsprop",
    "rmsprop_",
    "rprop",
    "rprop_",
    "sgd",
    "sgd_",
    "sparse_adam",
    "sparse_adam_",
    "swa_utils",
]
