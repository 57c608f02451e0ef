// What the tests ask of what the C++ example reads files with.
//
//     roundtrip FROM TO                  reads a .safetensors file and writes its tensors to another
//     roundtrip MANIFEST FORMAT BATCH    whether a program of this manifest takes its state, and the tensors of a file
//     roundtrip MANIFEST FORMAT BATCH FROM TO    the same, and what its state is after a file was loaded
#include <cstdio>
#include <exception>
#include <stdexcept>

#include "manifest.h"

using namespace modgrad;

int main(int count, char** arguments) {
    try {
        if (count == 3) {
            write_safetensors(read_safetensors(arguments[1]), arguments[2]);
            return 0;
        }
        auto manifest = read_manifest(arguments[1], arguments[2]);
        auto named = read_safetensors(manifest.state);
        auto state = packed(manifest, named);
        for (const auto& [name, tensor] : unpacked(manifest, state))
            if (tensor.data != named.at(name).data) throw std::runtime_error(name + " is another");
        auto tensors = read_safetensors(arguments[3]);
        Batch batch;
        for (const auto& port : manifest.batch) batch.push_back(tensors.at(port.name));
        check(batch, manifest.batch, manifest.sizes);
        if (count > 5) {
            state = packed(manifest, read_safetensors(arguments[4]), &state);
            write_safetensors(unpacked(manifest, state), arguments[5]);
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
