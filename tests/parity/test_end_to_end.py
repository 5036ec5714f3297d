"""Training and inference from raw frames against the published scripts: every `cfm_e2e_*.npz`."""

import ast

import numpy as np
import pytest
import torch

import cmad
from cmad.detectors._training import train
from cmad.metrics import aupro, image_auroc, pixel_auroc
from cmad.preprocess import mask_to_grid, prepare
from cmad.store import FeatureStore
from cmad.types import Sample


def raw_samples(arrays, synth):
    """The 13 frames as the scripts got them, with the pixels that their preprocessing kept."""
    h, w = arrays["raw_hw"].tolist()
    clean_h, clean_w = arrays["clean_hw"].tolist()
    top, left = (clean_h - h) // 2, (clean_w - w) // 2
    for k, (seed, split, _, _, defect) in enumerate(arrays["samples"].tolist()):
        made = synth.generate(int(seed), h, w, defect or None)
        assert synth.sha(made["xyz"]) == str(arrays[f"sha_{k:02d}"][1])
        keep = np.unpackbits(arrays[f"keep_{k:02d}"])[: clean_h * clean_w]
        keep = keep.reshape(clean_h, clean_w)[top : top + h, left : left + w].astype(bool)
        sample = Sample(made["rgb"], made["xyz"], made["gt"] > 0, defect or "good")
        yield split, sample, torch.from_numpy(keep)


def configuration(path, arrays):
    """The extractors are those of the small configuration with the same weight seed."""
    for other in sorted(path.parent.glob("cfm_*.npz")):
        with np.load(other, allow_pickle=False) as file:
            if "config" in file:
                config = ast.literal_eval(str(file["config"]))
                if config["wseed"] == int(arrays["wseed"]) and config["M"] == 128:
                    return config
    pytest.skip(f"no configuration with weight seed {arrays['wseed']} beside {path.name}")


@pytest.mark.slow
def test_training_and_inference_are_the_published_ones(each_fixture, synth, detweights, published):
    for path, arrays in each_fixture("cfm_e2e_*.npz"):
        detector = published(configuration(path, arrays), 2 * arrays["pred_maps_stride2"].shape[-1])
        how = detector.pipeline.preprocessing
        samples = list(raw_samples(arrays, synth))
        with FeatureStore(torch.float32) as store:
            for split, sample, keep in samples:
                if split == "train":
                    frame = prepare(sample, how, keep=keep)
                    store.append(detector.pipeline.features([frame])[0])
            dims = detector.pipeline.dims()
            mappings = cmad.nn.Mappings(dims["2d"], dims["3d"], 0)
            for name in ("CFM_2Dto3D", "CFM_3Dto2D"):
                detweights.fill(getattr(mappings, name), int(arrays["wseed"]), name + ".")
            steps = len(arrays["loss_2Dto3D"])
            losses, _ = train(
                mappings,
                store,
                detector.raster,
                epochs=steps * 2 // len(store),
                pixels_per_image=None,
                batch_size=2,
                shuffle=False,
                seed=0,
                step=lambda note="": None,
            )
        # The published interpolation is float32 (semantics C12): 1e-4 covers what that moves.
        np.testing.assert_allclose([b for _, b in losses], arrays["loss_2Dto3D"], rtol=1e-4)
        np.testing.assert_allclose([a for a, _ in losses], arrays["loss_3Dto2D"], rtol=1e-4)

        detector.load_mappings(mappings.CFM_2Dto3D.state_dict(), mappings.CFM_3Dto2D.state_dict())
        predictions, masks, labels = [], [], []
        for split, sample, _ in samples:
            if split == "test":
                predictions.append(detector.predict(sample.rgb, sample.xyz, resolution="grid"))
                masks.append(mask_to_grid(sample.mask, how))
                labels.append(sample.label)
        np.testing.assert_array_equal(labels, arrays["image_labels"])
        packed = np.packbits(np.stack(masks).reshape(-1))
        np.testing.assert_array_equal(packed, arrays["gts"])
        half = np.stack([p.map[::2, ::2] for p in predictions])
        np.testing.assert_allclose(
            half, arrays["pred_maps_stride2"], atol=1e-3 * arrays["pred_maps_stride2"].max()
        )
        scores = [p.score for p in predictions]
        np.testing.assert_allclose(scores, arrays["image_preds"], rtol=1e-4)
        assert image_auroc(scores, labels) == pytest.approx(float(arrays["i_auroc"]), abs=1e-12)
        scaled = [p.maps["pixel_auroc"] for p in predictions]
        assert pixel_auroc(scaled, masks) == pytest.approx(float(arrays["p_auroc"]), abs=1e-4)
        got = aupro([p.map for p in predictions], masks, thresholds=99)
        np.testing.assert_allclose(got, arrays["aupro"], atol=1e-3)
