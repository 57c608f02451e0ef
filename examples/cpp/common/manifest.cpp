#include "manifest.h"

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace modgrad {

namespace {

using nlohmann::json;

Shape shape_of(const json& sizes) {
    Shape shape;
    for (const auto& size : sizes) shape.push_back(size.is_number() ? size.get<std::int64_t>() : -1);
    return shape;
}

Port port(const json& about, const char* name) {
    return {about.at(name), about.at("dtype"), shape_of(about.at("shape"))};
}

std::vector<Port> ports(const json& list, const char* name) {
    std::vector<Port> found;
    for (const auto& about : list) found.push_back(port(about, name));
    return found;
}

std::int64_t smallest(const json& about) {
    return about.contains("batch_sizes") ? about.at("batch_sizes").at(0).get<std::int64_t>() : 1;
}

}  // namespace

Manifest read_manifest(const std::filesystem::path& path, const std::string& format) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("there is no manifest " + path.string());
    json all = json::parse(file);
    if (all.at("format") != format || all.at("version") != 1 || all.at("steps") != 1)
        throw std::runtime_error(path.string() + " is not of the format " + format + ", version 1, one step a call");
    Manifest manifest;
    manifest.model = all.at("model");
    manifest.criterion = all.at("criterion");
    manifest.optimizer = all.at("optimizer");
    auto folder = path.parent_path();
    const auto& files = all.at("files");
    manifest.step = folder / files.at("step").get<std::string>();
    manifest.predict = folder / files.at("predict").get<std::string>();
    manifest.state = folder / files.at("state").get<std::string>();
    manifest.threads = all.value("threads", 1);
    std::map<std::string, Entry> entries;
    for (const auto& about : all.at("state")) {
        auto [name, dtype, shape] = port(about, "name");
        entries[name] = {name, about.at("kind"), dtype, shape};
    }
    for (const auto& about : all.at("tensors")) {
        Held held{port(about, "input"), std::nullopt, {}};
        if (!about.at("output").is_null()) held.output = about.at("output").get<std::string>();
        for (const auto& each : about.at("holds"))
            held.holds.emplace_back(entries.at(each.at("name")), each.at("offset"));
        manifest.tensors.push_back(std::move(held));
    }
    manifest.numbers = ports(all.at("numbers"), "input");
    for (const auto& about : all.at("numbers")) manifest.rates.push_back(about.at("value"));
    manifest.batch = ports(all.at("batch"), "input");
    manifest.loss = port(all.at("loss"), "output");
    manifest.smallest = smallest(all);
    const auto& predict = all.at("predict");
    manifest.predict_state = predict.at("state").get<std::vector<std::string>>();
    manifest.predict_batch = ports(predict.at("batch"), "input");
    manifest.outputs = ports(predict.at("outputs"), "output");
    manifest.smallest_predicted = smallest(predict);
    return manifest;
}

void check(const Tensor& given, const Port& expected, std::int64_t smallest) {
    bool fits = given.dtype == expected.dtype && given.shape.size() == expected.shape.size();
    for (std::size_t i = 0; fits && i < given.shape.size(); i++)
        fits = expected.shape[i] < 0 ? given.shape[i] >= smallest : given.shape[i] == expected.shape[i];
    if (!fits)
        throw std::invalid_argument(expected.name + " is " + described(given.dtype, given.shape) + ", expected " +
                                    described(expected.dtype, expected.shape) +
                                    (smallest > 1 ? ", batch being at least " + std::to_string(smallest) : ""));
    if (given.data.size() != count(given.shape) * size_of(given.dtype))
        throw std::invalid_argument(expected.name + " has " + std::to_string(given.data.size()) + " bytes, not those of " +
                                    described(given.dtype, given.shape));
}

std::vector<Tensor> packed(const Manifest& manifest, const Tensors& named, const std::vector<Tensor>* before) {
    bool weights_alone = before != nullptr;
    for (const auto& held : manifest.tensors)
        for (const auto& [entry, offset] : held.holds)
            if (entry.kind != "parameter" && entry.kind != "buffer" && named.count(entry.name)) weights_alone = false;
    std::vector<Tensor> state;
    for (std::size_t i = 0; i < manifest.tensors.size(); i++) {
        const auto& held = manifest.tensors[i];
        Tensor tensor = before ? (*before)[i] : Tensor(held.input.dtype, held.input.shape);
        for (const auto& [entry, offset] : held.holds) {
            auto found = named.find(entry.name);
            if (found == named.end()) {
                if (weights_alone && entry.kind != "parameter" && entry.kind != "buffer") continue;
                throw std::runtime_error("the state has no " + entry.kind + " " + entry.name);
            }
            const Tensor& given = found->second;
            if (given.dtype != entry.dtype || given.shape != entry.shape)
                throw std::runtime_error(entry.name + " is " + described(given.dtype, given.shape) + ", expected " +
                                         described(entry.dtype, entry.shape));
            std::memcpy(tensor.data.data() + offset * size_of(entry.dtype), given.data.data(), given.data.size());
        }
        state.push_back(std::move(tensor));
    }
    return state;
}

Tensors unpacked(const Manifest& manifest, const std::vector<Tensor>& state) {
    Tensors named;
    for (std::size_t i = 0; i < state.size(); i++)
        for (const auto& [entry, offset] : manifest.tensors[i].holds) {
            Tensor tensor(entry.dtype, entry.shape);
            std::memcpy(tensor.data.data(), state[i].data.data() + offset * size_of(entry.dtype), tensor.data.size());
            named.emplace(entry.name, std::move(tensor));
        }
    return named;
}

}  // namespace modgrad
