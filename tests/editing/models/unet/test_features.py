"""Changes for one forward: against their formulas, and gone afterwards."""

from dataclasses import replace

import pytest
import torch
from made_models import randn
from torch.nn.functional import scaled_dot_product_attention

from regrain.editing.models.intervention import (
    PLAIN,
    Intervention,
    hooked,
)
from regrain.editing.models.unet.features import Features, injecting, recording

FRAMES = 2


@pytest.fixture
def latents():
    return randn(2 * FRAMES, 4, 8, 8)


@pytest.fixture
def ask(tiny):
    given = tiny.schedule.sampling(50)[3], tiny.embed(["", "a cat"])

    def answer(x, *patches, change=None):
        return tiny.predict(x, *given, change or Intervention(patches=patches))[1]

    return answer


ATTEND = Intervention(lambda q, k, v, site: scaled_dot_product_attention(q, k, v))


def test_features_of_the_same_forward_give_the_same_answer(tiny, ask, latents):
    features = Features()
    answer = ask(latents, change=recording(features, ATTEND))
    assert set(features.residuals) == {
        f"up_blocks.{b}.resnets.{i}" for b, i in ((1, 0), (1, 1), (2, 0))
    }
    places = ((1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0))
    layers = {
        f"up_blocks.{b}.attentions.{i}.transformer_blocks.0.attn1" for b, i in places
    }
    assert set(features.attention) == layers
    assert torch.equal(ask(latents, change=injecting(features, ATTEND)), answer)
    assert torch.equal(ask(latents, change=ATTEND), answer)


def test_one_branchs_features_replace_those_of_all(tiny, latents):
    """Injected into two branches: what the layers give is the recorded, whatever comes
    in."""
    step, text = tiny.schedule.sampling(50)[3], tiny.embed(["", "a cat"])
    features, name = Features(), "up_blocks.2.resnets.0"
    tiny.predict(latents[:FRAMES], step, text[:1], recording(features, PLAIN))
    change = injecting(features, PLAIN)
    seen = []

    def spy(unet):  # entered last, so its hook sees what the others left
        conv = unet.get_submodule(f"{name}.conv2")
        return hooked(
            [conv.register_forward_hook(lambda _, __, output: seen.append(output))]
        )

    tiny.predict(
        latents.flip(0), step, text, replace(change, patches=(*change.patches, spy))
    )
    expected = features.residuals[name]
    assert torch.equal(seen[0], torch.cat([expected, expected]))
    assert features.bytes < 1 << 20
