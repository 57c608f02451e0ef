// Named tensors in a .safetensors file: https://github.com/huggingface/safetensors#format
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "tensor.h"

namespace modgrad {

using Tensors = std::map<std::string, Tensor>;

Tensors read_safetensors(const std::filesystem::path& path);

// The file is there whole or not at all: it is written beside, and then renamed.
void write_safetensors(const Tensors& tensors, const std::filesystem::path& path);

}  // namespace modgrad
