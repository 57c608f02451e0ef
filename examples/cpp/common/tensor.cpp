#include "tensor.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

namespace modgrad {

std::size_t size_of(const std::string& dtype) {
    static const std::map<std::string, std::size_t> sizes{
        {"float64", 8}, {"float32", 4}, {"float16", 2}, {"bfloat16", 2}, {"int64", 8}, {"int32", 4},
        {"int16", 2},   {"int8", 1},    {"uint8", 1},   {"bool", 1},
    };
    auto found = sizes.find(dtype);
    if (found == sizes.end()) throw std::invalid_argument("there is no dtype " + dtype);
    return found->second;
}

std::size_t size_of(const std::string& dtype, const Shape& shape) {
    std::size_t bytes = size_of(dtype);
    for (auto size : shape) {
        if (size < 0 || bytes > PTRDIFF_MAX / static_cast<std::size_t>(std::max(size, std::int64_t{1})))
            throw std::invalid_argument("there is no tensor " + described(dtype, shape));
        bytes *= static_cast<std::size_t>(size);
    }
    return bytes;
}

std::string described(const std::string& dtype, const Shape& shape) {
    std::string text;
    for (auto size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
    return dtype + " (" + text + ")";
}

Tensor::Tensor(std::string dtype_, Shape shape_)
    : dtype(std::move(dtype_)), shape(std::move(shape_)), data(size_of(dtype, shape)) {}

Tensor Tensor::rows(std::int64_t begin, std::int64_t end) const {
    if (shape.empty() || begin < 0 || begin > end || end > shape[0])
        throw std::out_of_range("rows " + std::to_string(begin) + " to " + std::to_string(end) + " of " +
                                described(dtype, shape));
    Tensor part;
    part.dtype = dtype;
    part.shape = shape;
    part.shape[0] = end - begin;
    std::size_t row = shape[0] ? data.size() / shape[0] : 0;
    part.data.assign(data.begin() + begin * row, data.begin() + end * row);
    return part;
}

}  // namespace modgrad
