"""A training step as an ordinary ONNX graph of standard operators."""
