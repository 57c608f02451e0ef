"""GPT-2 under the names of Hugging Face's transformers, whose published weights it loads.

Radford et al. 2019: "Language models are unsupervised multitask learners". In shapes B is the batch size, T the number
of tokens, C the width n_embd, H the number of heads, V the size of the vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from modgrad import functional, nn


@dataclass(frozen=True)
class GPT2Config:
    """Sizes and numbers of a GPT-2, by the names of published configurations. The smallest model is the default."""

    vocab_size: int = 50257
    n_positions: int = 1024  # the most tokens that are seen at once
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    embd_pdrop: float = 0.1  # dropout of the embeddings' sum,
    attn_pdrop: float = 0.1  # of the attention's weights,
    resid_pdrop: float = 0.1  # and of what each block adds
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02  # standard deviation of the initial weights


GPT2_CONFIGS = {
    "gpt2": GPT2Config(),  # 124,439,808 parameters
    "gpt2-medium": GPT2Config(n_embd=1024, n_layer=24, n_head=16),  # 354,823,168
    "gpt2-large": GPT2Config(n_embd=1280, n_layer=36, n_head=20),  # 774,030,080
    "gpt2-xl": GPT2Config(n_embd=1600, n_layer=48, n_head=25),  # 1,557,611,200
}


class Conv1D(nn.Primitive):
    """y = x W + b: a linear layer with its weight transposed, as published.   x (..., I), weight (I, O), bias (O)."""

    autocast = "addmm"

    def __init__(self, in_features: int, out_features: int, std: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.normal_(torch.empty(in_features, out_features), std=std))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, call: nn.Call, x: Tensor) -> Tensor:
        call.save(x if "weight" in call.parameters else None, self.weight)
        return functional.linear(x, self.weight.t(), self.bias)

    def backward(self, call: nn.Call, grad: Tensor) -> Tensor:
        _, weight = call.saved
        return functional.linear_grad_input(grad, weight.t())

    def parameter_gradients(self, call: nn.Call, grad: Tensor) -> dict[str, Tensor | None]:
        x, _ = call.saved
        return {
            "weight": functional.linear_grad_weight(x, grad) if "weight" in call.parameters else None,  # x^T dL/dy
            "bias": functional.linear_grad_bias(grad) if "bias" in call.parameters else None,
        }

    def extra_repr(self) -> str:
        return "{}, {}".format(*self.weight.shape)


class Attention(nn.Module):
    """Of several heads; each token sees those up to itself.   (B, T, C) -> (B, T, C).   Vaswani et al. 2017."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        C, std = config.n_embd, config.initializer_range
        self.c_attn = Conv1D(C, 3 * C, std)
        self.c_proj = Conv1D(C, C, std / math.sqrt(2 * config.n_layer))
        self.resid_dropout = nn.Dropout(config.resid_pdrop)
        self.n_head, self.attn_pdrop = config.n_head, config.attn_pdrop

    def forward(self, x: Any) -> Any:
        B, T, C = x.shape
        heads = (B, T, self.n_head, C // self.n_head)
        q, k, v = (y.view(heads).transpose(1, 2) for y in self.c_attn(x).split(C, dim=2))  # (B, H, T, C / H)
        dropout_p = self.attn_pdrop if self.training else 0.0
        y = nn.operators.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p, is_causal=True)  # (B, H, T, C / H)
        y = y.transpose(1, 2).reshape(B, T, C)
        return self.resid_dropout(self.c_proj(y))


