"""Whole models, each on a page, under the parameter names that its published weights have."""

from modgrad.models.gpt2 import GPT2, GPT2_CONFIGS, GPT2Config
from modgrad.models.lenet import LeNet
from modgrad.models.lstm import LSTMLanguageModel
from modgrad.models.mlp import MLP
from modgrad.models.resnet import BasicBlock, Bottleneck, ResNet, resnet18, resnet34, resnet50
from modgrad.models.unet import UNet
from modgrad.models.vit import VisionTransformer, vit_tiny_patch16_224

__all__ = [
    "GPT2",
    "GPT2_CONFIGS",
    "MLP",
    "BasicBlock",
    "Bottleneck",
    "GPT2Config",
    "LSTMLanguageModel",
    "LeNet",
    "ResNet",
    "UNet",
    "VisionTransformer",
    "resnet18",
    "resnet34",
    "resnet50",
    "vit_tiny_patch16_224",
]
