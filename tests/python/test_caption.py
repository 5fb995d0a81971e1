# SPDX-License-Identifier: MIT
"""The captioner: scenes, words, training run, resume, archive, command, and bad input."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from caption_small import SMALL, folder_of, options, pictures
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import mpsnn as mps
from mpsnn.apps.caption import (
    Captioned,
    Captioner,
    ModelOptions,
    render,
    train,
)
from mpsnn.apps.caption import pictures as picture_files
from mpsnn.apps.caption.model import build_features, store
from mpsnn.apps.caption.scenes import HELD_OUT_ONE_IN, all_words, random_scene
from mpsnn.apps.caption.train import accuracy, caption_all, measure
from mpsnn.apps.caption.words import Vocabulary
from mpsnn.committing import WAYS
from mpsnn.models import inception_v3, state_dict
from mpsnn.training import Trainer


def test_held_out_combinations_are_never_trained_on() -> None:
    generator = np.random.default_rng(0)
    sets: list[set[str]] = []
    for held_out in (False, True):
        found = [random_scene(generator, held_out=held_out) for _ in range(400)]
        sets.append({", ".join(sorted(thing.text for thing in one.things)) for one in found})
    assert not sets[0] & sets[1]
    everything = [random_scene(generator, held_out=bool(i % 2)) for i in range(2)]
    assert [one.held_out for one in everything] == [False, True]
    assert HELD_OUT_ONE_IN == 5


def test_single_objects_are_rarer_among_the_scenes_to_train_on() -> None:
    generator = np.random.default_rng(0)
    trained, held_out = (
        np.mean([len(random_scene(generator, held_out=one).things) == 1 for _ in range(2000)])
        for one in (False, True)
    )
    assert 0.22 < trained < 0.32 < held_out < 0.42


def test_scenes_are_what_their_sentences_say() -> None:
    data = pictures(60, edge=48)
    assert {len(sentence.split()) for sentence in data.sentences} == {4, 9, 12}
    assert set(" ".join(data.sentences).split()) <= set(all_words())
    same = pictures(60, edge=48)
    assert np.array_equal(data.pictures, same.pictures)
    for picture, sentence in zip(data.pictures, data.sentences, strict=True):
        colours = [word for word in sentence.split() if word in ("red", "green", "blue")]
        for colour in colours:
            channel = ("red", "green", "blue").index(colour)
            others = np.delete(picture, channel, axis=2).max(axis=2)
            assert ((picture[..., channel] > 0.5) & (others < 0.45)).sum() > 10, sentence


def test_words_and_numbers() -> None:
    words = Vocabulary.of(["a red cross", "a blue cross"])
    assert words.words == ["<end>", "a", "blue", "cross", "red"]
    assert words.numbers("a red cross") == [1, 4, 3, 0]
    assert words.sentence([1, 4, 3, 0, 2]) == "a red cross"


@pytest.mark.parametrize(
    ("sentence", "text"),
    [
        ("a green cross", r"words of the vocabulary, got \['green'\]"),
        ("", "1 to 19 words, got 0"),
        (" ".join(["a"] * 20), "1 to 19 words, got 20"),
    ],
)
def test_sentences_that_have_no_numbers(sentence: str, text: str) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=text):
        Vocabulary(["a", "red", "cross"]).numbers(sentence)


@pytest.mark.parametrize("words", [[], ["a", "a"], ["<end>"]])
def test_vocabularies_that_are_none(words: list[str]) -> None:
    with pytest.raises(mps.InvalidArgumentError, match="vocabulary: expected"):
        Vocabulary(words)


def test_accuracy() -> None:
    found = accuracy(["a b c", "a b", "a x c"], ["a b c", "a b c", "a b c"])
    assert found.words == pytest.approx(7 / 9)
    assert found.sentences == pytest.approx(1 / 3)


def test_training_learns_captions() -> None:
    data = pictures(16)
    captioner, trainer = train(lambda _: data, data, options(60, validate_every=60), progress=False)
    losses = [record.loss for record in trainer.state.history]
    assert losses[-1] < 0.05 * losses[0]
    found = trainer.state.history[-1].measures
    assert found["sentences"] == 1.0
    assert found["words"] == 1.0
    wider = Captioner(
        captioner.features, captioner.decoder.sources, captioner.vocabulary, SMALL, beam=3
    )
    assert measure(wider, data).sentences > 0.9  # a likelier sentence may be a wrong one
    captions = caption_all(captioner, data)
    assert [caption.sentence for caption in captions] == data.sentences
    assert [caption.executed for caption in captions] == [
        len(sentence.split()) + 1 for sentence in data.sentences
    ]
    assert all(caption.executed + caption.skipped == 20 for caption in captions)


def test_the_ways_change_no_number() -> None:
    data, losses = pictures(12), {}
    for way in WAYS:
        captioner, trainer = train(lambda _: data, None, options(2), progress=False, way=way)
        found = [one.tokens for one in captioner.each(iter(data.pictures), way=way)]
        losses[way.key] = [record.loss for record in trainer.state.history], found
    for key, values in losses.items():
        assert values == losses["single"], key


def test_resume_continues_bit_exactly(tmp_path: Path) -> None:
    def data(refresh: int) -> Captioned:
        return pictures(8, refresh)

    changes = {"refresh_every": 2}
    whole, trainer = train(data, None, options(5, **changes), words=all_words(), progress=False)
    archive = tmp_path / "net.safetensors"
    train(data, None, options(3, **changes), words=all_words(), archive=archive, progress=False)
    rest, resumed = train(
        data, None, options(5, **changes), archive=archive, resume=True, progress=False
    )
    assert [r.loss for r in trainer.state.history] == [r.loss for r in resumed.state.history]
    unseen = pictures(6, 9)
    assert caption_all(whole, unseen) == caption_all(rest, unseen)
    restored = Captioner.load(archive)
    assert caption_all(restored, unseen) == caption_all(rest, unseen)


def test_resume_refuses_other_options(tmp_path: Path) -> None:
    data = pictures(8)
    archive = tmp_path / "net.safetensors"
    train(lambda _: data, None, options(1), archive=archive, progress=False)
    for changes, text in (
        ({"batch": 8}, r"batch: expected 4 .* got 8"),
        ({"model": ModelOptions(size=32, widths=(6, 8, 8), embedding=16, hidden=8)}, r"hidden: .*"),
    ):
        with pytest.raises(mps.InvalidArgumentError, match=text):
            train(
                lambda _: data,
                None,
                options(2, **changes),
                archive=archive,
                resume=True,
                progress=False,
            )


def _renamed(folder: Path) -> None:
    (folder / "0.png").rename(folder / "new.png")
    captions = folder / picture_files.CAPTIONS
    captions.write_text(captions.read_text().replace("0.png", "new.png"), encoding="utf-8")


def _exchanged(folder: Path) -> None:
    (folder / "0.png").write_bytes((folder / "1.png").read_bytes())


def _shortened(folder: Path) -> None:
    captions = folder / picture_files.CAPTIONS
    captions.write_text("\n".join(captions.read_text().splitlines()[1:]), encoding="utf-8")


def _described(folder: Path) -> None:
    captions = folder / picture_files.CAPTIONS
    lines = captions.read_text(encoding="utf-8").splitlines()
    lines[0] = "0.png\t" + lines[1].partition("\t")[2]
    captions.write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize("change", [_renamed, _exchanged, _shortened, _described])
def test_resume_refuses_other_data(change: Callable[[Path], None], tmp_path: Path) -> None:
    folder, archive = folder_of(tmp_path / "own", pictures(6)), tmp_path / "net.safetensors"

    def go_on(epochs: int) -> None:
        train(
            lambda _: picture_files.load_folder(folder, 32),
            None,
            options(epochs),
            words=all_words(),
            archive=archive,
            resume=epochs > 1,
            progress=False,
        )

    go_on(1)
    go_on(2)
    change(folder)
    before, summary = archive.read_bytes(), picture_files.load_folder(folder, 32).summary
    with pytest.raises(mps.InvalidArgumentError) as told:
        go_on(3)
    text = str(told.value)
    assert "resume: data: expected the captions and files of" in text
    assert "6 pictures (checksum " in text
    assert text.endswith(f", got {summary}")
    assert archive.read_bytes() == before


def test_resume_refuses_other_words(tmp_path: Path) -> None:
    data, archive = pictures(6), tmp_path / "net.safetensors"
    train(lambda _: data, None, options(1), words=all_words(), archive=archive, progress=False)
    with pytest.raises(mps.InvalidArgumentError, match=r"resume: words: expected \['a', .* 'new'"):
        train(
            lambda _: data,
            None,
            options(2),
            words=[*all_words(), "new"],
            archive=archive,
            resume=True,
            progress=False,
        )


def _foreign(folder: Path) -> Path:
    archiver = mps.KeyedArchiver()
    relu = mps.NeuronReLUNode(mps.ImageNode("x"))
    archiver.encode("other", mps.Graph(mps.Device("cpu"), [relu.result_image]))
    archiver.write(str(folder / "other.safetensors"))
    return folder / "other.safetensors"


def _truncated(folder: Path) -> Path:
    data, path = pictures(4), folder / "net.safetensors"
    train(lambda _: data, None, options(1), archive=path, progress=False)
    path.write_bytes(path.read_bytes()[:-100])
    return path


def _changed(folder: Path, key: str, text: str) -> Path:
    """A captioner's archive with one text of its own."""
    data, path = pictures(4), folder / "net.safetensors"
    train(lambda _: data, None, options(1), archive=path, progress=False)
    arrays, texts = load_file(path), safe_open(path, "np").metadata()
    save_file(arrays, path, {**texts, key: text})
    return path


