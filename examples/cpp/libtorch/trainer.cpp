#include "trainer.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <map>
#include <stdexcept>

namespace modgrad {

namespace {

using Loader = torch::inductor::AOTIModelPackageLoader;

at::ScalarType type_of(const std::string& dtype) {
    static const std::map<std::string, at::ScalarType> types{
        {"float64", at::kDouble}, {"float32", at::kFloat}, {"float16", at::kHalf}, {"bfloat16", at::kBFloat16},
        {"int64", at::kLong},     {"int32", at::kInt},     {"int16", at::kShort},  {"int8", at::kChar},
        {"uint8", at::kByte},     {"bool", at::kBool},
    };
    return types.at(dtype);
}

// Over the memory of `tensor`, which is only read.
at::Tensor over(const Tensor& tensor) {
    return at::from_blob(const_cast<std::byte*>(tensor.data.data()), tensor.shape, type_of(tensor.dtype));
}

Tensor copied(const at::Tensor& tensor, const std::string& dtype) {
    Tensor copy(dtype, tensor.sizes().vec());
    auto dense = tensor.contiguous();
    if (dense.nbytes() != copy.data.size())
        throw std::runtime_error("the program gave " + std::to_string(dense.nbytes()) + " bytes for " +
                                 described(dtype, copy.shape));
    auto* data = static_cast<const std::byte*>(dense.const_data_ptr());
    std::copy(data, data + copy.data.size(), copy.data.begin());
    return copy;
}

std::vector<at::Tensor> run(Loader& program, const std::vector<at::Tensor>& inputs, std::size_t results) {
    auto outputs = program.run(inputs);
    if (outputs.size() != results)
        throw std::runtime_error("the program gave " + std::to_string(outputs.size()) + " tensors, its manifest says " +
                                 std::to_string(results) + ": they are of different exports");
    return outputs;
}

}  // namespace

Trainer::Trainer(const std::filesystem::path& package)
    : manifest(read_manifest(package.string() + ".json", "modgrad-training-step-aoti")),
      step_(manifest.step.string(), "step"),
      predict_(manifest.predict.string(), "predict") {
    at::set_num_threads(manifest.threads);  // the package's loops are for so many
    at::globalContext().setFlushDenormal(true);  // the moments of a dead unit become such numbers, which are slow
    for (std::size_t i = 0; i < manifest.tensors.size(); i++)
        if (manifest.tensors[i].output) changed_.push_back(i);
    set_state(packed(manifest, read_safetensors(manifest.state)));
}

double Trainer::step(const Batch& batch, std::optional<double> lr) {
    check(batch, manifest.batch, manifest.sizes);
    c10::InferenceMode inference;
    auto inputs = state_;
    for (double rate : manifest.rates) inputs.push_back(at::scalar_tensor(lr.value_or(rate), at::kDouble));
    for (const Tensor& tensor : batch) inputs.push_back(over(tensor));
    auto outputs = run(step_, inputs, changed_.size() + 1);
    for (std::size_t k = 0; k < changed_.size(); k++) {
        auto& value = outputs[k];
        for (std::size_t i = inputs.size() - batch.size(); i < inputs.size(); i++)
            if (value.is_alias_of(inputs[i])) value = value.clone();  // the batch's memory is the caller's
        state_[changed_[k]] = std::move(value);
    }
    return outputs.back().item<double>();
}

std::vector<Tensor> Trainer::predict(const Batch& given) {
    check(given, manifest.predict_batch, manifest.predict_sizes);
    c10::InferenceMode inference;
    std::vector<at::Tensor> inputs;
    for (auto place : manifest.predicted) inputs.push_back(state_[place]);
    for (const Tensor& tensor : given) inputs.push_back(over(tensor));
    auto outputs = run(predict_, inputs, manifest.outputs.size());
    std::vector<Tensor> results;
    for (std::size_t i = 0; i < outputs.size(); i++) results.push_back(copied(outputs[i], manifest.outputs[i].dtype));
    return results;
}

void Trainer::save(const std::filesystem::path& path) const { write_safetensors(unpacked(manifest, state()), path); }

void Trainer::load(const std::filesystem::path& path) {
    auto before = state();
    set_state(packed(manifest, read_safetensors(path), &before));
}

std::vector<Tensor> Trainer::state() const {
    std::vector<Tensor> state;
    for (std::size_t i = 0; i < state_.size(); i++) state.push_back(copied(state_[i], manifest.tensors[i].input.dtype));
    return state;
}

void Trainer::set_state(const std::vector<Tensor>& state) {
    c10::InferenceMode inference;
    state_.clear();
    for (const auto& tensor : state) state_.push_back(over(tensor).clone());
}

}  // namespace modgrad
