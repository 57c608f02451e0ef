// What an exported step is: the manifest that modgrad writes beside it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "safetensors.h"
#include "tensor.h"

namespace modgrad {

struct Port {  // an input or output of the program
    std::string name, dtype;
    Shape shape;  // -1: as large as the batch
};

struct Entry {  // a named tensor of the state
    std::string name, kind, dtype;
    Shape shape;
};

struct Held {  // an input of the program, which output it is next, if the step changes it, and what it holds
    Port input;
    std::optional<std::string> output;
    std::vector<std::pair<Entry, std::int64_t>> holds;  // each from this element on
};

struct Manifest {
    std::string model, criterion, optimizer;
    std::filesystem::path step, predict, state;  // files
    int threads = 1;
    std::vector<Held> tensors;
    std::vector<Port> numbers;       // the learning rates,
    std::vector<double> rates;       // and what they were at the export
    std::vector<Port> batch, predict_batch, outputs;
    Port loss;
    std::vector<std::string> predict_state;
    std::int64_t smallest = 1, smallest_predicted = 1;  // batch sizes
};

// format: the one that is expected.
Manifest read_manifest(const std::filesystem::path& path, const std::string& format);

// Raise where a tensor is not one that a program takes.
void check(const Tensor& given, const Port& expected, std::int64_t smallest);

// The state as the program takes it, made of the named tensors. Parameters and buffers must all be there; without the
// optimizer's state, as in a file of weights alone, `before` stays.
std::vector<Tensor> packed(const Manifest& manifest, const Tensors& named, const std::vector<Tensor>* before = nullptr);

// The named tensors, of the state as the program takes it.
Tensors unpacked(const Manifest& manifest, const std::vector<Tensor>& state);

}  // namespace modgrad