def _without_decoder(folder: Path) -> Path:
    captioner, _ = train(lambda _: pictures(4), None, options(1), progress=False)
    sources = dict(captioner.decoder.sources.sources)
    del sources["input.u"]
    archiver = mps.KeyedArchiver()
    archiver.encode("features", captioner.features)
    archiver.encode("decoder", store(captioner.features.device, sources))
    archiver.set_metadata("model", json.dumps(asdict(SMALL)))
    archiver.set_metadata("words", json.dumps(captioner.vocabulary.words[1:]))
    archiver.write(str(folder / "net.safetensors"))
    return folder / "net.safetensors"


def test_archives_that_lack_something(tmp_path: Path) -> None:
    with pytest.raises(mps.ArchiveError, match=r"decoder's weights, missing are input\.u"):
        Captioner.load(_without_decoder(tmp_path))
    for key, text in (("model", "{}"), ("model", "3"), ("words", "[]"), ("words", "{")):
        with pytest.raises(mps.ArchiveError, match="the captioner's sizes cannot be read"):
            Captioner.load(_changed(tmp_path, key, text))
    for text in ("", "3"):
        path = _changed(tmp_path, "run", text)
        with pytest.raises(mps.ArchiveError, match="the run's options cannot be read"):
            train(
                lambda _: pictures(4), None, options(2), archive=path, resume=True, progress=False
            )


