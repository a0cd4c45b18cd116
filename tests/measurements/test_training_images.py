"""Training images and their sums against numpy in float64."""

import numpy as np
import pytest
import torch

from normlab.errors import DataError
from normlab.measurements.training_images import sums, training_images


def test_both_estimators_against_numpy_on_images_of_different_sizes(folder):
    data, images = folder
    found = sums(data)
    u = [image / 255 for image in images]
    every = np.concatenate([image.reshape(-1, 3) for image in u])
    mean, std = found.statistics("pooled")
    np.testing.assert_allclose(mean, every.mean(0), rtol=1e-13)
    np.testing.assert_allclose(std, every.std(0), rtol=1e-13)
    mean, std = found.statistics("per_image")
    np.testing.assert_allclose(mean, np.mean([image.mean((0, 1)) for image in u], 0), rtol=1e-13)
    np.testing.assert_allclose(std, np.mean([image.std((0, 1)) for image in u], 0), rtol=1e-13)
    assert sums(data).total.tolist() == found.total.tolist()  # from the cache


def test_no_training_image_is_held_back_and_limit_draws_some(folder):
    data, images = folder
    assert len(list(training_images(data))) == 12
    some = [image[0].permute(1, 2, 0).numpy() for image in training_images({**data, "limit": 5})]
    places = [next(i for i, image in enumerate(images) if np.array_equal(image, one)) for one in some]
    assert len(set(places)) == 5
    assert len(sums({**data, "limit": 5})) == 5
    assert len(sums({"name": "digits"})) == 1797


def test_centre_crop(folder):
    data, images = folder
    found = list(training_images(data, crop=6))
    np.testing.assert_array_equal(found[5][0].permute(1, 2, 0), images[5][2:8, 4:10])  # of 10 x 15
    with pytest.raises(DataError, match="crop=11"):
        list(training_images(data, crop=11))
    resized = torch.cat(list(training_images({**data, "image_size": 8}, crop=6)))
    assert resized.shape == (12, 3, 6, 6)