class MLP(nn.Module):
    """Each token by itself.   (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        C, std = config.n_embd, config.initializer_range
        self.c_fc = Conv1D(C, 4 * C, std)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = Conv1D(4 * C, C, std / math.sqrt(2 * config.n_layer))
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Any) -> Any:
        x = self.act(self.c_fc(x))  # (B, T, 4 C)
        return self.dropout(self.c_proj(x))


class Block(nn.Module):
    """Attention and MLP, both added to what is there, both of normalized values.   (B, T, C) -> (B, T, C)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Any) -> Any:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """All but the scores.   tokens (B, T) -> (B, T, C)."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.Sequential(*(Block(config) for _ in range(config.n_layer)))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        for embedding in (self.wte, self.wpe):
            nn.init.normal_(embedding.weight, std=config.initializer_range)

    def forward(self, tokens: Any) -> Any:
        length, most = tokens.shape[1], self.wpe.num_embeddings
        if length > most:
            raise ValueError(
                f"GPT2 was given {length} tokens in a row, and sees n_positions={most}: write tokens[:, -{most}:]"
            )
        positions = torch.arange(length, device=tokens.device)  # (T)
        x = self.drop(self.wte(tokens) + self.wpe(positions))  # (B, T, C)
        return self.ln_f(self.h(x))


class GPT2(nn.Module):
    """The language model: from tokens (B, T), int64, the scores (B, T, V) of what comes after each.

    The scores' weight is the tokens' embedding. For the tokens that did come, targets (B, T), the loss is
    `nn.CrossEntropyLoss()(scores.flatten(0, 1), targets.flatten())`. Without ever making the scores: what an
    nn.LinearCrossEntropyLoss, whose `linear.weight` is set to `transformer.wte.weight`, gives for
    `transformer(tokens).flatten(0, 1)`.

    >>> model = GPT2(GPT2Config(vocab_size=50, n_positions=16, n_embd=8, n_layer=2, n_head=2))
    >>> model(torch.randint(50, (3, 16))).shape
    torch.Size([3, 16, 50])
    """

    def __init__(self, config: GPT2Config = GPT2_CONFIGS["gpt2"]) -> None:
        super().__init__()
        if config.n_embd % config.n_head:
            raise ValueError(f"{config}: n_embd must be a multiple of n_head")
        self.config = config
        self.transformer = Transformer(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight

    def forward(self, tokens: Any) -> Any:
        return self.lm_head(self.transformer(tokens))  # (B, T, V)

    def load_published(self, state_dict: Mapping[str, Tensor]) -> GPT2:
        """Take the weights of a published file, whichever version's names it has. Returns this model.

        With "transformer." before the names or without, with the tied `lm_head.weight` or without. Passed over are the
        masks that older versions kept among the weights, `h.0.attn.bias` and `h.0.attn.masked_bias`. All else must fit.
        """
        state: dict[str, Tensor] = {}
        for given, value in state_dict.items():
            if re.fullmatch(r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)", given):
                continue
            name = given if given.startswith(("transformer.", "lm_head.")) else f"transformer.{given}"
            if name in state:
                raise ValueError(f"GPT2.load_published: {name} is there twice, with the prefix and without")
            state[name] = value
        embedding, head = state.get("transformer.wte.weight"), state.get("lm_head.weight")
        if head is None and embedding is not None:
            state["lm_head.weight"] = embedding
        elif head is not None and embedding is not None and not torch.equal(head, embedding):
            raise ValueError("GPT2.load_published: lm_head.weight and transformer.wte.weight differ, and are one here")
        self.load_state_dict(state)
        return self

    def generate(
        self, tokens: Tensor, count: int, temperature: float = 1.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Tokens (B, T) continued by `count` more, (B, T + count). Call `eval()` before, or dropout takes part.

        temperature: above 0, tokens are drawn from softmax(scores / temperature); 0, each is the likeliest.
        """
        for _ in range(count):
            with nn.no_grad():
                x = self.transformer(tokens[:, -self.config.n_positions :])  # (B, T, C)
                scores = self.lm_head(x[:, -1])  # (B, V)
            if temperature == 0:
                new = scores.argmax(1, keepdim=True)  # (B, 1)
            else:
                new = torch.multinomial((scores / temperature).softmax(1), 1, generator=generator)
            tokens = torch.cat([tokens, new], 1)
        return tokens
