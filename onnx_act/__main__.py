"""`python -m onnx_act`."""

from onnx_act.cli import main

if __name__ == "__main__":
    main()
