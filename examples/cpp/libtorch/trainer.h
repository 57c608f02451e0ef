// A training step that `step.export_aoti` wrote, run by libtorch.
#pragma once

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <optional>

#include "manifest.h"

namespace modgrad {

class Trainer {
  public:
    static constexpr const char* RUNTIME = "libtorch";
    static constexpr const char* SUFFIX = ".pt2";

    // package: a .pt2 file, with its manifest and its state beside it. Training starts from that state.
    // PyTorch's number of threads becomes the package's, in the whole program.
    explicit Trainer(const std::filesystem::path& package);

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
    using Loader = torch::inductor::AOTIModelPackageLoader;

    std::vector<Tensor> state() const;
    void set_state(const std::vector<Tensor>& state);

    Loader step_, predict_;
    std::vector<at::Tensor> state_;
    std::vector<std::size_t> changed_;  // which of the state the step gives anew, in order
};

}  // namespace modgrad
