"""Encoders: grids of the right shape, VGG19 as PyTorch computes it, weights from every format."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from attnflow.captions.encoder import VGG19, grid_of, make_encoder
from attnflow.captions.vgg_weights import load_vgg19, torchvision_names, weights_of
from attnflow.errors import DataError, MissingPart, SettingError
from oracles.networks import filled

pytestmark = pytest.mark.usefixtures("compiled_once")
NARROW = (3, 4, 4, 4, 4)  # few shapes to compile
TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)


def pixels(size, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_both_encoders_give_196_cells_of_512_at_full_size():
    for name in ("conv", "vgg19"):
        encoder = nnx.eval_shape(lambda name=name: make_encoder(name, 0, 224, 64, 4))
        shown = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)
        assert nnx.eval_shape(lambda m, x: m(x), encoder, shown).shape == (1, 196, 512)
    assert grid_of(196) == (14, 14)


def test_names_are_those_of_torchvisions_layers():
    assert torchvision_names() == [f"features.{i}" for i in TORCHVISION]


@pytest.mark.slow
def test_vgg19_is_what_pytorch_computes_with_the_same_weights():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from torch.nn import functional

    encoder, shown = VGG19(nnx.Rngs(3), NARROW), pixels(32)
    for layer in encoder.layers:
        layer.bias[...] = jax.random.normal(jax.random.key(1), layer.bias.shape) / 10
    weights = {name: torch.tensor(np.array(v)) for name, v in weights_of(encoder).items()}
    hidden = torch.tensor(shown.transpose(0, 3, 1, 2)).float() / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    hidden = (hidden - mean[None, :, None, None]) / deviation[None, :, None, None]
    for place in range(36):  # VGG19's features but the last pool
        if place in TORCHVISION:
            w, b = (weights[f"features.{place}.{part}"] for part in ("weight", "bias"))
            hidden = functional.relu(functional.conv2d(hidden, w, b, padding=1))
        elif place in (4, 9, 18, 27):
            hidden = functional.max_pool2d(hidden, 2)
    expected = hidden.permute(0, 2, 3, 1).reshape(2, 4, NARROW[-1]).numpy()
    found = np.asarray(encoder(shown))
    assert expected.max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def random_like(encoder, seed):
    random = np.random.default_rng(seed)
    shapes = {name: value.shape for name, value in weights_of(encoder).items()}
    return {n: random.normal(size=shape).astype(np.float32) for n, shape in shapes.items()}


@pytest.fixture(scope="module")
def encoder():
    return filled(lambda: VGG19(nnx.Rngs(6), NARROW), 6)


@pytest.fixture
def stored(encoder, tmp_path):
    return random_like(encoder, 5), tmp_path


def write(values, path):
    if path.suffix == ".npz":
        np.savez(path, **values)
    elif path.suffix == ".safetensors":
        save = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
        save.save_file({k: np.ascontiguousarray(v) for k, v in values.items()}, path)
    else:
        torch = pytest.importorskip("torch", reason="PyTorch is not installed")
        torch.save({k: torch.tensor(np.array(v)) for k, v in values.items()}, path)


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".pth"])
def test_weights_come_back_from_every_format(encoder, stored, ending):
    values, folder = stored
    more = {**values, "classifier.0.weight": np.zeros((2, 2), np.float32)}
    write(more, folder / f"w{ending}")
    load_vgg19(encoder, folder / f"w{ending}")
    for name, value in weights_of(encoder).items():
        assert (value == values[name]).all()


@pytest.mark.parametrize(
    "wrapped", ["module.features.{}", "features.module.{}", "model.features.{}", "a.b.features.{}"]
)
def test_weights_of_a_wrapped_network_are_those_of_the_network(encoder, stored, wrapped):
    values, folder = stored
    entries = {wrapped.format(name.removeprefix("features.")): v for name, v in values.items()}
    write(entries | {"module.classifier.0.weight": np.zeros(2, np.float32)}, folder / "W.NPZ")
    load_vgg19(encoder, folder / "W.NPZ")
    for name, value in weights_of(encoder).items():
        assert (value == values[name]).all()
    write(entries | values, folder / "two.npz")
    with pytest.raises(DataError, match=r"two.npz' have 'features.0.(bias|weight)' more than once"):
        load_vgg19(encoder, folder / "two.npz")


def test_weights_that_do_not_fit_say_which_there_are(encoder, stored):
    _, folder = stored
    write({f"block{i}.kernel": np.zeros(2, np.float32) for i in range(9)}, folder / "k.npz")
    said = r"no entry 'features.0.weight'; their 9 entries are block0.kernel, .*kernel, \.\.\.$"
    with pytest.raises(DataError, match=said):
        load_vgg19(encoder, folder / "k.npz")


def test_the_first_entry_that_does_not_fit_is_named_and_nothing_is_set(encoder, stored):
    values, folder = stored
    before = weights_of(encoder)
    write({**values, "features.5.bias": np.zeros(9, np.float32)}, folder / "a.npz")
    with pytest.raises(DataError, match=r"'features.5.bias' of .*shape \(4,\), got \(9,\)"):
        load_vgg19(encoder, folder / "a.npz")
    values.pop("features.34.weight")
    write(values, folder / "b.npz")
    with pytest.raises(DataError, match="b.npz' have no entry 'features.34.weight'"):
        load_vgg19(encoder, folder / "b.npz")
    (folder / "c.npz").write_bytes(b"x")
    with pytest.raises(DataError, match="c.npz' are damaged"):
        load_vgg19(encoder, folder / "c.npz")
    (folder / "c.h5").write_bytes(b"x")
    with pytest.raises(DataError, match="must end in one of .pth, .pt, .safetensors, .npz"):
        load_vgg19(encoder, folder / "c.h5")
    with pytest.raises(MissingPart, match="no encoder weights at '.*none.pth': put torchvision's"):
        load_vgg19(encoder, folder / "none.pth")
    after = weights_of(encoder)
    assert all((after[name] == before[name]).all() for name in before)


def test_a_pth_that_would_execute_something_is_refused(encoder, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    class Harm:
        def __reduce__(self):
            return (tmp_path.joinpath("harm").touch, ())

    torch.save({"features.0.weight": Harm()}, tmp_path / "harm.pth")
    with pytest.raises(DataError, match="harm.pth' are damaged"):
        load_vgg19(encoder, tmp_path / "harm.pth")
    assert not (tmp_path / "harm").exists()


def test_encoders_are_checked_by_name_and_size():
    with pytest.raises(SettingError, match="encoder must be one of conv, vgg19, got 'resnet'"):
        make_encoder("resnet", 0, 224, 64, 4)
    with pytest.raises(SettingError, match="image_size must be at least 16 .* got 8"):
        make_encoder("conv", 0, 8, 4, 4)
    with pytest.raises(SettingError, match="square grid of cells, got 12 cells"):
        grid_of(12)
