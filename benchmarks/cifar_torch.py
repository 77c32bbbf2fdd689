"""Train the CIFAR pair in PyTorch on the mosaics of ``cifar.py``, from the same start.

    python benchmarks/cifar_torch.py --data DIR --paradigm hard --epochs 20

A second witness for what real networks do under a paradigm: same networks, start, mosaics, loss
and optimiser, PyTorch's own layers and gradients, inputs in another order. An epoch a line: mean
loss, mean focus weight on the true segment, largest score in size, and, on test mosaics, the rates
of the rule argmax in percent. Needs PyTorch.
"""

import argparse
from typing import Any

import numpy as np
import torch
from torch_pair import loss_of, pair
from training import BATCH, MOMENTUM, RATE, weights


def given(data: str, train: int) -> Any:
    """The mosaics of ``cifar.py``."""
    from attnflow.train.tasks import task

    return task("cifar10", segments=5, train=train, heldout=500, data=data, seed=0)


def pixels(images: Any, segments: np.ndarray) -> Any:
    """Mosaics [B, m, 3, side, side] from -1 to 1."""
    return images[torch.tensor(segments).long()].float() * (2 / 255) - 1


def tested(focus: Any, classifier: Any, images: Any, part: Any) -> tuple[float, float]:
    """Focus true and accuracy by the rule argmax, in percent."""
    true = hit = 0
    with torch.no_grad():
        for at in range(0, len(part), BATCH):
            here = slice(at, at + BATCH)
            x = pixels(images, np.asarray(part.segments[here]))
            scores = focus(x.flatten(0, 1)).reshape(x.shape[:2])
            seen = scores.argmax(1)
            label = classifier(x[torch.arange(len(x)), seen]).argmax(1).numpy()
            true += int(np.sum(seen.numpy() == np.asarray(part.true[here])))
            hit += int(np.sum(label == np.asarray(part.labels[here])))
    return 100 * true / len(part), 100 * hit / len(part)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="as attnflow train --data")
    parser.add_argument("--paradigm", default="hard", choices=("soft", "hard", "lvml"))
    parser.add_argument("--train", type=int, default=30000, help="training mosaics")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    made = given(options.data, options.train)
    images = torch.tensor(np.ascontiguousarray(np.asarray(made.base).transpose(0, 3, 1, 2)))
    part = made.sets["train"]
    labels, true = (torch.tensor(np.asarray(v)).long() for v in (part.labels, part.true))
    nets = [n.to(memory_format=torch.channels_last) for n in pair(weights(options.seed), True)]
    optimizers = [torch.optim.SGD(n.parameters(), lr=RATE, momentum=MOMENTUM) for n in nets]
    random = np.random.default_rng(options.seed)
    for epoch in range(1, options.epochs + 1):
        order = random.permutation(len(part))
        total = weight = largest = 0.0
        for at in range(0, len(part), BATCH):
            index = order[at : at + BATCH]
            x = pixels(images, np.asarray(part.segments)[index])
            loss, scores = loss_of(options.paradigm, *nets, x, labels[index])
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            scores = scores.detach()
            total += float(loss.detach()) * len(index)
            weight += float(scores.softmax(1).gather(1, true[index][:, None]).sum())
            largest = max(largest, float(scores.abs().max()))
        focus_true, accuracy = tested(*nets, images, made.sets["test"])
        print(
            f"epoch {epoch}: loss {total / len(part):.4f}, focus weight {weight / len(part):.4f}, "
            f"largest score {largest:.3g}, test {focus_true:.1f} / {accuracy:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
