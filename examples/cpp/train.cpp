// Trains an exported step, without Python: the same program for libtorch and for onnxruntime.
//
//     train FOLDER NAME STEPS
//
// FOLDER holds what export_models.py wrote: NAME.pt2 or NAME.onnx, its manifest and state, and NAME.data.safetensors.
// The state after STEPS steps goes to FOLDER/NAME.trained.safetensors.

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <utility>
#include <vector>

#include "trainer.h"

using modgrad::Tensor;

namespace {

// How many samples' largest score is not at their class.   scores (n, classes) float32, classes (n) int64.
long errors(const Tensor& scores, const Tensor& classes) {
    if (scores.dtype != "float32" || scores.shape.size() != 2 || classes.dtype != "int64" ||
        classes.shape != modgrad::Shape{scores.shape[0]})
        throw std::runtime_error("scores of " + modgrad::described(scores.dtype, scores.shape) + " and classes of " +
                                 modgrad::described(classes.dtype, classes.shape) + " are not compared here");
    long wrong = 0, width = static_cast<long>(scores.shape[1]);
    for (std::int64_t i = 0; i < scores.shape[0]; i++) {
        const float* row = scores.as<float>() + i * width;
        wrong += std::max_element(row, row + width) - row != classes.as<std::int64_t>()[i];
    }
    return wrong;
}

std::vector<std::pair<Tensor, Tensor>> batches(const Tensor& x, const Tensor& y, std::int64_t size) {
    std::vector<std::pair<Tensor, Tensor>> found;
    for (std::int64_t i = 0, all = x.shape.at(0); i < all; i += size) {
        auto end = std::min(i + size, all);
        found.emplace_back(x.rows(i, end), y.rows(i, end));
    }
    return found;
}

void train(const std::filesystem::path& folder, const std::string& name, long steps) {
    modgrad::Trainer trainer(folder / (name + modgrad::Trainer::SUFFIX));
    auto data = modgrad::read_safetensors(folder / (name + ".data.safetensors"));
    for (auto each : {"train.x", "train.y", "test.x", "test.y", "batch_size"})
        if (!data.count(each)) throw std::runtime_error(name + ".data.safetensors has no " + each);
    const Tensor &test_x = data["test.x"], &test_y = data["test.y"], &size = data["batch_size"];
    if (size.dtype != "int64" || !size.shape.empty() || *size.as<std::int64_t>() < 1)
        throw std::runtime_error("batch_size is no int64 number from 1 up");
    auto train_on = batches(data["train.x"], data["train.y"], *size.as<std::int64_t>());
    if (train_on.empty()) throw std::runtime_error("there is nothing to train on");
    auto test = [&] {
        long wrong = errors(trainer.predict(test_x), test_y), of = static_cast<long>(test_y.shape[0]);
        std::printf("test error %5.1f %%   (%ld of %ld)\n", 100.0 * wrong / of, wrong, of);
    };

    std::printf("%s: %s, %s, %s, in %s\n", name.c_str(), trainer.manifest.model.c_str(),
                trainer.manifest.criterion.c_str(), trainer.manifest.optimizer.c_str(), modgrad::Trainer::RUNTIME);
    std::printf("before           ");
    test();
    double lr = trainer.manifest.rates.at(0), seconds = 0, loss = 0;
    for (long part = 0; part < 5; part++) {
        long begin = steps * part / 5, end = steps * (part + 1) / 5;
        if (begin == end) continue;
        auto start = std::chrono::steady_clock::now();
        for (long k = begin; k < end; k++) {
            const auto& [x, y] = train_on[k % train_on.size()];
            loss = trainer.step(x, y, part == 4 ? 0.1 * lr : lr);  // smaller steps at the end
        }
        seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        std::printf("step %6ld  loss %.4f   ", end, loss);
        test();
    }
    std::printf("%.1f us a step\n", 1e6 * seconds / std::max(steps, 1L));
    trainer.save(folder / (name + ".trained.safetensors"));
}

}  // namespace

int main(int count, char** arguments) {
    long steps = -1;
    if (count == 4) {
        const char* end = arguments[3] + std::strlen(arguments[3]);
        if (std::from_chars(arguments[3], end, steps).ptr != end) steps = -1;
    }
    if (steps < 0) {
        std::fprintf(stderr, "usage: %s FOLDER NAME STEPS\n", arguments[0]);
        return 2;
    }
    try {
        train(arguments[1], arguments[2], steps);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
