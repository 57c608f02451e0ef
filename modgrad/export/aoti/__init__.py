"""A training step as a package of machine code, which libtorch runs from C++."""
