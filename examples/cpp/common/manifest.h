// What an exported step is: the manifest that modgrad writes beside it.
#pragma once

#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "safetensors.h"
#include "tensor.h"

namespace modgrad {

using Batch = std::vector<std::reference_wrapper<const Tensor>>;

struct Port {  // an input or output of the program
    std::string name, dtype;
    Shape shape;                    // -1 where a size is free
    std::vector<std::string> free;  // and there its name, as "batch", by which sizes are alike; else ""
};

struct Sizes {  // of a batch
    std::int64_t smallest = 1, largest = std::numeric_limits<std::int64_t>::max();
};

struct Entry {  // a named tensor of the state
    std::string name, kind, dtype;
    Shape shape;
};

struct Held {  // an input of the program, which output it is next, if the step changes it, and what it holds
    Port input;
    std::optional<std::string> output;
    std::vector<std::pair<Entry, std::size_t>> holds;  // each from this byte on
};

struct Manifest {
    std::string model, criterion, optimizer;
    std::filesystem::path step, predict, state;  // files
    int threads = 1;  // that a package's code is for
    std::vector<Held> tensors;
    std::vector<Port> numbers;           // the learning rates, float64 scalars,
    std::vector<double> rates;           // and what they were at the export
    std::vector<std::size_t> predicted;  // which of the tensors the prediction takes
    std::vector<Port> batch, predict_batch, outputs;
    Port loss;  // a scalar
    Sizes sizes, predict_sizes;
};

// format: the one that is expected. Raises for a file that does not fit together, so that nobody else need look.
Manifest read_manifest(const std::filesystem::path& path, const std::string& format);

// Raise where tensors are not a batch that a program takes: it trusts their sizes.
void check(const Batch& given, const std::vector<Port>& expected, const Sizes& sizes);

// The state as the program takes it, made of the named tensors. All parameters must be there, and of every other kind all
// or nothing, in whose place `before` stays: so a file of weights alone leaves the optimizer's state as it is.
std::vector<Tensor> packed(const Manifest& manifest, const Tensors& named, const std::vector<Tensor>* before = nullptr);

// The named tensors, of the state as the program takes it.
Tensors unpacked(const Manifest& manifest, const std::vector<Tensor>& state);

}  // namespace modgrad