@pytest.mark.parametrize("make", [_foreign, _truncated])
def test_bad_archives_are_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    with pytest.raises(mps.ArchiveError):
        Captioner.load(make(tmp_path))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"features": "vgg"}, "features: expected small or inception, got 'vgg'"),
        ({"size": 50}, r"size: expected a multiple of 8 .* got 50"),
        ({"widths": ()}, "widths, embedding, hidden"),
        ({"hidden": 0}, "widths, embedding, hidden"),
        ({"features": "inception", "size": 64}, r"size: expected 75 or more .* got 64"),
    ],
)
def test_sizes_that_make_no_net(changes: dict[str, object], text: str) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=text):
        ModelOptions(**changes)  # type: ignore[arg-type]


def test_runs_that_make_no_sense() -> None:
    data = pictures(4)
    with pytest.raises(mps.InvalidArgumentError, match=r"pictures of 48 x 48, got 32 x 32"):
        train(lambda _: data, None, options(1, model=ModelOptions()), progress=False)
    with pytest.raises(mps.InvalidArgumentError, match=r"no more than the 4 pictures, got 5"):
        train(lambda _: data, None, options(1, batch=5), progress=False)
    for name in ("epochs", "batch", "validate_every", "checkpoint_every"):
        with pytest.raises(mps.InvalidArgumentError, match=f"{name}: expected 1 or more, got 0"):
            options(**{"epochs": 1, name: 0})
    for name in ("halve_every", "refresh_every"):
        with pytest.raises(mps.InvalidArgumentError, match=f"{name}: expected 0 or more, got -1"):
            options(1, **{name: -1})
    for rate in (0.0, float("nan"), float("inf")):
        with pytest.raises(mps.InvalidArgumentError, match="learning_rate: expected more than 0"):
            options(1, learning_rate=rate)
    with pytest.raises(mps.InvalidArgumentError, match="1 picture or more"):
        render(0, 0)


