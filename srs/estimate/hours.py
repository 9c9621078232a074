"""Hours: work over rate, phase by phase, and which resource they wait for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

from srs.estimate.rates import Rate
from srs.estimate.workload import Workload

Resource = Literal["generating devices", "grading cores", "training devices", "none"]
FORWARD = 0.5
"""A LoRA step costs 4 FLOP per weight and token, a forward pass 2: half as much."""
DPO_PASSES = 2
"""Forward passes over each distinct pair, however many epochs: the reference's, before the first step, and
one after the last. (A third where training collapsed, which no plan expects.)"""


class MissingRate(Exception):
    """``name``: a rate that this estimate needs and nothing gave."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What works at the same time. Speed is taken to grow in proportion, which was not measured."""

    generating: int
    """Devices that generate."""
    training: int
    cores: int
    """Cores that grade."""
    overlaps: bool
    """A round's training runs beside the next one's rollout (``devices.async_rounds = 1``)."""
    takes_turns: bool = False
    """Engines give their devices up for each training, whose process starts anew (`srs.turns`)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """``hours`` of the phase alone; ``waits`` of them are not hidden behind another phase."""

    name: str
    work: str
    rate: str
    hours: float
    waits: float
    resource: Resource
    sources: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    phases: tuple[Phase, ...]

    @property
    def total(self) -> float:
        return math.fsum(phase.waits for phase in self.phases)

    @property
    def by_resource(self) -> dict[Resource, float]:
        found: dict[Resource, float] = {}
        for phase in self.phases:
            found[phase.resource] = found.get(phase.resource, 0.0) + phase.waits
        return found

    @property
    def binding(self) -> Resource:
        """The resource that the run waits for longest."""
        by = {name: spent for name, spent in self.by_resource.items() if name != "none"}
        return max(by, key=lambda name: by[name])


def estimate(work: Workload, capacity: Capacity, rates: Mapping[str, Rate]) -> Hours:
    """The whole run's hours. Raises `MissingRate`.

    Generation and grading of a rollout overlap, so the shorter of the two waits 0. Training waits for
    its rollout, or with ``overlaps`` only for what it takes longer than the next one.
    """

    def rate(name: str) -> Rate:
        if name not in rates:
            raise MissingRate(name)
        return rates[name]

    def zero_or(name: str) -> Rate:
        return rates.get(name, Rate(value=0.0, source="0: nothing measured it", measured=False))

    def said(*used: Rate) -> tuple[str, ...]:
        return tuple(("" if r.measured else "assumed: ") + r.source for r in used)

    answer, prompt = rate("completion_tokens"), rate("prompt_tokens")
    generating, core_s = rate("generate_tokens_per_s"), rate("grade_core_s")
    evaluating = rates.get("evaluate_tokens_per_s", generating)
    training, reference_s = rate("train_tokens_per_s"), rate("reference_core_s")
    sequence = prompt.value + answer.value

    def generate(name: str, candidates: int, speed: Rate) -> Phase:
        tokens = candidates * answer.value
        hours = tokens / (speed.value * capacity.generating) / 3600
        return Phase(
            name=f"{name}: generate",
            work=f"{candidates:,} candidates x {answer.value:,.0f} tokens",
            rate=f"{capacity.generating} x {speed.value:,.0f} tokens/s",
            hours=hours,
            waits=hours,
            resource="generating devices",
            sources=said(speed, answer),
        )

    def grade(name: str, programs: int, each: Rate) -> Phase:
        hours = programs * each.value / capacity.cores / 3600
        return Phase(
            name=name,
            work=f"{programs:,} programs x {1000 * each.value:,.1f} ms",
            rate=f"{capacity.cores} cores",
            hours=hours,
            waits=hours,
            resource="grading cores",
            sources=said(each),
        )

    def train(name: str, work_words: str, tokens: float) -> Phase:
        hours = tokens / (training.value * capacity.training) / 3600
        return Phase(
            name=name,
            work=work_words,
            rate=f"{capacity.training} x {training.value:,.0f} tokens/s",
            hours=hours,
            waits=hours,
            resource="training devices",
            sources=said(training),
        )

    def once(name: str, times: int, each: Rate, unit: str) -> Phase:
        hours = times * each.value / 3600
        return Phase(
            name=name,
            work=f"{times:,} x {each.value:,.1f} s",
            rate=unit,
            hours=hours,
            waits=hours,
            resource="none",
            sources=said(each),
        )

    if work.completion_tokens is None:
        words = f"{work.examples:,} examples x {sequence:,.0f} tokens"
        sft_tokens = work.examples * sequence
    else:
        words = f"{work.completion_tokens:,} completion tokens, with prompts"
        sft_tokens = work.completion_tokens * sequence / answer.value
    rollout = _overlapped(
        generate("rollouts", work.candidates, generating),
        grade("rollouts: grade", work.candidates, core_s),
    )
    sft = train("LoRA rounds", words, sft_tokens)
    if capacity.overlaps:
        hidden = min(sft.hours, sum(phase.waits for phase in rollout))
        sft = dataclasses.replace(sft, waits=sft.hours - hidden)
    pair = prompt.value + answer.value
    dpo_tokens = 2 * pair * (work.pairs + FORWARD * DPO_PASSES * work.distinct_pairs)
    turns = []
    if capacity.takes_turns:
        trainings = work.rounds + (work.pairs > 0)
        turns = [
            # Once more when the run begins, to see that it can.
            once("training starts", trainings + 1, zero_or("train_start_s"), "once a turn"),
            once("engines give way", trainings, zero_or("engine_turn_s"), "once a turn"),
        ]
    phases = [
        grade("verify references", work.references, reference_s),
        *rollout,
        sft,
        *_overlapped(
            generate("evaluations", work.evaluation_candidates, evaluating),
            grade("evaluations: grade", work.evaluation_candidates, core_s),
        ),
        train("DPO", f"{work.pairs:,} pairs x 2 x {pair:,.0f} tokens, and the reference", dpo_tokens),
        *turns,
        once("between phases", work.rounds, zero_or("round_overhead_s"), "once a round"),
        once("engine start-up", 1, zero_or("start_up_s"), "once a run"),
    ]  # fmt: skip
    return Hours(phases=tuple(phases))


def cores_needed(capacity: Capacity, rates: Mapping[str, Rate]) -> int:
    """Cores with which grading keeps up with generation."""
    candidates_per_s = (
        rates["generate_tokens_per_s"].value
        * capacity.generating
        / rates["completion_tokens"].value
    )
    return math.ceil(candidates_per_s * rates["grade_core_s"].value)


def _overlapped(first: Phase, second: Phase) -> list[Phase]:
    """Two phases that run at once: only the longer is waited for."""
    if first.hours >= second.hours:
        return [first, dataclasses.replace(second, waits=0.0)]
    return [dataclasses.replace(first, waits=0.0), second]
