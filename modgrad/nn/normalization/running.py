"""Normalizations with running statistics: BatchNorm1d to 3d, SyncBatchNorm, InstanceNorm1d to 3d."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from modgrad import functional
from modgrad.graph import Buffer, Module
from modgrad.nn.normalization.base import Normalization, wanted_of

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "SyncBatchNorm",
]


class WithRunningStatistics(Normalization):
    """y = (x - mean) / sqrt(var + eps) * weight + bias.

    The statistics are the input's own, and the running ones move towards them by `momentum`; or, in evaluation, they
    are the running ones, where there are any.
    """

    _added_to_state: ClassVar = {"num_batches_tracked": 2}
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    shapes: ClassVar[dict[int, str]] = {}  # of inputs, by how many dimensions they have; any of two or more if empty

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self._make_parameters(num_features, affine, affine and bias, device, dtype)
        track = track_running_stats
        zeros = torch.zeros(num_features, device=device, dtype=dtype)
        self.running_mean = Buffer(zeros if track else None)  # type: ignore[assignment]
        self.running_var = Buffer(torch.ones_like(zeros) if track else None)  # type: ignore[assignment]
        count = torch.tensor(0, dtype=torch.long, device=device) if track else None
        self.num_batches_tracked = Buffer(count)  # type: ignore[assignment]

    def reset_running_stats(self) -> None:
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        super().reset_parameters()

    def _apply(self, call: Any, input: Tensor) -> Tensor:
        """With the running statistics."""
        mean, variance, weight = self.running_mean, self.running_var, self.weight
        assert mean is not None
        assert variance is not None
        try:
            output = functional.batch_norm_apply(input, mean, variance, weight, self.bias, self.eps)
        except RuntimeError as error:
            raise self._wrong_dtype(input) or error from error
        call.own_statistics, call.wanted_of = False, wanted_of(call)
        kept = (input, mean, variance) if "weight" in call.parameters else (None, None, variance)
        if call.wanted or "weight" in call.parameters:
            call.save(*kept, weight)
        return output

    def _normalize(self, call: Any, input: Tensor, function: Any) -> tuple[Tensor, Tensor, Tensor]:
        """With the input's own statistics, by `function`. Gives the output, the mean and the unbiased variance."""
        weight = self.weight
        try:
            output, mean, scale, variance = function(input, weight, self.bias, self.eps)
        except RuntimeError as error:
            raise self._wrong_dtype(input) or error from error
        call.own_statistics, call.wanted_of = True, wanted_of(call)
        if call.wanted or "weight" in call.parameters:
            call.save(input, mean, scale, weight)
        return output, mean, variance

    def _move(self, mean: Tensor, variance: Tensor, momentum: Any) -> None:
        """Move the running statistics towards these."""
        running_mean, running_var = self.running_mean, self.running_var
        assert running_mean is not None
        assert running_var is not None
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_(variance.to(running_var.dtype), momentum)

    def _computed(self, call: Any, grad: Tensor) -> Sequence[Tensor | None]:
        if not call.saved:  # of the bias alone, for which nothing is needed
            return None, None, grad.sum([0, *range(2, grad.dim())])
        input, mean, spread, weight = call.saved
        if call.own_statistics:
            return self._backward_function(grad, input, mean, spread, weight, call.wanted_of)
        return functional.batch_norm_apply_backward(grad, input, mean, spread, weight, self.eps, call.wanted_of)

    _backward_function: Any

    def _explained(self, input: Tensor) -> ValueError:
        shapes = " or ".join(self.shapes.values()) or "(N, {C}, ...)"
        return ValueError(
            f"{self} was given an input of shape {tuple(input.shape)}: expected {shapes.format(C=self.num_features)}"
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm(WithRunningStatistics):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel.   input (N, num_features, ...).

    In training the statistics are the batch's own, and the running ones move towards them by `momentum` (by 1 / number
    of batches if it is None); in evaluation they are the running ones, where there are any.
    """

    _backward_function = staticmethod(functional.batch_norm_backward)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        shape = input.shape
        if len(shape) not in self.shapes if self.shapes else len(shape) < 2:
            raise self._explained(input)
        if shape[1] != self.num_features:
            raise self._explained(input)
        if not self.training and self.running_mean is not None:
            return self._apply(call, input)
        if shape[0] * math.prod(shape[2:]) == 1:
            raise ValueError(
                f"{self} by the batch's own statistics needs more than one value for each channel, got {tuple(shape)}"
            )
        if self.eps <= 0:
            raise ValueError(f"{self}: eps must be positive where the batch's own statistics are used")
        output, mean, variance = self._normalize(call, input, functional.batch_norm)
        if self.training and self.running_mean is not None:
            momentum: Any = self.momentum
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
                momentum = 1 / self.num_batches_tracked.to(mean.dtype) if momentum is None else momentum
            if input.numel():  # an empty batch has no statistics
                self._move(mean, variance, momentum)
        return output


class BatchNorm1d(BatchNorm):
    __doc__ = (BatchNorm.__doc__ or "").replace("(N, num_features, ...)", "(N, num_features) or (N, num_features, L)")
    shapes: ClassVar[dict[int, str]] = {2: "(N, {C})", 3: "(N, {C}, L)"}


class BatchNorm2d(BatchNorm):
    __doc__ = (BatchNorm.__doc__ or "").replace("...", "H, W")
    shapes: ClassVar[dict[int, str]] = {4: "(N, {C}, H, W)"}


class BatchNorm3d(BatchNorm):
    __doc__ = (BatchNorm.__doc__ or "").replace("...", "D, H, W")
    shapes: ClassVar[dict[int, str]] = {5: "(N, {C}, D, H, W)"}


class SyncBatchNorm(BatchNorm):
    """BatchNorm of inputs of any shape (N, num_features, ...), in one process.

    Training in several processes is refused, as their statistics are not joined here.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def forward(self, call: Any, input: Tensor) -> Tensor:
        if self.training and _processes(self.process_group) > 1:
            raise NotImplementedError(
                f"{self} in training in several processes: the statistics of a batch that is divided among processes "
                "are not joined here, and each alone would be wrong without a word. Write BatchNorm1d to 3d for "
                "statistics of each process's part, or GroupNorm, which has no need of a batch"
            )
        return super().forward(call, input)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """`module` with a SyncBatchNorm in place of each BatchNorm1d to 3d, of the same parameters and buffers."""
        if isinstance(module, BatchNorm):
            options = module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
            converted = cls(*options, process_group, bias=module.bias is not None)
            for name in (*module._parameter_names, *module._buffer_names):
                converted.__dict__[name] = module.__dict__[name]
            return converted.train(module.training)
        for name in module._module_names:
            child = module.__dict__[name]
            if child is not None:
                setattr(module, name, cls.convert_sync_batchnorm(child, process_group))
        return module