def test_a_picture_of_another_size_is_refused() -> None:
    data = pictures(4)
    captioner, _ = train(lambda _: data, None, options(1), progress=False)
    with pytest.raises(mps.InvalidArgumentError, match=r"picture: expected shape \(32, 32, 3\)"):
        list(captioner.each([np.zeros((16, 32, 3), np.float32)]))


def test_folder_of_pictures(tmp_path: Path) -> None:
    data = pictures(3)
    found = picture_files.load_folder(folder_of(tmp_path / "own", data), 32)
    assert found.sentences == data.sentences
    assert np.abs(found.pictures - data.pictures).max() <= 1 / 255
    assert picture_files.load_folder(tmp_path / "own", 24).pictures.shape == (3, 24, 24, 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "captions.tsv: expected captions, cannot be read"),
        ("", "expected a line a picture, got none"),
        ("0.png a red cross", r"tsv:1: expected a file name, a tab and a sentence, got 1 columns"),
        ("0.png\t .", r"tsv:1: expected a file name, a tab and a sentence"),
        ("\ta red cross", r"tsv:1: expected a file name, a tab and a sentence"),
        ("\n0.png\ta cross\tred", r"tsv:2: expected a file name, .* got 3 columns: '0.png.ta"),
        ("none.png\ta red cross", r"tsv:1: .*none.png: expected a picture, there is no such file"),
        ("\ncaptions.tsv\ta cross", r"tsv:2: .*captions.tsv: expected a picture, it cannot"),
        (f"\n0.png\t{'a ' * 20}", r"tsv:2: expected a sentence of at most 19 words, got 20: 'a a "),
        ("0.png\ta <end> cross", r"tsv:1: expected a sentence without '<end>'"),
        ("\n\n0.png\ta r\xe9d cross", r"tsv:3: expected text in UTF-8, got b'0.png"),
    ],
)
def test_folders_that_cannot_be_read(text: str | None, expected: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / picture_files.CAPTIONS).write_text(text, encoding="latin-1")
    with pytest.raises(mps.FileError, match=expected):
        picture_files.load_folder(tmp_path, 32)


def test_captions_of_other_systems_editors(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "own", pictures(2))
    plain = picture_files.load_folder(folder, 32)
    longest = "\t" + "a " * 19
    text = "\ufeff0.png\tA red Größe.\r\n1.png" + longest
    (folder / picture_files.CAPTIONS).write_bytes(text.encode())
    found = picture_files.load_folder(folder, 32)
    assert found.sentences == ["a red größe", " ".join(["a"] * 19)]
    assert found.origins == plain.origins
    assert [origin.split()[0] for origin in found.origins] == ["0.png", "1.png"]


