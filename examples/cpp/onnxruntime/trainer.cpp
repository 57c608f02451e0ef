#include "trainer.h"

#include <onnxruntime_session_options_config_keys.h>

#include <algorithm>
#include <map>
#include <stdexcept>

namespace modgrad {

namespace {

const std::map<std::string, ONNXTensorElementDataType> TYPES{
    {"float64", ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE},    {"float32", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
    {"float16", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16},   {"bfloat16", ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16},
    {"int64", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},       {"int32", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},
    {"int16", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16},       {"int8", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
    {"uint8", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8},       {"bool", ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL},
};

// Over the memory of `tensor`: of an input, which is only read, or of an output.
Ort::Value over(const Tensor& tensor) {
    static const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtDeviceAllocator, OrtMemTypeDefault);
    return Ort::Value::CreateTensor(memory, const_cast<std::byte*>(tensor.data.data()), tensor.data.size(),
                                    tensor.shape.data(), tensor.shape.size(), TYPES.at(tensor.dtype));
}

Tensor copied(const Ort::Value& value, const std::string& dtype) {
    Tensor copy(dtype, value.GetTensorTypeAndShapeInfo().GetShape());
    if (value.GetTensorTypeAndShapeInfo().GetElementType() != TYPES.at(dtype))
        throw std::runtime_error("the graph gave another dtype than " + dtype + ", which its manifest says");
    auto* data = static_cast<const std::byte*>(value.GetTensorRawData());
    std::copy(data, data + copy.data.size(), copy.data.begin());
    return copy;
}

Ort::SessionOptions options(int threads) {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(threads);
    // The moments of a dead unit become numbers that are too small for a normal float, which are slow.
    options.AddConfigEntry(kOrtSessionOptionsConfigSetDenormalAsZero, "1");
    return options;
}

double number(const Tensor& scalar) {
    return scalar.dtype == "float64" ? *scalar.as<double>() : *scalar.as<float>();
}

}  // namespace

Trainer::Trainer(const std::filesystem::path& graph, int threads)
    : manifest(read_manifest(std::filesystem::path(graph).replace_extension(".json"), "modgrad-training-step")),
      env_(ORT_LOGGING_LEVEL_ERROR, "modgrad"),
      step_(env_, manifest.step.c_str(), options(threads)),
      predict_(env_, manifest.predict.c_str(), options(threads)),
      loss_(manifest.loss.dtype, manifest.loss.shape) {
    if (loss_.dtype != "float32" && loss_.dtype != "float64")
        throw std::runtime_error("a loss of dtype " + loss_.dtype + " is not read here");
    buffers_[0] = buffers_[1] = packed(manifest, read_safetensors(manifest.state));
    for (const auto& number : manifest.numbers) rates_.emplace_back(number.dtype, number.shape);
    for (std::size_t turn : {0, 1}) {
        auto& binding = bindings_.emplace_back(step_);
        for (std::size_t i = 0; i < manifest.tensors.size(); i++) {
            const auto& [input, output, holds] = manifest.tensors[i];
            binding.BindInput(input.name.c_str(), over(buffers_[output ? turn : 0][i]));
            if (output) binding.BindOutput(output->c_str(), over(buffers_[1 - turn][i]));
        }
        for (std::size_t i = 0; i < rates_.size(); i++)
            binding.BindInput(manifest.numbers[i].name.c_str(), over(rates_[i]));
        binding.BindOutput(manifest.loss.name.c_str(), over(loss_));
    }
}

double Trainer::step(const Batch& batch, std::optional<double> lr) {
    check(batch, manifest.batch, manifest.sizes);
    for (std::size_t i = 0; i < rates_.size(); i++) *rates_[i].as<double>() = lr.value_or(manifest.rates[i]);
    auto& binding = bindings_[turn_];
    for (std::size_t i = 0; i < batch.size(); i++) binding.BindInput(manifest.batch[i].name.c_str(), over(batch[i]));
    step_.Run(Ort::RunOptions{nullptr}, binding);
    turn_ = 1 - turn_;
    return number(loss_);
}

std::vector<Tensor> Trainer::predict(const Batch& given) {
    check(given, manifest.predict_batch, manifest.predict_sizes);
    std::vector<const char*> names, outputs;
    std::vector<Ort::Value> inputs;
    for (auto place : manifest.predicted) {
        names.push_back(manifest.tensors[place].input.name.c_str());
        inputs.push_back(over(now(place)));
    }
    for (std::size_t i = 0; i < given.size(); i++) {
        names.push_back(manifest.predict_batch[i].name.c_str());
        inputs.push_back(over(given[i]));
    }
    for (const auto& output : manifest.outputs) outputs.push_back(output.name.c_str());
    auto values = predict_.Run(Ort::RunOptions{nullptr}, names.data(), inputs.data(), inputs.size(), outputs.data(),
                               outputs.size());
    std::vector<Tensor> results;
    for (std::size_t i = 0; i < values.size(); i++) results.push_back(copied(values[i], manifest.outputs[i].dtype));
    return results;
}

void Trainer::save(const std::filesystem::path& path) const {
    std::vector<Tensor> state;
    for (std::size_t i = 0; i < manifest.tensors.size(); i++) state.push_back(now(i));
    write_safetensors(unpacked(manifest, state), path);
}

void Trainer::load(const std::filesystem::path& path) {
    std::vector<Tensor> before;
    for (std::size_t i = 0; i < manifest.tensors.size(); i++) before.push_back(now(i));
    auto state = packed(manifest, read_safetensors(path), &before);
    for (auto& buffers : buffers_)  // where they are, as the bindings know
        for (std::size_t i = 0; i < state.size(); i++)
            std::copy(state[i].data.begin(), state[i].data.end(), buffers[i].data.begin());
}

}  // namespace modgrad
