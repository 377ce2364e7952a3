"""The integer program as standard ONNX operators; see `deploy.onnx_backend` for the entry points."""
