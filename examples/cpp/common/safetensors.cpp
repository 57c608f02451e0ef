#include "safetensors.h"

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

}  // namespace

Tensors read_safetensors(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("there is no file " + path.string());
    std::vector<char> all((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::uint64_t length = 0;
    if (all.size() >= 8) std::memcpy(&length, all.data(), 8);
    if (all.size() < 8 || length > all.size() - 8)
        throw std::runtime_error(path.string() + " is no safetensors file, or a damaged one");
    auto header = nlohmann::json::parse(all.begin() + 8, all.begin() + 8 + length);
    std::size_t start = 8 + length, available = all.size() - start;
    Tensors tensors;
    for (const auto& [name, about] : header.items()) {
        if (name == "__metadata__") continue;
        try {
            Tensor tensor(dtype_of(about.at("dtype")), about.at("shape").get<Shape>());
            auto [begin, end] = about.at("data_offsets").get<std::pair<std::size_t, std::size_t>>();
            if (begin > end || end > available || end - begin != tensor.data.size())
                throw std::runtime_error("whose place in the file is not one of its size");
            std::memcpy(tensor.data.data(), all.data() + start + begin, end - begin);
            tensors.emplace(name, std::move(tensor));
        } catch (const std::exception& error) {
            throw std::runtime_error(path.string() + " has " + name + ", " + error.what());
        }
    }
    return tensors;
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
    {
        std::ofstream file(beside, std::ios::binary);
        std::uint64_t length = text.size();
        file.write(reinterpret_cast<const char*>(&length), 8);
        file << text;
        for (const auto& item : header.items()) {
            const auto& data = tensors.at(item.key()).data;
            file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
        }
        file.flush();
        if (!file) throw std::runtime_error("cannot write " + beside.string());
    }
    std::filesystem::rename(beside, path);
}

}  // namespace modgrad
