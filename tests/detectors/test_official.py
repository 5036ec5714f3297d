"""Published checkpoints: found by category, read safely, and what is wrong with them named."""

import pickle

import pytest
import torch

import cmad

DIRECTIONS = ("CFM_2Dto3D", "CFM_3Dto2D")


@pytest.fixture
def published(tmp_path, trained):
    """Write checkpoints of categories as they are published: a folder each, two files in it."""

    def write(category="bagel", name="{}_{}_50ep_4bs.pth", folder=True, state=None):
        place = tmp_path / category if folder else tmp_path
        place.mkdir(exist_ok=True)
        for direction in DIRECTIONS:
            of = state or getattr(trained.mappings, direction).state_dict()
            torch.save(of, place / name.format(direction, category))
        return tmp_path

    return write


def load(make, folder, category="bagel", **options):
    given = {"rgb": make["vit"](), "xyz": make["point_mae"](), "image_size": 48, **options}
    return cmad.CFM.from_official(folder, category, **given)


@pytest.mark.parametrize("folder", [True, False])
def test_the_files_of_a_category_make_an_official_detector(folder, published, make, trained, parts):
    published("rope", folder=folder)
    root = published(folder=folder)
    got = load(make, root)
    assert got.preset == "official"
    want = trained.mappings.state_dict()
    assert all(torch.equal(t, want[name]) for name, t in got.tensors().items())
    by_hand = cmad.CFM(
        preset="official", rgb=make["vit"](), xyz=make["point_mae"](), image_size=48
    ).load_mappings(*(getattr(trained.mappings, d).state_dict() for d in DIRECTIONS))
    part = parts[0]
    assert float(got.predict(part.rgb, part.xyz)) == float(by_hand.predict(part.rgb, part.xyz))
    assert load(make, root, seed=4).seed == 4


def test_a_missing_folder_or_file_is_named_with_what_there_is(published, make, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"from_official: no such folder: .*nowhere"):
        load(make, tmp_path / "nowhere")
    root = published("rope")
    said = r"no CFM_2Dto3D_bagel_\*\.pth in .* or in its folder bagel; there are CFM_2Dto3D_rope_"
    with pytest.raises(FileNotFoundError, match=said):
        load(make, root)
    published()
    (root / "bagel" / "CFM_3Dto2D_bagel_50ep_4bs.pth").unlink()
    with pytest.raises(FileNotFoundError, match=r"no CFM_3Dto2D_bagel_\*\.pth"):
        load(make, root)


def test_files_of_several_trainings_are_not_guessed_among(published, make):
    root = published()
    published(name="{}_{}_250ep_4bs.pth")
    said = r"2 files for CFM_2Dto3D_bagel .*_250ep_4bs\.pth, bagel/CFM_2Dto3D_bagel_50ep_4bs\.pth;"
    with pytest.raises(ValueError, match=said):
        load(make, root)
    (root / "bagel" / "CFM_2Dto3D_bagel_50ep_4bs.pth").unlink()
    (root / "bagel" / "CFM_3Dto2D_bagel_250ep_4bs.pth").unlink()
    with pytest.raises(ValueError, match="are of different trainings"):
        load(make, root)


def test_weights_that_do_not_fit_are_named(published, make):
    root = published(state=cmad.nn.Mapping(32, 48).state_dict())
    with pytest.raises(ValueError, match=r"bagel: CFM: mapping weights must fit features 32 and 1"):
        load(make, root)
    with pytest.raises(TypeError, match="preset"):
        load(make, root, preset="paper")


class Trap:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code of a checkpoint was run",))


def test_no_code_of_a_checkpoint_is_run(published, make):
    root = published()
    with (root / "bagel" / "CFM_2Dto3D_bagel_50ep_4bs.pth").open("wb") as file:
        pickle.dump(Trap(), file)
    with pytest.raises(RuntimeError, match="cannot read"):
        load(make, root)
