#include "safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace modgrad {

static_assert(std::endian::native == std::endian::little, "the file's numbers are little-endian");

namespace {

const std::map<std::string, std::string> NAMES{
    {"float64", "F64"}, {"float32", "F32"}, {"float16", "F16"}, {"bfloat16", "BF16"}, {"int64", "I64"},
    {"int32", "I32"},   {"int16", "I16"},   {"int8", "I8"},     {"uint8", "U8"},      {"bool", "BOOL"},
};

std::string dtype_of(const std::string& name) {
    for (const auto& [dtype, called] : NAMES)
        if (called == name) return dtype;
    throw std::runtime_error("of dtype " + name + ", which is not one of those that a Trainer knows");
}

Shape numbers(const nlohmann::json& list) {
    if (!list.is_array() || !std::all_of(list.begin(), list.end(), [](auto& x) { return x.is_number_unsigned(); }))
        throw std::runtime_error("with " + list.dump().substr(0, 60) + " in place of numbers from 0 up");
    return list.get<Shape>();
}

Tensors tensors_of(const std::vector<char>& all) {
    std::uint64_t length = 0;
    if (all.size() >= 8) std::memcpy(&length, all.data(), 8);
    if (all.size() < 8 || length > all.size() - 8)
        throw std::runtime_error("its header is longer than its " + std::to_string(all.size()) + " bytes");
    auto start = all.begin() + 8 + static_cast<std::ptrdiff_t>(length);
    auto header = nlohmann::json::parse(all.begin() + 8, start);
    if (!header.is_object()) throw std::runtime_error("its header is no JSON object");
    auto* data = reinterpret_cast<const std::byte*>(all.data()) + 8 + length;
    std::size_t available = all.size() - 8 - length;
    Tensors tensors;
    std::vector<std::pair<std::size_t, std::size_t>> places{{0, 0}, {available, available}};
    for (const auto& [name, about] : header.items()) {
        if (name == "__metadata__") continue;
        try {
            std::string dtype = dtype_of(about.at("dtype"));
            Shape shape = numbers(about.at("shape")), place = numbers(about.at("data_offsets"));
            if (place.size() != 2) throw std::runtime_error("with " + std::to_string(place.size()) + " data_offsets");
            auto begin = static_cast<std::size_t>(place[0]), end = static_cast<std::size_t>(place[1]);
            if (begin > end || end > available || end - begin != size_of(dtype, shape))
                throw std::runtime_error("whose place in the file is not one of its size");
            Tensor tensor(dtype, shape);
            std::copy(data + begin, data + end, tensor.data.begin());
            tensors.emplace(name, std::move(tensor));
            places.emplace_back(begin, end);
        } catch (const std::exception& error) {
            throw std::runtime_error("it has " + name + ", " + error.what());
        }
    }
    std::sort(places.begin(), places.end());
    for (std::size_t i = 1; i < places.size(); i++)
        if (places[i].first != places[i - 1].second)
            throw std::runtime_error("its tensors overlap, or leave gaps, at byte " + std::to_string(places[i].first) +
                                     " of its data");
    return tensors;
}

}  // namespace

Tensors read_safetensors(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("there is no file " + path.string() + " that can be read");
    std::vector<char> all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    try {
        return tensors_of(all);
    } catch (const std::exception& error) {
        throw std::runtime_error(path.string() + " is no safetensors file, or a damaged one: " + error.what());
    }
}

void write_safetensors(const Tensors& tensors, const std::filesystem::path& path) {
    nlohmann::ordered_json header;
    std::size_t place = 0;
    for (std::size_t alignment : {8, 4, 2, 1})  // the widest first, so that each lies at a multiple of its size
        for (const auto& [name, tensor] : tensors) {
            if (size_of(tensor.dtype) != alignment) continue;
            header[name] = {{"dtype", NAMES.at(tensor.dtype)},
                            {"shape", tensor.shape},
                            {"data_offsets", {place, place + tensor.data.size()}}};
            place += tensor.data.size();
        }
    std::string text = header.empty() ? "{}" : header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    auto beside = path;
    beside += ".part";
    try {
        std::ofstream file(beside, std::ios::binary);
        std::uint64_t length = text.size();
        file.write(reinterpret_cast<const char*>(&length), 8);
        file << text;
        for (const auto& item : header.items()) {
            const auto& data = tensors.at(item.key()).data;
            file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
        }
        file.close();
        if (!file) throw std::runtime_error("cannot write " + beside.string());
        std::filesystem::rename(beside, path);
    } catch (...) {
        std::error_code untold;
        std::filesystem::remove(beside, untold);
        throw;
    }
}

}  // namespace modgrad
