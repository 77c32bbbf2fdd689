"""Small runs that several test files train: equal shapes compile once."""

from dataclasses import replace

from attnflow.train import evaluation as ev
from attnflow.train.checkpoints import digest
from attnflow.train.config import Training

SMALL = Training(
    segments=5,
    train=800,
    heldout=400,
    test=400,
    epochs=8,
    batch=32,
    learning_rates=(0.05,),
    early_points=0,
)
TINY = replace(SMALL, epochs=6, paradigm="soft@epoch=3,lvml")  # equal shapes compile once
EXACT = Training(task="orthogonal", segments=5, classes=4, epochs=20, passes=5, early_points=0)


def weights(trained, replica=0):
    return digest(ev.one_run(trained, replica))
