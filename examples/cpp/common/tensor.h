// A tensor in plain memory: what goes in and out of a Trainer, and into files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace modgrad {

using Shape = std::vector<std::int64_t>;

// Bytes of one element. dtype: as numpy names it.
std::size_t size_of(const std::string& dtype);

// Bytes of all elements. Raises for sizes below 0, and for more than memory holds.
std::size_t size_of(const std::string& dtype, const Shape& shape);

// "float32 (100, 2)"
std::string described(const std::string& dtype, const Shape& shape);

struct Tensor {
    std::string dtype;
    Shape shape;
    std::vector<std::byte> data;  // row-major

    Tensor() = default;
    Tensor(std::string dtype, Shape shape);  // zeros

    template <class T>
    const T* as() const { return reinterpret_cast<const T*>(data.data()); }
    template <class T>
    T* as() { return reinterpret_cast<T*>(data.data()); }

    // The samples begin .. end - 1, copied.
    Tensor rows(std::int64_t begin, std::int64_t end) const;
};

}  // namespace modgrad
