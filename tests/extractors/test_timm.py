"""timm and torchvision are imported where a vision transformer is made, and not before."""

import subprocess
import sys
from importlib.metadata import version

TORCHVISION_OF_ANOTHER_TORCH = """
import sys

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")

sys.meta_path.insert(0, Broken())
import cmad, torch
print(cmad.ops.fps(torch.eye(3), torch.tensor([0, 3]), 2).tolist())
try:
    cmad.extractors.ViT("vit_tiny_patch16_224", weights="random")
except RuntimeError as error:
    print(error)
"""


def run(code):
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_importing_cmad_imports_neither_timm_nor_torchvision():
    out = run("import cmad, cmad.cli, sys; print({'timm', 'torchvision'} & set(sys.modules))")
    assert out == "set()\n"


def test_a_torchvision_of_another_torch_hinders_image_models_only_and_is_explained():
    ops, message = run(TORCHVISION_OF_ANOTHER_TORCH).splitlines()
    assert ops == "[[0, 1]]"
    assert message.startswith("ViT: timm cannot be imported (operator torchvision::nms does not")
    assert f"torch {version('torch')}, torchvision {version('torchvision')}" in message
    assert "pip install --force-reinstall torch torchvision" in message
