"""Forward models of photographs: camera, geometry, shading. No optimiser is imported here."""

from clew.render.camera import Camera, srgb_decode, srgb_encode
from clew.render.geometry import intersect_plane, intersect_sphere, polygon_form_factor
from clew.render.shading import (
    half_plane_coverage,
    irradiance,
    sky_beside_sphere,
    sphere_visibility,
)

__all__ = [
    "Camera",
    "half_plane_coverage",
    "intersect_plane",
    "intersect_sphere",
    "irradiance",
    "polygon_form_factor",
    "sky_beside_sphere",
    "sphere_visibility",
    "srgb_decode",
    "srgb_encode",
]
