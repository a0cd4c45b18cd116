import pytest
import torch

import normlab
from normlab.errors import DataError
from normlab.theory.lanczos import largest_eigenvalues


@pytest.mark.parametrize("name", ["unit", "dataset", "per_image", "zca"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_largest_eigenvalues_are_those_of_the_dense_solver(name, bias):
    digits = normlab.dataset("digits")
    norm = normlab.normalization(name).fit(digits.training_images())
    dense = normlab.linear_hessian(digits.train.images, norm, bias=bias).eigenvalues
    found = largest_eigenvalues(digits.train, norm, count=3, bias=bias)
    torch.testing.assert_close(found, dense[:3], rtol=1e-5, atol=0)  # whitened, they lie within 1e-5 of each other


def test_more_features_than_a_dense_hessian_can_hold(tmp_path):
    """12,288 features: few images, so that the Gram matrix of the samples has the same eigenvalues."""
    photos = normlab.dataset("photos", limit=60, image_size=64)
    norm = normlab.normalization("imagenet")
    with pytest.raises(DataError, match=r"normlab\.theory\.lanczos"):
        normlab.linear_hessian(photos.train.images, norm)
    x = norm.double()(photos.train.images).flatten(1)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=torch.float64)], 1)
    gram = torch.linalg.eigvalsh(x @ x.T / len(x)).flip(0)
    torch.testing.assert_close(largest_eigenvalues(photos.train, norm, count=2), gram[:2], rtol=1e-6, atol=0)


def test_too_many_eigenvalues_are_refused():
    planted = normlab.dataset("planted")
    with pytest.raises(DataError, match="17 eigenvalues of a matrix of 17"):
        largest_eigenvalues(planted.train, normlab.normalization("unit"), count=17)
