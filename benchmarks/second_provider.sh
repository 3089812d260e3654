#!/usr/bin/env bash
# Runs the tests of providers beside the CPU with OpenVINO, in an environment of its own that it
# makes and removes again (onnxruntime-openvino installs into the same folder as onnxruntime).
#
#   bash benchmarks/second_provider.sh [PYTEST ARGUMENT...]
#
# PYTHON names another interpreter, OPENVINO another version of the package, and KEEP_IN a folder
# in which the environment stays for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${KEEP_IN:-}" ]; then
    work="$KEEP_IN"
    mkdir -p "$work"
else
    work="$(mktemp -d)"
    trap 'rm -rf "$work"' EXIT
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 ONNX_ACT_CACHE_DIR="$work/answers"

if [ ! -x "$work/venv/bin/onnx-act" ]; then
    "${PYTHON:-python3}" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install -q -e ".[test]"
    "$work/venv/bin/python" -m pip uninstall -q -y onnxruntime
    "$work/venv/bin/python" -m pip install -q "onnxruntime-openvino${OPENVINO:+==$OPENVINO}"
fi

"$work/venv/bin/onnx-act" doctor
if [ "$#" -eq 0 ]; then
    set -- tests/gpu
fi
"$work/venv/bin/python" -m pytest -q "$@"
# In their own columns: what is placed where, and how long both providers take.
"$work/venv/bin/onnx-act" validate models/digits_cnn_relu.onnx models/digits_cnn_relu.onnx \
    --provider openvino --provider cpu --strict-placement
"$work/venv/bin/onnx-act" bench models/digits_cnn_relu.onnx models/digits_cnn_silu.onnx \
    --provider openvino --provider cpu --time 5s
