"""Reading and editing models: the only package that imports onnx and onnx_ir."""
