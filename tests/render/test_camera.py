"""The camera against plane geometry, the sRGB curve against its standard."""

import numpy as np
import pytest

import clew
from clew.render import Camera, srgb_decode, srgb_encode


def camera(**changes):
    given = {"origin": (0, -6, 3), "target": (0, 0, 0.7), "field_of_view": 40.0}
    return Camera(**{**given, "width": 256, "height": 128, **changes})


def test_the_picture_is_as_wide_as_the_field_of_view():
    left = camera().directions((-0.5, 0.0))[64, 0]
    right = camera().directions((0.5, 0.0))[64, -1]
    upward = camera().axes()[2]
    flat = [ray - upward * (ray @ upward) for ray in (left, right)]
    cosine = flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    assert np.degrees(np.arccos(cosine)) == pytest.approx(40.0, rel=1e-10)


def test_rays_are_unit_and_the_middle_one_meets_the_target():
    rays = camera().directions()
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1.0, rtol=1e-14)
    middle = camera().directions((-0.5, -0.5))[64, 128]
    aim = np.array([0, 6, -2.3])
    np.testing.assert_allclose(middle, aim / np.linalg.norm(aim), rtol=1e-12, atol=1e-15)


def test_right_is_right_and_up_is_up():
    rays = camera().directions()
    assert np.all(np.diff(rays[:, :, 0], axis=1) > 0)
    assert np.all(np.diff(rays[:, :, 2], axis=0) < 0)


def test_a_shift_by_a_pixel_is_the_next_pixel():
    rays = camera().directions()
    np.testing.assert_allclose(camera().directions((1.0, 0.0))[:, :-1], rays[:, 1:], rtol=1e-12)
    np.testing.assert_allclose(camera().directions((0.0, 1.0))[:-1], rays[1:], rtol=1e-12)


@pytest.mark.parametrize("target", [(0, -6, 3), (0, -6, 9)])
def test_no_direction_of_view_is_an_error(target):
    with pytest.raises(clew.InputError, match="do not give a direction of view"):
        camera(target=target).directions()


def test_srgb_curve_against_published_values():
    # 8-bit codes of 18 % and 50 % grey, and the two ends of the straight piece.
    codes = np.round(255 * srgb_encode(np.array([0.0, 0.18, 0.5, 1.0])))
    assert codes.tolist() == [0, 118, 188, 255]
    assert srgb_encode(np.array(0.0031308)) == pytest.approx(0.04045, rel=1e-4)


def test_srgb_curves_undo_each_other():
    linear = np.concatenate([np.linspace(0, 0.01, 101), np.linspace(0.01, 1, 101)])
    linear = linear[np.abs(linear - 0.0031308) > 1e-6]  # the standard's pieces differ there by 1e-7
    np.testing.assert_allclose(srgb_decode(srgb_encode(linear)), linear, rtol=1e-12)


@pytest.mark.parametrize("curve", [srgb_encode, srgb_decode])
def test_srgb_derivatives(curve):
    clew.testing.check_derivatives(curve, np.array([0.001, 0.02, 0.3, 0.9]), step=1e-4)
    slope = clew.grad(lambda x: np.sum(curve(x)))(np.array([0.0, -0.01]))
    np.testing.assert_allclose(slope, 12.92 if curve is srgb_encode else 1 / 12.92)
