"""How PyTorch's own routes fare at exporting a training step to ONNX: `python -m benchmarks.stock_routes`.

models.py       four models and their batches, with gradients that are exactly zero
step.py         the step as a function (state, batch) -> (state, loss), written with PyTorch, and the truth by autograd
routes.py       the routes: each writes an ONNX file, or raises
recipe.py       the best that can be done by hand with PyTorch's exporter
__main__.py     runs each route on each model in a process of its own, and prints the table
"""
