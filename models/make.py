"""Train every network, write the ONNX models and the test data, and print a table of them."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from networks import NETWORKS
from train_digits import Images, load_split, train
from write_onnx import to_onnx

HERE = Path(__file__).parent


def logits_of(path: Path, data: Images) -> np.ndarray:
    """The model's answers in onnxruntime."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"image": data.image})[0])


def make(name: str, training: Images, test: Images, folder: Path) -> str:
    """Make one model and return its row of the table."""
    network = train(name, training)
    path = folder / f"{name}.onnx"
    path.write_bytes(to_onnx(name, network).SerializeToString(deterministic=True))

    answers = logits_of(path, test)
    with torch.no_grad():
        expected = network(torch.from_numpy(test.image)).numpy()
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-4)

    right = int((answers.argmax(axis=1) == test.labels).sum())
    parameters = sum(p.numel() for p in network.parameters())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return (
        f"| `{path.name}` | {parameters:,} | {path.stat().st_size:,} "
        f"| {right / len(test.labels):.2%} ({right}/{len(test.labels)}) | `{digest}` |"
    )


def main() -> None:
    """Make everything in the folder asked for: this one, unless told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)

    training, test = load_split()
    np.savez_compressed(folder / "digits_test.npz", image=test.image, labels=test.labels)
    print("| File | Parameters | Bytes | Test accuracy in onnxruntime | SHA-256 begins |")
    print("|---|---|---|---|---|")
    for name in NETWORKS:
        print(make(name, training, test, folder), flush=True)


if __name__ == "__main__":
    main()
