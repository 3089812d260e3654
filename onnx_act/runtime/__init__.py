"""What ONNX Runtime is and does on this machine; the only package that imports it."""
