"""The artifact: an ONNX graph with its contract."""
