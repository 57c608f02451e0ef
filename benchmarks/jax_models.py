"""The models in JAX: functions of the same weights by the same names, params, and of the inputs x; they give logits."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

Params = dict[str, Array]


def linear(params: Params, name: str, x: Array) -> Array:
    return x @ params[f"{name}.weight"].T + params[f"{name}.bias"]


def perceptron(params: Params, x: Array, activation=jax.nn.relu) -> Array:
    """mlp.perceptron: the Linear layers of a Sequential have the even numbers."""
    for number in range(0, len(params) - 2, 2):
        x = activation(linear(params, str(number), x))
    return linear(params, str(len(params) - 2), x)


tanh_perceptron = partial(perceptron, activation=jnp.tanh)


def lstm(params: Params, x: Array) -> Array:
    """recurrent.classifier.   x: (B, T, I)."""
    recurrent = params["lstm.weight_hh_l0"].T
    gates = x @ params["lstm.weight_ih_l0"].T + (params["lstm.bias_ih_l0"] + params["lstm.bias_hh_l0"])

    def cell(state: tuple[Array, Array], gate: Array) -> tuple[tuple[Array, Array], None]:
        h, c = state
        i, f, g, o = jnp.split(gate + h @ recurrent, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zero = jnp.zeros((len(x), len(recurrent)))
    (h, _), _ = lax.scan(cell, (zero, zero), gates.transpose(1, 0, 2))
    return linear(params, "head", h)


def gpt(params: Params, x: Array, layers: int, heads: int) -> Array:
    """gpt.GPT.   x: (B, T) -> (B T, V)."""
    B, T = x.shape
    h = params["wte.weight"][x] + params["wpe.weight"][:T]
    mask = jnp.tril(jnp.ones((T, T), bool))
    for number in range(layers):
        block = f"blocks.{number}"
        y = linear(params, f"{block}.attention.qkv", norm(params, f"{block}.norm1", h))
        q, k, v = (z.reshape(B, T, heads, -1).transpose(0, 2, 1, 3) for z in jnp.split(y, 3, axis=2))
        scores = jnp.where(mask, q @ k.transpose(0, 1, 3, 2) / jnp.sqrt(1.0 * q.shape[-1]), -jnp.inf)
        y = (jax.nn.softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(h.shape)
        h = h + linear(params, f"{block}.attention.projection", y)
        y = jax.nn.gelu(linear(params, f"{block}.mlp.0", norm(params, f"{block}.norm2", h)), approximate=True)
        h = h + linear(params, f"{block}.mlp.2", y)
    return norm(params, "norm", h).reshape(B * T, -1) @ params["wte.weight"].T


small_gpt = partial(gpt, layers=2, heads=4)


def norm(params: Params, name: str, x: Array) -> Array:
    """Layer normalization over the last dimension."""
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
    return scaled * params[f"{name}.weight"] + params[f"{name}.bias"]
