"""What others measured and printed, measured again here: the anchors of the evidence (study ``anchors``)."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.archs.losses import squared_error
from normlab.config import data_label
from normlab.data import Dataset, Split, dataset
from normlab.errors import DataError
from normlab.measurements.registry import measurement
from normlab.measurements.starts import fitted, network_at_start
from normlab.measurements.training_images import preparation, sums
from normlab.norms import Normalization
from normlab.norms.moments import mean_and_std
from normlab.statistics import bootstrap_interval, share_interval
from normlab.statistics.channels import channel_names
from normlab.theory.curvature import Curvature

Scaling = Literal["per_pixel", "unit", "raw"]
Whitened = Literal["nothing", "everything", "training", "regularized"]
TABLES = ("iris", "wine", "breast_cancer", "digits")
CLASSIFIERS = ("tree", "nearest neighbors", "logistic regression", "naive Bayes", "forest", "support vectors")
MISTAKES = ("none", "divided by 256", "normalized twice", "blue for red")


@measurement
def three_estimators(
    *, data: dict[str, Any], published: str, estimator: str, std: Sequence[float], crop: int | None = None
) -> list[dict[str, Any]]:
    """The standard deviation of each channel by three estimators, and printed constants beside one of them.

    ``per_image`` is the mean of the images' deviations, ``root_mean_variance`` the root of the mean of their variances,
    ``pooled`` the deviation of all pixels of all images. For images of one size per_image <= root_mean_variance (a mean
    of roots is at most the root of the mean) <= pooled (law of total variance).

    Args:
        data: see :func:`normlab.measurements.training_images.training_images`.
        published: what the constants are called.
        estimator: that the constants are said to be of.
        std: the printed deviations, in units of u = x/255.
        crop: centre crop in pixels.

    Returns:
        A row a channel: ``per_image``, ``root_mean_variance``, ``pooled``, the printed ``constant``, the
        ``difference`` of that estimator minus the constant, all in units of u; and ``order``, the smaller of
        the two steps from one estimator to the next, which is 0 or more if the order is as above.

    Raises:
        DataError: if the images are missing, or have another number of channels than the constants, or the estimator
            is unknown.
    """
    per_image = sums(data, crop)
    names = channel_names(per_image.total.shape[1])
    if len(names) != len(std):
        raise DataError(f"{len(std)} deviations for images of {len(names)} channels")
    by_image = mean_and_std(per_image.pixels[:, None], per_image.total, per_image.squares)[1]
    values = {
        "per_image": by_image.mean(0),
        "root_mean_variance": by_image.square().mean(0).sqrt(),
        "pooled": per_image.statistics("pooled")[1],
    }
    if estimator not in values:
        raise DataError(f"estimator {estimator}: expected one of {', '.join(values)}")
    first, second, third = values.values()
    rows = []
    for place, (name, constant) in enumerate(zip(names, std, strict=True)):
        rows.append(
            {
                "data": data_label(data),
                "preparation": preparation(data, crop),
                "images": len(per_image),
                "published": published,
                "estimator": estimator,
                "channel": name,
                **{key: value[place].item() for key, value in values.items()},
                "constant": constant,
                "difference": values[estimator][place].item() - constant,
                "order": torch.minimum(second - first, third - second)[place].item(),
            }
        )
    return rows


@measurement
def logistic_regression(
    *, data: dict[str, Any], scaling: Scaling, strength: float = 1.0, most_iterations: int = 100
) -> list[dict[str, Any]]:
    """Test accuracy of one-versus-rest logistic regression on pixels, by scikit-learn.

    Args:
        data: options of :func:`normlab.dataset`; the validation images are put back among the training images.
        scaling: ``per_pixel``, each pixel minus its mean over the training images, divided by its deviation;
            ``unit``, x/255; ``raw``, x.
        strength: C, the inverse of the weight of half the squared norm of the coefficients.
        most_iterations: of Newton's method for each class.

    Returns:
        One row: ``accuracy`` with its 95% score interval, the ``iterations`` of the slowest class, and ``converged``,
        1 or 0.

    Raises:
        DataError: if the images are missing, or the source brings no test images.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import StandardScaler

    (x, labels), (test, expected) = _arrays(data)
    if scaling == "per_pixel":
        scaler = StandardScaler().fit(x)
        x, test = scaler.transform(x), scaler.transform(test)
    elif scaling == "unit":
        x, test = x / 255, test / 255
    binary = LogisticRegression(C=strength, solver="newton-cholesky", max_iter=most_iterations)
    with warnings.catch_warnings(record=True) as said:  # what it says is a column
        warnings.simplefilter("always")
        model = OneVsRestClassifier(binary).fit(x, labels)
    right = int((model.predict(test) == expected).sum())
    accuracy = share_interval(right, len(test))
    return [
        {
            "data": data_label(data),
            "scaling": scaling,
            "C": strength,
            "images": len(x),
            "test_images": len(test),
            "accuracy": accuracy.estimate,
            "accuracy_low": accuracy.low,
            "accuracy_high": accuracy.high,
            "iterations": max(int(binary.n_iter_[0]) for binary in model.estimators_),
            "converged": float(not any(issubclass(one.category, ConvergenceWarning) for one in said)),
        }
    ]