def _processes(group: Any) -> int:
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 1
    return distributed.get_world_size(group)


class InstanceNorm(WithRunningStatistics):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel of each sample by itself.

    input (N, num_features, ...) or (num_features, ...). The statistics are the sample's own, in evaluation too; with
    track_running_stats the running ones move towards their means over the samples by `momentum` (not at all if it is
    None), and are used in evaluation.
    """

    _backward_function = staticmethod(functional.instance_norm_backward)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, call: Any, input: Tensor) -> Tensor:
        dims = len(input.shape)
        if dims not in self.shapes if self.shapes else dims < 2:
            raise self._explained(input)
        call.single = bool(self.shapes) and dims == min(self.shapes)
        if call.single:
            input = input.unsqueeze(0)
        if input.shape[1] != self.num_features:
            if self.weight is not None or self.running_mean is not None:
                raise self._explained(input.squeeze(0) if call.single else input)
            warnings.warn(
                f"{self} was given an input of {input.shape[1]} channels; num_features is not used with affine=False",
                stacklevel=3,
            )
        if not self.training and self.running_mean is not None:
            output = self._apply(call, input)
        else:
            if math.prod(input.shape[2:]) == 1:
                raise ValueError(
                    f"{self} needs more than one value for each channel of a sample, got {tuple(input.shape)}"
                )
            output, mean, variance = self._normalize(call, input, functional.instance_norm)
            if self.running_mean is not None and input.numel():
                own = mean.reshape(-1, self.num_features).mean(0), variance.reshape(-1, self.num_features).mean(0)
                self._move(*own, 0.0 if self.momentum is None else self.momentum)
        return output.squeeze(0) if call.single else output

    def _computed(self, call: Any, grad: Tensor) -> Sequence[Tensor | None]:
        if not call.single:
            return super()._computed(call, grad)
        grad_input, *others = super()._computed(call, grad.unsqueeze(0))
        return None if grad_input is None else grad_input.squeeze(0), *others


class InstanceNorm1d(InstanceNorm):
    __doc__ = (InstanceNorm.__doc__ or "").replace("...", "L")
    shapes: ClassVar[dict[int, str]] = {2: "({C}, L)", 3: "(N, {C}, L)"}


class InstanceNorm2d(InstanceNorm):
    __doc__ = (InstanceNorm.__doc__ or "").replace("...", "H, W")
    shapes: ClassVar[dict[int, str]] = {3: "({C}, H, W)", 4: "(N, {C}, H, W)"}


class InstanceNorm3d(InstanceNorm):
    __doc__ = (InstanceNorm.__doc__ or "").replace("...", "D, H, W")
    shapes: ClassVar[dict[int, str]] = {4: "({C}, D, H, W)", 5: "(N, {C}, D, H, W)"}
