"""Load an installed wheel's native module without torch, and run an op: three points, two picks.

    python .ci/native.py

Needs nothing but the wheel, so that it can run in an environment without the dependencies.
"""

import importlib.util
from array import array
from importlib.metadata import files

[path] = [f.locate() for f in files("cmad-vision") if f.match("cmad/_native/_cpu*.so")]
spec = importlib.util.spec_from_file_location("_cpu", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)


def shaped(code, values, *shape):
    """Return a writable buffer of numbers with a shape."""
    return memoryview(array(code, values)).cast("B").cast(code, shape)


index = shaped("q", [7, 7], 1, 2)
scratch = shaped("i", [0] * 320, 1, 320)
xyz = shaped("f", [0, 0, 0, 1, 0, 0, 3, 0, 0], 3, 3)
module.fps(xyz, shaped("q", [0, 3], 2), scratch, index, False, 0.0, 1)
assert index.tolist() == [[0, 2]], index.tolist()
print(path.name)