def _arrays(data: dict[str, Any]) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Pixels float64 [N, D] in 0..255 and labels [N], of all training images and of the test images."""
    loaded = dataset(**data)
    pixels, labels = _together(loaded.train, loaded.validation)
    others, expected = _together(loaded.test)
    return (pixels.double().numpy(), labels.numpy()), (others.double().numpy(), expected.numpy())


def _together(*splits: Split) -> tuple[Tensor, Tensor]:
    """All images of some splits as features uint8 [N, D], and their labels [N]."""
    pairs = [pair for split in splits for pair in split.batches(1024)]
    return torch.cat([images for images, _ in pairs]).flatten(1), torch.cat([labels for _, labels in pairs])


@measurement
def whitening_to_chance(
    *,
    data: dict[str, Any],
    images: int = 2000,
    test_images: int = 1000,
    whitened: Sequence[Whitened] = ("nothing", "everything", "training", "regularized"),
    regularization: float = 0.1,
    width: int = 100,
    steps: int = 200,
    rate: float = 0.5,
    momentum: float = 0.9,
    seeds: Sequence[int] = (0, 1, 2),
) -> list[dict[str, Any]]:
    """A network with a dense first layer on inputs that are whitened with statistics of training and test images.

    If there are no more images in total than features, all whitened images have the same inner product with each other,
    and gradient descent, which sees nothing but inner products, cannot tell one test image from another: accuracy is
    chance (Wadia et al. 2021, "Whitening and second order optimization both make information in the dataset unusable
    during training, and can reduce or prevent generalization", section 2).

    Args:
        data: options of :func:`normlab.dataset`.
        images: for training.
        test_images: for testing.
        whitened: the arms. ``nothing``: pixels minus their means, divided by one deviation; ``everything``: whitened
            with the statistics of training and test images together; ``training``: with those of the training images
            alone; ``regularized``: as ``everything``, with a share of the mean eigenvalue added to each.
        regularization: that share.
        width: of the one hidden layer, of tanh.
        steps: of full-batch descent on the cross-entropy.
        rate: of learning, in units of 1 / the largest eigenvalue of the inputs' covariance.
        momentum: heavy ball.
        seeds: of the initial weights.

    Returns:
        A row for each arm and seed: ``directions``, which are left after whitening, and must be the images in total
        minus 1 for the theorem; ``train_accuracy`` and test ``accuracy`` after the last step; the share
        ``commonest`` of the test images in their most frequent class.

    Raises:
        DataError: if the images are missing or too few.
    """
    loaded = dataset(**data)
    x, labels = _drawn(loaded.train, images)
    test, expected = _drawn(loaded.test, test_images)
    rows = []
    for arm in whitened:
        fit = x if arm == "training" else torch.cat([x, test])
        ridge = regularization if arm == "regularized" else 0.0
        inputs, others = _standardized(fit, x, test) if arm == "nothing" else _whitened(fit, x, test, ridge=ridge)
        scale = torch.linalg.matrix_norm(inputs, 2).square() / len(inputs)  # largest eigenvalue of the second moments
        inputs, others = inputs.float(), others.float()
        for seed in seeds:
            torch.manual_seed(seed)
            body = nn.Sequential(nn.Linear(inputs.shape[1], width), nn.Tanh(), nn.Linear(width, len(loaded.classes)))
            optimizer = torch.optim.SGD(body.parameters(), lr=rate / scale.item(), momentum=momentum)
            for _ in range(steps):
                optimizer.zero_grad()
                F.cross_entropy(body(inputs), labels).backward()
                optimizer.step()
            rows.append(
                {
                    "data": data_label(data),
                    "whitened": arm,
                    "features": x.shape[1],
                    "directions": inputs.shape[1],
                    "images": images,
                    "test_images": test_images,
                    "seed": seed,
                    "train_accuracy": _accuracy(body, inputs, labels),
                    "accuracy": _accuracy(body, others, expected),
                    "commonest": (expected.bincount().max() / len(expected)).item(),
                }
            )
    return rows


def _drawn(split: Split, count: int) -> tuple[Tensor, Tensor]:
    """Images drawn at random, the same at each call, as features u, float64 [count, D], and their labels [count]."""
    pixels, labels = _together(split)
    if count > len(pixels):
        raise DataError(f"{count} images asked for, and the split has {len(pixels)}: give a larger limit")
    chosen = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:count]
    return pixels[chosen].double() / 255, labels[chosen]


def _standardized(fit: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
    mean = fit.mean(0)
    deviation = (fit - mean).square().mean().sqrt()
    return tuple((part - mean) / deviation for part in parts)


def _whitened(fit: Tensor, *parts: Tensor, ridge: float = 0.0) -> tuple[Tensor, ...]:
    """Parts in the eigenbasis of the covariance of ``fit``, each direction at unit variance over ``fit``.

    Directions without variance are left out. The order and signs of the directions are no matter to gradient descent.
    """
    mean = fit.mean(0)
    centred = fit - mean
    # The smaller of the two products has the same eigenvalues above 0.
    if len(fit) <= fit.shape[1]:
        values, vectors = torch.linalg.eigh(centred @ centred.T / len(fit))
        kept = values > 1e-10 * values[-1]
        values = values[kept]
        directions = centred.T @ vectors[:, kept] / (len(fit) * values).sqrt()
    else:
        values, directions = torch.linalg.eigh(centred.T @ centred / len(fit))
        kept = values > 1e-10 * values[-1]
        values, directions = values[kept], directions[:, kept]
    scale = (values + ridge * values.mean()).sqrt()
    return tuple((part - mean) @ directions / scale for part in parts)


def _accuracy(body: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (body(inputs).argmax(1) == labels).double().mean().item()


@measurement
def edge_of_stability(
    *,
    data: dict[str, Any],
    images: int = 5000,
    width: int = 200,
    depth: int = 2,
    rate: float = 0.05,
    input_scale: float = 1.0,
    every: int = 50,
    most_steps: int = 3000,
    goal: float = 0.99,
    tolerance: float = 0.01,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The sharpness of the loss along full-batch gradient descent: it rises to 2/rate and stays just above.

    Sharpness is the largest eigenvalue of the Hessian of the training loss (Cohen et al. 2021, "Gradient descent on
    neural networks typically occurs at the edge of stability", arXiv:2103.00065, section 3). Half the squared error,
    summed over outputs, meaned over images; tanh; torch's default initial weights; pixels minus their means over all
    training images, divided by their deviations.

    Args:
        data: options of :func:`normlab.dataset`; the validation images are put back among the training images.
        images: for training, drawn at random by ``seed``, the same at every scale.
        width: of the hidden layers.
        depth: hidden layers.
        rate: of learning.
        input_scale: that the standardized pixels are multiplied with.
        every: so many steps the sharpness is measured.
        most_steps: of descent.
        goal: share of the training images from which descent stops.
        tolerance: relative, of each sharpness.
        seed: of the drawing and of the initial weights.

    Returns:
        One row: ``steps``; ``train_accuracy``; ``sharpness_at_start``; ``crossed_at``, the first measured step above
        2/rate (NaN if there is none); ``measured``, how many measurements from there on; of sharpness x rate / 2 over
        these the median, ``ratio``, the ``smallest``, the ``largest`` and the ``last``.

    Raises:
        DataError: if the images are missing, or descent diverges.
    """
    x, labels, classes = _standardized_pixels(data, images, seed)
    x *= input_scale
    torch.manual_seed(seed)
    sizes = [x.shape[1], *[width] * depth]
    hidden = [part for one, other in itertools.pairwise(sizes) for part in (nn.Linear(one, other), nn.Tanh())]
    body = nn.Sequential(*hidden, nn.Linear(width, classes))
    optimizer = torch.optim.SGD(body.parameters(), lr=rate)
    sharpness: dict[int, float] = {}
    for step in range(most_steps + 1):
        scores = body(x)
        loss = squared_error(scores, labels)
        if not loss.isfinite():
            raise DataError(f"rate {rate:g}: descent diverged at step {step}; give a smaller rate")
        accuracy = (scores.argmax(1) == labels).double().mean().item()
        done = accuracy >= goal or step == most_steps
        if step % every == 0 or done:
            sharpness[step] = Curvature(body, squared_error, x, labels).lambda_max(tolerance)
        if done:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    crossed = next((place for place, value in sharpness.items() if value > 2 / rate), math.nan)
    after = [value * rate / 2 for place, value in sharpness.items() if place >= crossed]
    return [
        {
            "data": data_label(data),
            "images": len(x),
            "rate": rate,
            "input_scale": input_scale,
            "seed": seed,
            "steps": step,
            "train_accuracy": accuracy,
            "sharpness_at_start": sharpness[0],
            "crossed_at": crossed,
            "measured": len(after),
            "ratio": float(np.median(after)) if after else math.nan,
            "smallest": min(after, default=math.nan),
            "largest": max(after, default=math.nan),
            "last": after[-1] if after else math.nan,
        }
    ]


def _standardized_pixels(data: dict[str, Any], count: int, seed: int) -> tuple[Tensor, Tensor, int]:
    """Some images, each pixel standardized over all training images: float32 [count, D], labels [count], classes."""
    loaded = dataset(**data)
    pixels, labels = _together(loaded.train, loaded.validation)
    if count > len(pixels):
        raise DataError(f"{data_label(data)}: {len(pixels)} training images, fewer than {count}")
    total = torch.zeros(pixels.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for part in pixels.split(1024):
        total += part.double().sum(0)
        squares += part.double().square().sum(0)
    mean = total / len(pixels)
    deviation = (squares / len(pixels) - mean.square()).clamp(min=0).sqrt()
    deviation[deviation == 0] = 1  # a pixel that never changes
    chosen = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(seed))[:count]
    return ((pixels[chosen].double() - mean) / deviation).float(), labels[chosen], len(loaded.classes)


@measurement
def mistakes_at_test(
    *,
    data: dict[str, Any],
    arch: dict[str, Any],
    norm: str = "dataset",
    epochs: int = 5,
    batch_size: int = 128,
    rate: float = 0.05,
    seed: int = 0,
    resamples: int = 2000,
) -> list[dict[str, Any]]:
    """A network is trained under a normalization and tested with mistakes in it.

    The mistakes: ``divided by 256``, u = x/256 in place of x/255 before the constants, which must hardly matter;
    ``normalized twice``, the output of the normalization goes through it once more in place of u; ``blue for red``, the
    channels in reverse order, while the constants keep theirs.

    Args:
        data: options of :func:`normlab.dataset`.
        arch: name and options of the network.
        norm: a scheme of a scale and a shift.
        epochs: of training by heavy ball 0.9 on the cross-entropy, with a rate that falls to 0 along a cosine.
        batch_size: of training.
        rate: at the start.
        seed: of weights and order.
        resamples: of the bootstrap.

    Returns:
        A row for each mistake, and for ``none``: test ``accuracy`` with its 95% score interval, and its ``difference``
        from that without a mistake, with the 95% bootstrap interval over test images, in units of 1.

    Raises:
        DataError: if the images are missing or have no three channels.
    """
    loaded = dataset(**data)
    if loaded.shape[0] != 3:
        raise DataError(f"{data_label(data)}: {loaded.shape[0]} channels; blue in place of red requires three")
    scheme = fitted(loaded, norm)
    network = network_at_start(loaded, scheme, arch, seed)
    _train(network, loaded, epochs=epochs, batch_size=batch_size, rate=rate, seed=seed)
    network.eval()
    right: dict[str, list[Tensor]] = {mistake: [] for mistake in MISTAKES}
    with torch.no_grad():
        for images, labels in loaded.test.batches(500):
            for mistake, parts in right.items():
                parts.append(network.body(_mistaken(scheme, images, mistake)).argmax(1) == labels)
    rows = []
    generator = np.random.default_rng(seed)
    without = torch.cat(right["none"]).double().numpy()
    for mistake, parts in right.items():
        now = torch.cat(parts).double().numpy()
        share = share_interval(int(now.sum()), len(now))
        difference = bootstrap_interval(now - without, generator, resamples=resamples)
        rows.append(
            {
                "data": data_label(data),
                "arch": arch["name"],
                "norm": norm,
                "mistake": mistake,
                "images": len(loaded.train),
                "test_images": len(now),
                "accuracy": share.estimate,
                "accuracy_low": share.low,
                "accuracy_high": share.high,
                "difference": difference.estimate,
                "difference_low": difference.low,
                "difference_high": difference.high,
            }
        )
    return rows


def _mistaken(scheme: Normalization, images: Tensor, mistake: str) -> Tensor:
    """What the network is given, float32 [B, C, H, W]. Of an affine scheme, A u + b; A u = f(u) - f(0)."""
    right = scheme(images)
    if mistake == "none":
        return right
    if mistake == "blue for red":
        return scheme(images.flip(1))
    shift = scheme(torch.zeros_like(images[:1]))
    if mistake == "divided by 256":
        return (right - shift) * (255 / 256) + shift
    scale = scheme(torch.full_like(images[:1], 255)) - shift  # "normalized twice"
    return scale * right + shift


def _train(network: nn.Module, loaded: Dataset, *, epochs: int, batch_size: int, rate: float, seed: int) -> None:
    """Descent on the cross-entropy; the last batch of an epoch may be smaller."""
    images, labels = (torch.cat(part) for part in zip(*loaded.train.batches(1024), strict=True))
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
    steps = epochs * math.ceil(len(images) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(epochs):
        for chosen in torch.randperm(len(images), generator=generator).split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            schedule.step()


@measurement
def scalers_and_classifiers(*, table: str, printed: dict[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Six scalers before six classifiers of scikit-learn, on one split of a noisy table, and what was printed for each.

    As in bsc-iitm/ML_Handbook, "Scaling multi-dataset multi-algo", commit fe20c94: normal noise of deviation 0.2 on
    every value (numpy's default_rng, seed 42), a fifth of the rows to test (seed 42), scalers fitted on the training
    rows, classifiers with their defaults (seed 42).

    Args:
        table: iris, wine, breast_cancer or digits.
        printed: for each scaler the printed number of right answers of the classifiers, in the order of
            ``CLASSIFIERS``.

    Returns:
        A row for each scaler and classifier: ``right`` of ``test_rows``, ``accuracy``, ``printed`` accuracy, and
        ``rows_off``, right answers minus printed ones.

    Raises:
        DataError: for another table, scaler or number of printed numbers.
    """
    from sklearn import datasets, preprocessing
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    classifiers: list[Any] = [
        DecisionTreeClassifier(random_state=42),
        KNeighborsClassifier(),
        LogisticRegression(),
        GaussianNB(),
        RandomForestClassifier(random_state=42),
        SVC(random_state=42),
    ]
    scalers: dict[str, Any] = {
        "none": preprocessing.FunctionTransformer(),
        "standard": preprocessing.StandardScaler(),
        "min_max": preprocessing.MinMaxScaler(),
        "max_abs": preprocessing.MaxAbsScaler(),
        "robust": preprocessing.RobustScaler(),
        "quantile": preprocessing.QuantileTransformer(output_distribution="normal"),
    }
    if table not in TABLES or not printed.keys() <= scalers.keys():
        raise DataError(f"table={table}: expected one of {', '.join(TABLES)}, and scalers among {', '.join(scalers)}")
    bunch: Any = getattr(datasets, f"load_{table}")()
    noisy = bunch.data + np.random.default_rng(seed=42).normal(0, 0.2, size=bunch.data.shape)
    train, test, labels, expected = train_test_split(noisy, bunch.target, test_size=0.2, random_state=42)
    rows = []
    for scaler, numbers in printed.items():
        if len(numbers) != len(CLASSIFIERS):
            raise DataError(f"{table}, {scaler}: {len(numbers)} numbers for {len(CLASSIFIERS)} classifiers")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer rows than quantiles; no convergence within the default iterations
            x = scalers[scaler].fit_transform(train)
            other = scalers[scaler].transform(test)
            for name, classifier, number in zip(CLASSIFIERS, classifiers, numbers, strict=True):
                right = int((classifier.fit(x, labels).predict(other) == expected).sum())
                rows.append(
                    {
                        "data": table,
                        "scaler": scaler,
                        "classifier": name,
                        "test_rows": len(expected),
                        "right": right,
                        "accuracy": right / len(expected),
                        "printed": number / len(expected),
                        "rows_off": right - number,
                    }
                )
    return rows


@measurement
def scaled_principal_components() -> list[dict[str, Any]]:
    """Two principal components of wine, unscaled and standardized, before logistic regression with a chosen strength.

    As in scikit-learn's example ``preprocessing/plot_scaling_importance.py`` of release 1.4: 30% of the rows to test
    (seed 42), 20 strengths C from 1e-5 to 1e5.

    Returns:
        Two rows, by ``scaler``: ``right`` of ``test_rows``, ``accuracy``, the chosen ``C``, and ``log_loss``.
    """
    from sklearn.datasets import load_wine
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    bunch: Any = load_wine()
    train, test, labels, expected = train_test_split(bunch.data, bunch.target, test_size=0.3, random_state=42)
    rows = []
    for scaler, steps in (("none", []), ("standard", [StandardScaler()])):
        model = make_pipeline(*steps, PCA(n_components=2), LogisticRegressionCV(Cs=np.logspace(-5, 5, 20)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of defaults that later releases change
            model.fit(train, labels)
        right = int((model.predict(test) == expected).sum())
        rows.append(
            {
                "data": "wine",
                "scaler": scaler,
                "test_rows": len(expected),
                "right": right,
                "accuracy": right / len(expected),
                "C": float(np.ravel(model[-1].C_)[0]),
                "log_loss": float(log_loss(expected, model.predict_proba(test))),
            }
        )
    return rows
