// A training step that `step.export_onnx` wrote, run by onnxruntime.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <optional>

#include "manifest.h"

namespace modgrad {

class Trainer {
  public:
    static constexpr const char* RUNTIME = "onnxruntime";
    static constexpr const char* SUFFIX = ".onnx";

    // graph: an .onnx file, with its manifest and its state beside it. Training starts from that state.
    // threads: that onnxruntime works with. One is the fastest for small models.
    explicit Trainer(const std::filesystem::path& graph, int threads = 1);

    // Train on one batch: the model's inputs, then the target. Returns its loss, from before the update.
    // lr: the learning rate of every group; without one, that of the export.
    double step(const Batch& batch, std::optional<double> lr = {});
    double step(const Tensor& x, const Tensor& y, std::optional<double> lr = {}) { return step({x, y}, lr); }

    // What the model gives in evaluation mode.
    std::vector<Tensor> predict(const Batch& inputs);
    Tensor predict(const Tensor& x) { return predict(Batch{x}).front(); }

    // The state by the names of modgrad's parameters, buffers and moments, as a .safetensors file.
    void save(const std::filesystem::path& path) const;
    void load(const std::filesystem::path& path);

    const Manifest manifest;

  private:
    // The state as it is now, and as the next step makes it: steps go from the one to the other and back.
    // What no step changes is the same in both.
    const Tensor& now(std::size_t i) const { return buffers_[manifest.tensors[i].output ? turn_ : 0][i]; }

    Ort::Env env_;
    Ort::Session step_, predict_;
    std::vector<Tensor> buffers_[2], rates_;
    std::vector<Ort::IoBinding> bindings_;  // from the first buffers to the second, and back
    Tensor loss_;
    std::size_t turn_ = 0;  // in which buffers the state is
};

}  // namespace modgrad
