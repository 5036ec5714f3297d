"""The compiled modules, one per device; private. `cmad.ops` is the way in."""
