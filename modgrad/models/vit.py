"""The vision transformer under the names of timm, whose published weights load by name.

Dosovitskiy et al. 2021: "An image is worth 16x16 words"; the tiny one is that of Touvron et al. 2021 (DeiT), table 1.
In shapes N is the batch size, P the number of patches, T = 1 + P that of tokens, D the width, H the number of heads.
"""

from __future__ import annotations

from typing import Any

import torch

from modgrad import nn


class PatchEmbed(nn.Module):
    """An affine map of each patch.   (N, 3, height, width) -> (N, P, D)."""

    def __init__(self, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, stride=patch_size)

    def forward(self, x: Any) -> Any:
        x = self.proj(x)  # (N, D, height / patch_size, width / patch_size)
        return x.flatten(2).transpose(1, 2)  # (N, P, D)


class Attention(nn.Module):
    """Of several heads; every token sees all.   (N, T, D) -> (N, T, D)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Any) -> Any:
        N, T, D = x.shape
        qkv = self.qkv(x).reshape(N, T, 3, self.num_heads, D // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (N, H, T, D / H)
        x = nn.operators.scaled_dot_product_attention(q, k, v)  # (N, H, T, D / H)
        return self.proj(x.transpose(1, 2).reshape(N, T, D))


class Mlp(nn.Module):
    """Each token by itself.   (N, T, D) -> (N, T, D)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Any) -> Any:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP, both added to what is there, both of normalized values.   Equations 2 and 3."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Any) -> Any:  # (N, T, D)
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """A transformer over the patches of an image and one more token, from which the class is told.   Equations 1 to 4.

    The sizes' names are timm's. Initial weights: N(0, 0.02^2), cut off at 2, of positions, token and linear layers.
    """

    def __init__(
        self,
        img_size: int = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        embed_dim: int = 192,
        depth: int = 12,
        num_heads: int = 3,
    ) -> None:
        super().__init__()
        if img_size % patch_size or embed_dim % num_heads:
            raise ValueError(
                f"VisionTransformer: img_size={img_size} must be a multiple of patch_size={patch_size}, and "
                f"embed_dim={embed_dim} of num_heads={num_heads}"
            )
        patches = (img_size // patch_size) ** 2
        self.img_size = img_size
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + patches, embed_dim))
        self.patch_embed = PatchEmbed(patch_size, in_chans, embed_dim)
        self.blocks = nn.Sequential(*(Block(embed_dim, num_heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.head = nn.Linear(embed_dim, num_classes)
        for parameter in (self.pos_embed, self.cls_token):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Any) -> Any:  # (N, in_chans, img_size, img_size)
        if x.shape[-2:] != (self.img_size, self.img_size):
            raise ValueError(
                f"VisionTransformer(img_size={self.img_size}) was given an input of shape {tuple(x.shape)}: its "
                "positions are those of images of its own size"
            )
        x = self.patch_embed(x)  # (N, P, D)
        token = self.cls_token.expand(x.shape[0], -1, -1)  # (N, 1, D)
        x = torch.cat([token, x], 1) + self.pos_embed  # (N, T, D)
        x = self.norm(self.blocks(x))
        return self.head(x[:, 0])  # (N, num_classes)


def vit_tiny_patch16_224(num_classes: int = 1000) -> VisionTransformer:
    """ViT-Ti/16, DeiT-Ti: 5,717,416 parameters."""
    return VisionTransformer(num_classes=num_classes)
