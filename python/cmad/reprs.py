"""One-line texts for objects that hold arrays: what they are, never what is in them."""

from numbers import Integral, Real


def short(of: object, name: str = "", *words: str, **named: object) -> str:
    """Describe an object in one line, as its ``__repr__``.

    Args:
        of: the object; its class is named.
        name: its own; an empty one is left out.
        words: what stands by itself, such as ``"accepted"``; an empty one is left out.
        named: shown as ``name=value``, a fraction with four digits; None is left out.

    Returns:
        Such as ``Prediction('t000', accepted, score=0.185, threshold=0.204)``.

    """
    said = [repr(name)] if name else []
    said += filter(None, words)
    said += [f"{key}={_value(value)}" for key, value in named.items() if value is not None]
    return f"{type(of).__name__}({', '.join(said)})"


def sizes(what: str, array: object) -> str:
    """Describe an array by its size and dtype, ``"rgb 400x400x3 uint8"``; empty for None.

    What is no array is described by its class.
    """
    if array is None:
        return ""
    shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
    if shape is None or dtype is None:
        return f"{what} {type(array).__name__}"
    size = "x".join(map(str, shape)) or "scalar"
    return f"{what} {size} {str(dtype).removeprefix('torch.')}"


def _value(value: object) -> str:
    if isinstance(value, Integral):  # NumPy's too, whose repr names its type
        return str(value)
    return f"{float(value):.4g}" if isinstance(value, Real) else repr(value)
