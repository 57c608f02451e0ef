"""Models as people write them with PyTorch's modules, to be converted."""

from __future__ import annotations

import math
from abc import ABC
from collections import OrderedDict
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv3x3(channels: int, more: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, more, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, channels: int, more: int, stride: int, norm_layer: Any) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, more, stride)
        self.bn1 = norm_layer(more)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(more, more)
        self.bn2 = norm_layer(more)
        self.downsample = None
        if stride != 1 or channels != more:
            self.downsample = nn.Sequential(nn.Conv2d(channels, more, 1, stride, bias=False), norm_layer(more))

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """As torchvision's, small."""

    def __init__(self, norm_layer: Any = None) -> None:
        super().__init__()
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.stem = nn.Sequential(OrderedDict(conv=conv3x3(3, 4), norm=self._norm_layer(4), act=nn.ReLU(inplace=True)))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layers = nn.Sequential(BasicBlock(4, 4, 1, self._norm_layer), BasicBlock(4, 6, 2, self._norm_layer))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(6 * BasicBlock.expansion, 5)

    def _forward_impl(self, x: Tensor) -> Tensor:
        x = self.layers(self.maxpool(self.stem(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))

    def forward(self, x: Tensor) -> Tensor:
        return self._forward_impl(x)


class ConvBlock(nn.Sequential):
    """A Sequential that only says what is in it."""

    def __init__(self, channels: int, more: int) -> None:
        super().__init__(nn.Conv2d(channels, more, 3, padding=1), nn.GroupNorm(2, more), nn.SiLU(inplace=True))
        self.out_channels = more


class Growing(nn.ModuleDict):
    """As torchvision's dense blocks: a ModuleDict with a forward."""

    def __init__(self, layers: int, channels: int) -> None:
        super().__init__()
        for i in range(layers):
            self.add_module(f"layer{i}", ConvBlock(channels + 2 * i, 2))

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for _, layer in self.items():
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features, dim=1)


class DenseNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Growing(3, 3)
        self.head = nn.Conv2d(9, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.block(x), inplace=True)
        x = F.dropout(x, 0.3, training=self.training)
        return F.interpolate(self.head(x), scale_factor=2.0, mode="bilinear", align_corners=False)


class LayerNorm(nn.LayerNorm):
    """As CLIP's: it computes in float32 at least."""

    def forward(self, x: Tensor) -> Tensor:
        dtype = x.dtype
        return super().forward(x.type(torch.promote_types(dtype, torch.float32))).type(dtype)


class CausalSelfAttention(nn.Module):
    def __init__(self, width: int, heads: int, length: int, flash: bool) -> None:
        super().__init__()
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.attn_dropout = nn.Dropout(0.1)
        self.n_head = heads
        self.flash = flash
        self.register_buffer(
            "bias", torch.tril(torch.ones(length, length)).view(1, 1, length, length), persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(C, dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        if self.flash:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=True)
        else:
            att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
            y = self.attn_dropout(F.softmax(att, dim=-1)) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class Block(nn.Module):
    def __init__(self, width: int, length: int, flash: bool) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(width)
        self.attn = CausalSelfAttention(width, 2, length, flash)
        self.ln_2 = nn.LayerNorm(width, bias=False)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width), "act": nn.GELU()}
        )
        m = self.mlp
        self.mlpf = lambda x: m["c_proj"](m["act"](m["c_fc"](x)))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlpf(self.ln_2(x))


class Feeding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.act = partial(F.gelu, approximate="tanh")

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.act(self.c_fc(x)))


class GPT(nn.Module):
    """As nanoGPT, small."""

    def __init__(self, flash: bool, tied: bool = True) -> None:
        super().__init__()
        self.block_size = 6
        blocks = [Block(8, self.block_size, flash) for _ in range(2)]
        for block in blocks:
            block.mlpf = None
            block.mlp = Feeding(8)
            block.mlpf = block.mlp.forward
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(11, 8),
                "wpe": nn.Embedding(self.block_size, 8),
                "drop": nn.Dropout(0.1),
                "h": nn.ModuleList(blocks),
                "ln_f": nn.LayerNorm(8),
            }
        )
        self.lm_head = nn.Linear(8, 11, bias=False)
        if tied:
            self.transformer.wte.weight = self.lm_head.weight
        self.apply(self._init_weights)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.2)

    def get_num_params(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> Any:
        _, t = idx.size()
        assert t <= self.block_size, f"a sequence of length {t}"
        pos = torch.arange(0, t, dtype=torch.long, device=idx.device)
        x = self.transformer.drop(self.transformer.wte(idx) + self.transformer.wpe(pos))
        for block in self.transformer.h:
            x = block(x)
        logits = self.lm_head(self.transformer.ln_f(x))
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        return logits, loss

    @torch.no_grad()
    def generate(self, idx: Tensor, count: int) -> Tensor:
        for _ in range(count):
            logits, _ = self(idx[:, -self.block_size :])
            idx = torch.cat((idx, logits[:, -1:].argmax(-1)), dim=1)
        return idx


class Counter(ABC):  # noqa: B024
    """No module: what is mixed in."""

    calls: int = 0

    def count(self) -> None:
        self.calls += 1


class Tagger(Counter, nn.Module):
    """An LSTM with attention over its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4, padding_idx=0)
        self.lstm = nn.LSTM(4, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.query = nn.Parameter(torch.randn(10))
        self.scale = nn.ParameterList([nn.Parameter(torch.randn(10)), nn.Parameter(torch.randn(1))])
        self.output = nn.Linear(10, 3)
        self.options = {"temperature": 2.0, "shift": torch.randn(10)}

    @property
    def temperature(self) -> float:
        return self.options["temperature"]

    @staticmethod
    def attend(x: Tensor, query: Tensor) -> Tensor:
        weights = nn.Softmax(dim=1)(x @ query)
        return (weights.unsqueeze(-1) * x).sum(1)

    def forward(self, tokens: Tensor, *, shift: bool = True) -> tuple[Tensor, Tensor]:
        self.count()
        x, (h, _) = self.lstm(self.embedding(tokens))
        x = self.attend(x / self.temperature, self.query)
        for scale in self.scale:
            x = x * scale
        if shift:
            x = x + self.options["shift"]
        return self.output(torch.tanh(x)), h[-1]


class Siamese(nn.Module):
    """One encoder twice, a loss of PyTorch's inside, lists of modules outside of the registry."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4))
        self.again = self.encoder
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.criterion = nn.CosineEmbeddingLoss(margin=0.1)
        self.by_hand = [self.frozen, nn.Sigmoid()]

    def forward(self, a: Tensor, b: Tensor, y: Tensor) -> Tensor:
        a, b = self.encoder(a), self.again(b)
        for layer in self.by_hand:
            a, b = layer(a), layer(b)
        return self.criterion(a, b, y)
