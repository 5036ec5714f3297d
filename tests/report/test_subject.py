"""What was evaluated, in the words of a title: nothing that sets it apart is left out."""

import pytest

import cmad
from cmad.detectors.method import Method
from cmad.evaluate import AREAS, METRICS, Evaluation
from cmad.extractors import FPFH, PointMAE, ViT
from cmad.report import subject as module
from cmad.report.subject import Subject, subject_of

MVTEC = "MVTec 3D-AD"


def vit(**options):
    return ViT("test_vit", image_size=64, weights="random", **options)


def point_mae(**options):
    given = {"groups": 64, "group_size": 32, "weights": "random", "blocks": 1}
    return PointMAE(**{**given, **options})


def described(detector, shots=None, **training):
    return subject_of(detector, MVTEC, shots, training)


def shorts(subject):
    return [d.short for d in subject.differences if d.short]


def reasons(subject, apart):
    return [d.reason for d in subject.differences if d.apart is apart]


def result(category, train, test=5):
    return Evaluation(
        category=category,
        train=train,
        good=2,
        defective=test - 2,
        metrics=dict.fromkeys(METRICS, 0.5),
        grid=dict.fromkeys(AREAS, 0.5),
        frames_per_second=1.0,
        memory=1.0,
        seconds={},
    )


@pytest.fixture
def as_published(monkeypatch):
    """Lets the tiny extractors be those of the papers."""
    monkeypatch.setattr(Method, "usual", {**Method.usual, "rgb": "test_vit"})
    monkeypatch.setattr(module, "PIXELS", 64)
    monkeypatch.setattr(module, "POINT_MAE", {"groups": (64,), "group_size": (32, 128)})


def test_random_weights_of_both_are_said_once():
    subject = described(cmad.CFM(rgb=vit(), xyz=point_mae(groups=1024), image_size=224))
    assert shorts(subject) == ["random weights", "random weights", "test_vit"]
    assert subject.label([result("bagel", 244)]) == "CFM, random weights, test_vit"
    assert "the weights of the 3D extractor are random" in reasons(subject, True)


def test_random_weights_of_one_are_said_of_that_one(as_published):
    subject = described(cmad.CFM(rgb=vit(), xyz=point_mae(), image_size=64))
    assert subject.label([result("bagel", 244)]) == "CFM, random weights"
    image = vit()
    image._weights = None  # as of a name whose weights were found
    subject = described(cmad.CFM(rgb=image, xyz=point_mae(), image_size=64))
    assert subject.label([result("bagel", 244)]) == "CFM, random 3D weights"
    assert reasons(subject, True) == ["the weights of the 3D extractor are random"]


def test_random_weights_beside_an_extractor_without_any_are_just_random():
    subject = described(cmad.CFM(rgb=vit(), xyz=FPFH(), image_size=224))
    assert shorts(subject) == ["random weights", "test_vit", "FPFH"]
    assert "the 3D extractor is FPFH, the papers' Point-MAE" in reasons(subject, True)
    assert "the 2D extractor is test_vit, the papers' vit_base_patch8_224.dino" in reasons(
        subject, True
    )


def test_another_grid_and_another_image_size_are_told():
    subject = described(cmad.CFM(rgb=vit(), xyz=point_mae(), image_size=96))
    assert "96x96 pixels" in shorts(subject)
    assert subject.pixels == 96
    assert "pixels are compared on a grid of 96x96, the papers' on 224x224" in reasons(
        subject, True
    )
    sizes = "the 2D extractor takes images of 64x64 pixels, the papers' of 224x224"
    assert sizes in reasons(subject, True)


def test_a_point_mae_of_other_groups_is_another():
    subject = described(cmad.CFM(rgb=vit(), xyz=point_mae(), image_size=224))
    assert "Point-MAE of groups 64" in shorts(subject)
    assert not any("Point-MAE of group size" in short for short in shorts(subject))
    small = described(cmad.CFM(rgb=vit(), xyz=point_mae(group_size=8), image_size=224))
    assert "Point-MAE of group size 8" in shorts(small)


def test_settings_are_told_but_are_no_reason(as_published):
    detector = cmad.PatchCore(
        rgb=vit(), modalities="2d", fraction=0.3, image_size=64, background="plane"
    )
    subject = described(detector)
    assert subject.label([result("bagel", 244)]) == "PatchCore, random weights, 2D only"
    told = reasons(subject, False)
    assert "it looks at 2D alone, the papers' methods at both" in told
    assert "fraction 0.3, by default 0.1" in told
    detector = cmad.CFM(rgb=vit(), xyz=point_mae(), image_size=64, background="none", gaps="filled")
    told = reasons(described(detector, epochs=7, pixels_per_image=500, batch_size=4), False)
    assert told == [
        "the background is told: none, every point is looked at",
        "pixels inside the part's outline that have no point get an interpolated one",
        "epochs 7, by default 250",
        "pixels per image 500, by default all",
    ]


def test_the_papers_own_choices_leave_nothing_to_say(as_published):
    detector = cmad.CFM(rgb=vit(), xyz=point_mae(), image_size=64)
    found = [d for d in described(detector).differences if "random" not in d.short]
    assert found == []


def test_variants_are_named_as_in_the_papers():
    detector = cmad.CFM(rgb="vit_tiny_patch16_224", weights="random", variant="tiny")
    assert described(detector).method == "CFM-T"


@pytest.mark.parametrize(
    ("counts", "shots", "said"),
    [
        ([244, 210], None, ""),
        ([8], None, ", 8 training parts"),
        ([1], None, ", 1 training part"),
        ([8, 8], None, ", 8 training parts per category"),
        ([8, 12], None, ", 8-12 training parts per category"),
        ([5, 5], 5, ", 5-shot"),
    ],
)
def test_the_training_parts_stand_in_the_title_where_they_are_not_the_papers(counts, shots, said):
    results = [result(n, c) for n, c in zip(("bagel", "tire"), counts, strict=False)]
    assert Subject("CFM", MVTEC, shots=shots).label(results) == f"CFM{said}"


def test_another_data_set_has_its_training_parts_in_the_title():
    assert Subject("CFM", "folder").label([result("bagel", 244)]) == "CFM, 244 training parts"


def test_parts_that_are_missing_are_reasons():
    def told(*results, **options):
        return [(d.reason, d.apart) for d in Subject("CFM", MVTEC, **options)._of_parts(results)]

    assert told(result("bagel", 244, 110)) == []
    assert told(result("bagel", 240, 110)) == [("trained on 240 parts, the papers on 244", True)]
    assert told(result("bagel", 244, 10)) == [("tested on 10 parts, the papers on 110", True)]
    draws = ("the training parts are other draws than the papers'", False)
    assert told(result("bagel", 5, 110), shots=5) == [draws]
    lost = ("trained on 4 parts instead of 5 per category", True)
    assert told(result("bagel", 4, 110), shots=5) == [lost, draws]