def test_the_small_net_takes_no_weights(cpu: mps.Device, tmp_path: Path) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=r"weights: expected none for .* 'small'"):
        build_features(cpu, SMALL, None, {})
    data = pictures(4)
    with pytest.raises(mps.InvalidArgumentError, match=r"weights: expected none for .* 'small'"):
        train(lambda _: data, None, options(1), weights=tmp_path / "none", progress=False)


def test_inception_needs_its_weights(
    cpu: mps.Device, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inception = ModelOptions(features="inception", size=75, embedding=8, hidden=8)
    with pytest.raises(mps.InvalidArgumentError, match=r"weights of Inception-v3 .* got none"):
        build_features(cpu, inception, None)
    with pytest.raises(mps.InvalidArgumentError, match=r"missing or not expected are"):
        build_features(cpu, inception, None, {"Conv2d_1a_3x3.conv.weight": np.zeros((32, 3, 3, 3))})
    net = inception_v3(mps.ImageNode("x"), classes=1000, size=(75, 75))
    weights = tmp_path / "inception.safetensors"
    run, data = options(2, model=inception), pictures(4, edge=75)
    first = "Conv2d_1a_3x3.conv.weight"
    for value, text in (
        (np.zeros((8, 3, 3, 3), np.float32), rf"inception\.safetensors: .*{first}"),
        (np.full((32, 3, 3, 3), np.nan, np.float32), r"inception\.safetensors: .*finite numbers"),
    ):
        save_file({**state_dict(net), first: value}, weights)
        with pytest.raises(mps.InvalidArgumentError, match=text):
            train(lambda _: data, None, run, weights=weights, progress=False)
    save_file(state_dict(net), weights)
    archive = tmp_path / "net.safetensors"
    captioner, trainer = train(
        lambda _: data, None, run, weights=weights, archive=archive, progress=False
    )
    assert capsys.readouterr().err == ""
    losses = [record.loss for record in trainer.state.history]
    assert losses[1] < losses[0]
    sources = {source.label: source for source in captioner.features.data_sources}
    kept = cpu.read_parameter(sources["Mixed_7c.branch1x1.conv"], "weights")
    assert np.array_equal(kept, net.data_sources["Mixed_7c.branch1x1.conv"].initial("weights"))
    _, resumed = train(
        lambda _: data,
        None,
        options(3, model=inception),
        archive=archive,
        resume=True,
    )
    assert [record.loss for record in resumed.state.history][:2] == losses
    told = capsys.readouterr().err
    assert "features: " in told
    assert "| 1/1 [" in told  # 8 pictures at once


@pytest.mark.long
def test_ctrl_c_while_features_are_made(cpu: mps.Device, tmp_path: Path) -> None:
    inception = ModelOptions(features="inception", size=75, embedding=8, hidden=8)
    weights, archive = tmp_path / "inception.safetensors", tmp_path / "net.safetensors"
    net = inception_v3(mps.ImageNode("x"), classes=1000, size=(75, 75))
    save_file(state_dict(net), weights)
    sets = [pictures(9, seed, edge=75) for seed in range(2)]
    interrupt = True

    def data(refresh: int) -> Captioned:
        if refresh and interrupt:
            signal.raise_signal(signal.SIGINT)
        return sets[refresh]

    def run(*, resume: bool) -> Trainer:
        _, trainer = train(
            data,
            None,
            options(2, model=inception, refresh_every=1),
            words=all_words(),
            weights=weights,
            archive=archive,
            resume=resume,
            device=cpu,
            progress=False,
        )
        return trainer

    cut = run(resume=False)
    assert cut.interrupted
    assert len(cut.state.history) == 1
    interrupt = False
    resumed, whole = run(resume=True), run(resume=False)
    assert len(whole.state.history) == 2
    assert [one.loss for one in resumed.state.history] == [one.loss for one in whole.state.history]
