"""Plain products for one adapter give what vLLM's own CPU kernels give."""

from typing import Any

import pytest
import torch

from srs.engines import cpu_lora

pytest.importorskip("vllm")

RANK, WIDTH, SLICES = 4, 6, (5, 3)
IDS = [7, 9]  # the adapter in slot 0, the one in slot 1


def _output(wrapper_class: Any, tokens: tuple[int, ...], *, is_prefill: bool) -> torch.Tensor:
    from vllm.lora.layers import LoRAMapping

    wrapper = wrapper_class(64, 64, device="cpu")
    mapping = LoRAMapping(index_mapping=tokens, prompt_mapping=tokens, is_prefill=is_prefill)
    wrapper.update_metadata(mapping, IDS, len(IDS), 32)
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    x, y = draw(len(tokens), WIDTH), draw(len(tokens), sum(SLICES))
    wrapper.add_lora_linear(
        y,
        x,
        tuple(draw(len(IDS), 1, RANK, WIDTH) for _ in SLICES),
        tuple(draw(len(IDS), 1, width, RANK) for width in SLICES),
        0.5,
        SLICES,
    )
    return y


@pytest.mark.parametrize("is_prefill", [True, False])
@pytest.mark.parametrize("tokens", [(7, 7, 7), (0, 0), (9, 9, 9), (9,), (7, 9, 9, 7)])
def test_the_same_numbers_as_the_gathering_kernels(
    tokens: tuple[int, ...], is_prefill: bool
) -> None:
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU as gathering

    ours = cpu_lora._whole_batches(gathering)
    expected = _output(gathering, tokens, is_prefill=is_prefill)
    torch.testing.assert_close(_output(ours, tokens, is_prefill=is_prefill), expected)


def test_it_is_put_in_once() -> None:
    from vllm.lora.punica_wrapper import punica_cpu

    before = punica_cpu.PunicaWrapperCPU
    try:
        cpu_lora.multiply_whole_batches()
        after = punica_cpu.PunicaWrapperCPU
        cpu_lora.multiply_whole_batches()
        assert punica_cpu.PunicaWrapperCPU is after
        assert after.__name__ == "WholeBatches"
    finally:
        punica_cpu.PunicaWrapperCPU = before
