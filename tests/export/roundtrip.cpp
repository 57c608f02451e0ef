// Reads a .safetensors file with what the C++ example reads it with, and writes its tensors to another.
#include <cstdio>
#include <exception>

#include "safetensors.h"

int main(int, char** arguments) {
    try {
        modgrad::write_safetensors(modgrad::read_safetensors(arguments[1]), arguments[2]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
