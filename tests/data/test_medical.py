"""DICOM and NIfTI: the real files that pydicom and nibabel ship, against these libraries' own numbers."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from normlab.data import dataset
from normlab.errors import DataError
from normlab.inspection.images import inspect_files
from normlab.pictures import CorruptImageError, Reading, count_pages, read_picture


def shipped(name):
    return Path(pydicom.data.get_testdata_file(name, download=False))


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "rtdose_1frame.dcm"])
def test_values_are_in_the_units_of_the_file(name):
    data = pydicom.dcmread(shipped(name))
    expected = pydicom.pixels.apply_modality_lut(data.pixel_array, data).astype(np.float64)
    picture = read_picture(shipped(name))
    np.testing.assert_allclose(picture.array[0], expected, rtol=1e-6)
    mean, std = inspect_files([shipped(name)], small=1).sums.statistics("pooled")
    scale = picture.white or (1 if picture.array.dtype.kind in "if" else np.iinfo(picture.array.dtype).max)
    assert mean.item() == pytest.approx(expected.mean() / scale, rel=1e-10)
    assert std.item() == pytest.approx(expected.std() / scale, rel=1e-10)


def test_hounsfield_units_are_whole_numbers():
    picture = read_picture(shipped("CT_small.dcm"))
    assert picture.array.dtype == np.int16
    assert picture.array.min() < -500
    assert picture.white is None


def test_color_and_frames(tmp_path):
    color = shipped("SC_rgb_rle_2frame.dcm")
    second = read_picture(color, Reading(pages="all"), 1).array
    assert np.array_equal(second.transpose(1, 2, 0), pydicom.dcmread(color).pixel_array[1])
    many = shipped("rtdose.dcm")
    frames = pydicom.dcmread(many).pixel_array
    with pytest.raises(CorruptImageError, match=f"{len(frames)} frames in one file"):
        read_picture(many)
    assert count_pages(many, Reading()) == len(frames)
    slope = float(pydicom.dcmread(many).get("RescaleSlope", 1))
    np.testing.assert_allclose(read_picture(many, Reading(pages="all"), 3).array[0], frames[3] * slope, rtol=1e-6)


def test_monochrome_1_is_inverted(tmp_path):
    data = pydicom.dcmread(shipped("MR_small.dcm"))
    data.PhotometricInterpretation, data.PixelRepresentation, data.BitsStored = "MONOCHROME1", 0, 12
    data.PixelData = np.arange(data.Rows * data.Columns, dtype=np.uint16).tobytes()
    for key in ("RescaleSlope", "RescaleIntercept"):
        data.pop(key, None)
    data.save_as(tmp_path / "x.dcm")
    picture = read_picture(tmp_path / "x.dcm")
    assert picture.white == 4095
    assert picture.array.ravel()[:3].tolist() == [4095, 4094, 4093]


def without_rescale(name):
    data = pydicom.dcmread(shipped(name))
    for key in ("RescaleSlope", "RescaleIntercept", "PixelPaddingValue"):
        data.pop(key, None)
    return data


def test_signed_monochrome_1_is_inverted_and_told(tmp_path):
    data = without_rescale("MR_small.dcm")
    stored = data.pixel_array
    assert stored.dtype == np.int16
    data.PhotometricInterpretation = "MONOCHROME1"
    data.save_as(tmp_path / "x.dcm")
    picture = read_picture(tmp_path / "x.dcm")
    assert np.array_equal(picture.array[0], -1 - stored)
    assert picture.notes == ("MONOCHROME1 (0 is white), inverted",)


def test_a_modality_lut_is_applied_and_told(tmp_path):
    data = without_rescale("MR_small.dcm")
    stored = np.random.default_rng(0).integers(0, 4096, (data.Rows, data.Columns)).astype(np.uint16)
    data.PixelRepresentation, data.BitsStored, data.HighBit, data.PixelData = 0, 12, 11, stored.tobytes()
    table = pydicom.Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], "US"
    table.add_new("LUTData", "OW", np.arange(4095, -1, -1).astype("<u2").tobytes())
    data.ModalityLUTSequence = [table]
    data.save_as(tmp_path / "x.dcm")
    picture = read_picture(tmp_path / "x.dcm")
    assert np.array_equal(picture.array[0], 4095 - stored)
    assert picture.notes == ("modality LUT, applied",)


@pytest.mark.parametrize("in_each_frame", [False, True])
def test_an_enhanced_file_is_rescaled_by_the_groups_of_its_frames(tmp_path, in_each_frame):
    """Enhanced CT, MR and PET: no slope at the top, one for all frames or one for each (DICOM PS3.3, C.7.6.16.2.9)."""
    data = without_rescale("CT_small.dcm")
    stored = np.random.default_rng(0).integers(0, 4096, (3, data.Rows, data.Columns)).astype(np.int16)
    stored[:, 0] = -1
    data.NumberOfFrames, data.PixelData = 3, stored.tobytes()
    data.add_new("PixelPaddingValue", "SS", -1)
    groups = []
    scales = [(2, -1000), (0.5, 0), (3, 7)] if in_each_frame else [(2, -1000)]
    for slope, intercept in scales:
        scale, group = pydicom.Dataset(), pydicom.Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = slope, intercept, "HU"
        group.PixelValueTransformationSequence = [scale]
        groups.append(group)
    if in_each_frame:
        data.PerFrameFunctionalGroupsSequence, data.SharedFunctionalGroupsSequence = groups, [pydicom.Dataset()]
    else:
        data.SharedFunctionalGroupsSequence = groups
    data.save_as(tmp_path / "x.dcm")
    for frame in range(3):
        slope, intercept = scales[frame % len(scales)]
        picture = read_picture(tmp_path / "x.dcm", Reading(pages="all"), frame)
        np.testing.assert_allclose(picture.array[0], stored[frame].astype(np.float64) * slope + intercept, rtol=1e-6)
        assert ("another rescale in each frame, applied" in picture.notes) == in_each_frame
        assert any(note.startswith(f"declares padding {intercept - slope:g}, ") for note in picture.notes)
        assert picture.white is None


def test_padding_of_dicom_is_told_in_the_values_of_the_image(tmp_path):
    data = without_rescale("CT_small.dcm")
    stored = data.pixel_array.copy()
    stored[:3] = -2000
    data.RescaleSlope, data.RescaleIntercept, data.PixelData = 2, -1024, stored.tobytes()
    data.save_as(tmp_path / "none.dcm")
    data.add_new("PixelPaddingValue", "SS", -2000)
    data.save_as(tmp_path / "x.dcm")
    assert read_picture(tmp_path / "none.dcm").notes == ()
    assert read_picture(tmp_path / "x.dcm").notes == (
        "declares padding -5024, which counts as pixels (data.mask=nodata=-5024 leaves them out)",
    )
    masked = read_picture(tmp_path / "x.dcm", Reading(mask="nodata=-5024"))
    assert np.array_equal(masked.mask, stored != -2000)


def test_values_in_upper_bits_are_refused(tmp_path):
    data = without_rescale("CT_small.dcm")
    stored = np.random.default_rng(0).integers(0, 4096, (data.Rows, data.Columns)).astype(np.uint16)
    data.PixelRepresentation, data.BitsStored, data.HighBit, data.PixelData = 0, 12, 15, (stored << 4).tobytes()
    data.save_as(tmp_path / "x.dcm")
    with pytest.raises(CorruptImageError, match="its 12 bits end at bit 15, where pydicom does not"):
        read_picture(tmp_path / "x.dcm")
    data.HighBit, data.PixelData = 11, stored.tobytes()
    data.save_as(tmp_path / "x.dcm")
    assert np.array_equal(read_picture(tmp_path / "x.dcm").array[0], stored)


def test_no_dicom_is_named(tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"no dicom")
    with pytest.raises(CorruptImageError, match=r"x\.dcm: not a DICOM file, or broken at its beginning"):
        read_picture(tmp_path / "x.dcm")
    (tmp_path / "x.nii").write_bytes(b"no nifti")
    with pytest.raises(CorruptImageError, match=r"x\.nii: not a NIfTI file, or broken"):
        read_picture(tmp_path / "x.nii")


@pytest.mark.parametrize("name", ["anatomical.nii", "example4d.nii.gz", "functional.nii"])
def test_slices_of_a_volume(name):
    path = Path(nibabel.__file__).parent / "tests/data" / name
    if not path.is_file():
        pytest.skip("this nibabel ships without its test data")
    volume = nibabel.load(path).get_fdata()
    slices = volume.reshape(*volume.shape[:2], -1, order="F")
    assert count_pages(path, Reading()) == slices.shape[2]
    with pytest.raises(CorruptImageError, match=f"{slices.shape[2]} slices in one file"):
        read_picture(path)
    picture = read_picture(path, Reading(pages="all"), 5)
    np.testing.assert_allclose(picture.array[0].T, slices[:, :, 5], rtol=1e-6)
    slices = slices[..., :12]
    items = [(path, page) for page in range(slices.shape[2])]
    mean, std = inspect_files(items, small=1, reading=Reading(pages="all")).sums.statistics("pooled")
    scale = 1 if picture.array.dtype.kind in "if" else np.iinfo(picture.array.dtype).max
    tolerance = 1e-10 if picture.array.dtype.kind in "iu" else 1e-6
    assert mean.item() * scale == pytest.approx(slices.mean(), rel=tolerance)
    assert std.item() * scale == pytest.approx(slices.std(), rel=tolerance)


def test_a_folder_of_slices_is_a_data_set(tmp_path):
    for label, offset in (("a", -900), ("b", 50)):
        (tmp_path / label).mkdir()
        for n in range(4):
            noise = np.random.default_rng(n).integers(0, 30, (8, 8, 3)) + offset
            nibabel.save(nibabel.Nifti1Image(noise.astype(np.int16), np.eye(4)), tmp_path / label / f"{n}.nii.gz")
    with pytest.raises(DataError, match=r"3 slices in one file; give data\.pages=first or data\.pages=all"):
        dataset("folder", root=tmp_path)
    data = dataset("folder", root=tmp_path, pages="all")
    assert sum(map(len, data.splits.values())) == 24
    assert data.train.images.min() < -800
    assert (data.black, data.white) == (0, 1)


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "expected"),
    [
        (np.float64, None, None, "float32"),
        (np.int16, 0.5, 0, "float32"),
        (np.int16, 1, -1024, "int16"),
        (np.int16, None, None, "int16"),
    ],
)
def test_volumes_of_one_header_have_one_type(tmp_path, stored, slope, intercept, expected):
    """Whether a volume happens to hold whole numbers alone, as an empty one does, is no reason to refuse the set."""
    noise = np.random.default_rng(0).normal(0, 50, (8, 8, 1))
    for label in "ab":
        (tmp_path / label).mkdir()
        for n in range(4):
            values = np.zeros_like(noise) if n == 2 else noise + n
            image = nibabel.Nifti1Image(np.round(values).astype(stored) if n == 1 else values.astype(stored), np.eye(4))
            image.header.set_slope_inter(slope, intercept)
            nibabel.save(image, tmp_path / label / f"{n}.nii")
    for n in range(4):
        assert read_picture(tmp_path / "a" / f"{n}.nii").array.dtype == expected
    assert sum(map(len, dataset("folder", root=tmp_path).splits.values())) == 8
