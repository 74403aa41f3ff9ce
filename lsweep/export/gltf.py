"""Binary glTF 2.0 files (.glb) of a plane, for Blender and the web. Numpy only."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FLOAT, UINT, VEC3 = 5126, 5125, "VEC3"
VERTICES, INDICES = 34962, 34963  # targets of a buffer view
TRIANGLES = 4
WIDTH = 0.006  # radius of a path's tube, in units of the plane's longer side
SIDES = 8  # of a tube
PADDING = {b"JSON": b" ", b"BIN\0": b"\0"}


@dataclass
class _Buffer:
    """Consecutive arrays, each with its view and accessor."""

    data: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def add(self, array: np.ndarray, *, indices: bool = False, bounds: bool = False) -> int:
        """Append (n, 3) float32 vertices or (n,) uint32 indices, and return the index of the accessor."""
        array = np.ascontiguousarray(array, dtype="<u4" if indices else "<f4")
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.views.append(view | {"target": INDICES if indices else VERTICES})
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": UINT if indices else FLOAT,
            "count": len(array),
            "type": "SCALAR" if indices else VEC3,
        }
        if bounds:
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self.accessors.append(accessor)
        self.data += array.tobytes()
        return len(self.accessors) - 1


def encode(
    points: np.ndarray,
    quads: np.ndarray,
    colors: np.ndarray,
    paths: Sequence[tuple[str, np.ndarray]] = (),
    extras: dict[str, Any] | None = None,
) -> bytes:
    """A mesh with normals and vertex colours, and paths as tubes.

    In glTF y points up, so z becomes y, and y becomes -z. Blender reverses this on import.

    Args:
        points: (n, 3) finite.
        quads: (m, 4) indices of points, counterclockwise as seen from above; m ≥ 1.
        colors: (n, 3) in [0, 1], in sRGB as in colour maps; converted to linear colours, as glTF requires.
        paths: names and (k, 3) points, k ≥ 2.
        extras: application-specific data, of JSON types.
    """
    used, quads = np.unique(quads, return_inverse=True)  # a point without a face has no normal
    buffer = _Buffer()
    surface = _mesh(buffer, points[used], quads.reshape(-1, 4), 0)
    surface["attributes"]["COLOR_0"] = buffer.add(linear(colors[used]))
    meshes = [{"name": "surface", "primitives": [surface]}]
    radius = WIDTH * float(np.ptp(points[:, :2], axis=0).max())
    for name, line in paths:
        meshes.append({"name": name, "primitives": [_mesh(buffer, *tube(line, radius), 1)]})
    rough = {"metallicFactor": 0.0, "roughnessFactor": 0.7}
    orange = {**rough, "baseColorFactor": [*linear(np.array([0.835, 0.369, 0.0])).tolist(), 1.0]}
    document = {
        "asset": {"version": "2.0", "generator": "lsweep", "extras": extras or {}},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(meshes)))}],
        "nodes": [{"name": mesh["name"], "mesh": k} for k, mesh in enumerate(meshes)],
        "meshes": meshes,
        "materials": [
            {"name": "surface", "pbrMetallicRoughness": rough, "doubleSided": True},
            {"name": "path", "pbrMetallicRoughness": orange},
        ],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
    chunks = _chunk(b"JSON", text) + _chunk(b"BIN\0", bytes(buffer.data))
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _mesh(buffer: _Buffer, points: np.ndarray, quads: np.ndarray, material: int) -> dict[str, Any]:
    """A primitive of triangles with normals."""
    return {
        "attributes": {
            "POSITION": buffer.add(_upright(points), bounds=True),
            "NORMAL": buffer.add(_upright(normals(points, quads))),
        },
        "indices": buffer.add(quads[:, [0, 1, 2, 0, 2, 3]].ravel(), indices=True),
        "mode": TRIANGLES,
        "material": material,
    }


def normals(points: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Unit normals at the points, (n, 3): the mean of the normals of adjacent faces, weighted by area."""
    corners = points[quads]
    faces = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    total = np.zeros_like(points)
    for k in range(4):
        np.add.at(total, quads[:, k], faces)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 0, total / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])


def tube(line: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A thin tube along a line, which other programs draw one pixel wide or not at all; open at the ends.

    Args:
        line: (k, 3), k ≥ 2, without equal consecutive points.
        radius: of the tube.

    Returns:
        Points in rings, (SIDES * k, 3), and outward-facing quadrilaterals as indices of points, (SIDES * (k - 1), 4).
    """
    steps = np.diff(line, axis=0, prepend=2 * line[:1] - line[1:2])
    tangents = np.gradient(line, axis=0)
    # Where a line reverses its direction, the steps before and after cancel.
    turns = np.linalg.norm(tangents, axis=1) < 1e-6 * np.linalg.norm(steps, axis=1)
    tangents = np.where(turns[:, None], steps, tangents)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    # A ring starts perpendicular to the tangent and to z, or to y if the tangent is parallel to z.
    steep = np.abs(tangents[:, 2:]) > 0.99
    across = np.cross(tangents, np.where(steep, [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    upward = np.cross(across, tangents)
    angles = 2 * np.pi * np.arange(SIDES) / SIDES
    circle = np.stack([np.cos(angles), np.sin(angles)])[:, None, :, None]
    rings = line[:, None] + radius * (circle[0] * across[:, None] + circle[1] * upward[:, None])
    index = np.arange(SIDES * len(line)).reshape(len(line), SIDES)
    following = np.roll(index, -1, axis=1)
    quads = np.stack([index[:-1], index[1:], following[1:], following[:-1]], axis=-1)
    return rings.reshape(-1, 3), quads.reshape(-1, 4)


def linear(colors: np.ndarray) -> np.ndarray:
    """sRGB to linear light, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def _upright(vectors: np.ndarray) -> np.ndarray:
    return np.stack([vectors[:, 0], vectors[:, 2], -vectors[:, 1]], axis=1)


def _chunk(kind: bytes, content: bytes) -> bytes:
    content += PADDING[kind] * (-len(content) % 4)
    return struct.pack("<I4s", len(content), kind) + content
