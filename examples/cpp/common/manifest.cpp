#include "manifest.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

namespace modgrad {

namespace {

using nlohmann::json;

Port port(const json& about, const char* name) {
    Port found{about.at(name), about.at("dtype"), {}, {}};
    for (const auto& size : about.at("shape")) {
        bool fixed = size.is_number_unsigned();
        found.shape.push_back(fixed ? size.get<std::int64_t>() : -1);
        found.free.push_back(fixed ? "" : size.get<std::string>());
    }
    return found;
}

std::vector<Port> ports(const json& list, const char* name) {
    std::vector<Port> found;
    for (const auto& about : list) found.push_back(port(about, name));
    return found;
}

Sizes sizes(const json& about) {
    Sizes found;
    if (!about.contains("batch_sizes")) return found;
    found.smallest = about.at("batch_sizes").at(0);
    if (const auto& largest = about.at("batch_sizes").at(1); !largest.is_null()) found.largest = largest;
    return found;
}

// An input of the program, with the entries at their places within it.
Held held(const json& about, const std::map<std::string, Entry>& entries) {
    Held found{port(about, "input"), std::nullopt, {}};
    if (!about.at("output").is_null()) found.output = about.at("output").get<std::string>();
    std::size_t width = size_of(found.input.dtype), bytes = size_of(found.input.dtype, found.input.shape);
    for (const auto& each : about.at("holds")) {
        std::string name = each.at("name");
        auto entry = entries.find(name);
        auto offset = each.at("offset").get<std::uint64_t>();
        if (entry == entries.end() || entry->second.dtype != found.input.dtype || offset > bytes / width ||
            size_of(entry->second.dtype, entry->second.shape) > bytes - offset * width)
            throw std::runtime_error(found.input.name + " is said to hold " + name + ", which does not fit");
        found.holds.emplace_back(entry->second, offset * width);
    }
    return found;
}

Manifest manifest_of(const json& all, const std::filesystem::path& folder, const std::string& format) {
    if (all.at("format") != format || all.at("version") != 1 || all.at("steps") != 1)
        throw std::runtime_error("it is not of the format " + format + ", version 1, one step a call");
    Manifest manifest;
    manifest.model = all.at("model");
    manifest.criterion = all.at("criterion");
    manifest.optimizer = all.at("optimizer");
    auto file = [&](const char* what) {  // beside the manifest, whatever it says
        return folder / std::filesystem::path(all.at("files").at(what).get<std::string>()).filename();
    };
    manifest.step = file("step");
    manifest.predict = file("predict");
    manifest.state = file("state");
    manifest.threads = all.value("threads", 1);
    std::map<std::string, Entry> entries;
    for (const auto& about : all.at("state")) {
        auto [name, dtype, shape, free] = port(about, "name");
        entries[name] = {name, about.at("kind"), dtype, shape};
    }
    std::map<std::string, std::size_t> places;
    for (const auto& about : all.at("tensors")) {
        manifest.tensors.push_back(held(about, entries));
        places[manifest.tensors.back().input.name] = manifest.tensors.size() - 1;
    }
    manifest.numbers = ports(all.at("numbers"), "input");
    for (const auto& about : all.at("numbers")) manifest.rates.push_back(about.at("value"));
    for (const auto& number : manifest.numbers)
        if (number.dtype != "float64" || !number.shape.empty())
            throw std::runtime_error(number.name + " is no float64 scalar");
    manifest.batch = ports(all.at("batch"), "input");
    manifest.loss = port(all.at("loss"), "output");
    if (!manifest.loss.shape.empty()) throw std::runtime_error("the loss is no scalar");
    manifest.sizes = sizes(all);
    const auto& predict = all.at("predict");
    for (const auto& name : predict.at("state").get<std::vector<std::string>>()) {
        if (!places.count(name)) throw std::runtime_error("the prediction takes " + name + ", which the state lacks");
        manifest.predicted.push_back(places[name]);
    }
    manifest.predict_batch = ports(predict.at("batch"), "input");
    manifest.outputs = ports(predict.at("outputs"), "output");
    manifest.predict_sizes = sizes(predict);
    return manifest;
}

struct Seen {  // a free size, and where it was first met
    std::string name, in;
    std::int64_t size;
};

std::string described(const Port& port) {
    std::string text;
    for (std::size_t i = 0; i < port.shape.size(); i++)
        text += (i ? ", " : "") + (port.free[i].empty() ? std::to_string(port.shape[i]) : port.free[i]);
    return port.dtype + " (" + text + ")";
}

// What a free size can be.
std::string told(const std::string& name, const Sizes& sizes, const Seen* seen) {
    if (seen) return ", " + name + " being " + std::to_string(seen->size) + " as in " + seen->in;
    bool bounded = sizes.largest < Sizes{}.largest;
    return ", " + name + " being from " + std::to_string(sizes.smallest) +
           (bounded ? " to " + std::to_string(sizes.largest) : " up");
}

}  // namespace

Manifest read_manifest(const std::filesystem::path& path, const std::string& format) {
    std::ifstream file(path);
    if (!file) throw std::runtime_error("there is no manifest " + path.string());
    try {
        return manifest_of(json::parse(file), path.parent_path(), format);
    } catch (const std::exception& error) {
        throw std::runtime_error(path.string() + " is no manifest for a Trainer, or a damaged one: " + error.what());
    }
}

void check(const Batch& given, const std::vector<Port>& expected, const Sizes& sizes) {
    if (given.size() != expected.size())
        throw std::invalid_argument(std::to_string(given.size()) + " tensors given, expected " +
                                    std::to_string(expected.size()));
    std::vector<Seen> free;
    for (std::size_t i = 0; i < given.size(); i++) {
        const Tensor& tensor = given[i];
        const Port& port = expected[i];
        auto refuse = [&](const std::string& known) {
            throw std::invalid_argument(port.name + " is " + described(tensor.dtype, tensor.shape) + ", expected " +
                                        described(port) + known);
        };
        if (tensor.dtype != port.dtype || tensor.shape.size() != port.shape.size()) refuse("");
        for (std::size_t k = 0; k < port.shape.size(); k++) {
            auto size = tensor.shape[k];
            const auto& name = port.free[k];
            if (name.empty()) {
                if (size != port.shape[k]) refuse("");
                continue;
            }
            auto seen = std::find_if(free.begin(), free.end(), [&](const Seen& each) { return each.name == name; });
            bool met = seen != free.end();
            if (met ? size != seen->size : size < sizes.smallest || size > sizes.largest)
                refuse(told(name, sizes, met ? &*seen : nullptr));
            if (!met) free.push_back({name, port.name, size});
        }
        if (tensor.data.size() != size_of(tensor.dtype, tensor.shape))
            throw std::invalid_argument(port.name + " has " + std::to_string(tensor.data.size()) +
                                        " bytes, not those of " + described(tensor.dtype, tensor.shape));
    }
}

std::vector<Tensor> packed(const Manifest& manifest, const Tensors& named, const std::vector<Tensor>* before) {
    std::set<std::string> kinds{"parameter"}, strange;
    for (const auto& each : named) strange.insert(each.first);
    for (const auto& held : manifest.tensors)
        for (const auto& each : held.holds)
            if (strange.erase(each.first.name)) kinds.insert(each.first.kind);
    if (!strange.empty()) throw std::runtime_error("the state has " + *strange.begin() + ", which is not of this step");
    std::vector<Tensor> state;
    for (std::size_t i = 0; i < manifest.tensors.size(); i++) {
        const auto& held = manifest.tensors[i];
        Tensor tensor = before ? (*before)[i] : Tensor(held.input.dtype, held.input.shape);
        for (const auto& [entry, offset] : held.holds) {
            auto found = named.find(entry.name);
            if (found == named.end()) {
                if (before && !kinds.count(entry.kind)) continue;
                throw std::runtime_error("the state has no " + entry.kind + " " + entry.name);
            }
            const Tensor& given = found->second;
            if (given.dtype != entry.dtype || given.shape != entry.shape)
                throw std::runtime_error(entry.name + " is " + described(given.dtype, given.shape) + ", expected " +
                                         described(entry.dtype, entry.shape));
            std::copy(given.data.begin(), given.data.end(), tensor.data.begin() + static_cast<std::ptrdiff_t>(offset));
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
            auto begin = state[i].data.begin() + static_cast<std::ptrdiff_t>(offset);
            std::copy_n(begin, tensor.data.size(), tensor.data.begin());
            named.emplace(entry.name, std::move(tensor));
        }
    return named;
}

}  // namespace modgrad
