"""The named studies: which variants of a model are compared, against which, with how many seeds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from models import hccp_presets, increc_presets

_MODELS = {"increc": increc_presets, "hccp": hccp_presets}


@dataclass(frozen=True)
class Variant:
    """A preset, with some of its settings changed where the study wants a variant that no preset is."""

    name: str
    preset: str
    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """Variants that differ in one setting, which is the x of a curve."""

    setting: str
    variants: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """What is trained and compared.

    model: `increc` or `hccp`. reference: the variant that the others' differences are from. seeds: 1, 2, ... of each
    variant. size: of the presets. sweeps: curves over a setting. pictured: IncRec's variants whose item vectors are
    drawn beside the reference's.
    """

    model: str
    variants: tuple[Variant, ...]
    reference: str
    sweeps: tuple[Sweep, ...] = ()
    seeds: int = 5
    size: str = "default"
    pictured: tuple[str, ...] = ()

    def __post_init__(self):
        names = [variant.name for variant in self.variants]
        asked = {self.reference, *self.pictured, *(name for sweep in self.sweeps for name in sweep.variants)}
        if len(set(names)) < len(names) or not asked <= set(names):
            raise ValueError(f"variants are {names}; each has to be there once, {sorted(asked)} among them")

    def settings(self, variant: Variant):
        """The variant's settings, a dataclass."""
        presets = _MODELS[self.model]
        return replace(presets.sized(presets.PRESETS[variant.preset](), self.size), **variant.changes)

    def setting(self, sweep: Sweep) -> dict[str, float]:
        """Variant -> what it has of the sweep's setting."""
        known = {variant.name: variant for variant in self.variants}
        return {name: getattr(self.settings(known[name]), sweep.setting) for name in sweep.variants}


def increc_presets_compared() -> Study:
    """IncRec's presets: does an incremental tower find what base does not?"""
    names = [preset.__name__ for preset in increc_presets.COMPARED]
    return Study("increc", presets(*names), reference="base", pictured=("na", "full"))


def increc_ablations() -> Study:
    """What each part of full carries, and base with the alignment loss beside it."""
    names = [preset.__name__ for preset in increc_presets.ABLATIONS]
    return Study("increc", presets("full", "base", *names), reference="full", pictured=("base",))


def increc_alpha() -> Study:
    """Whether alpha matters: its forms, its threshold, and alpha that follows chance or popularity instead."""
    names = ("full_without_alpha", "full", *increc_presets.ALPHAS)
    curves = (increc_presets.threshold_curve(form) for form in ("sigmoid", "linear", "step"))
    sweeps = tuple(Sweep("alpha_threshold", curve) for curve in curves)
    return Study("increc", presets(*names), reference="full_without_alpha", sweeps=sweeps, pictured=("full",))


def hccp_ablations() -> Study:
    """What each part of HCCP carries."""
    names = [preset.__name__ for preset in hccp_presets.ABLATIONS]
    return Study("hccp", presets("full", "exposed_only", *names), reference="full")


def hccp_baselines() -> Study:
    """HCCP and the other objectives on the same samples."""
    names = [preset.__name__ for preset in hccp_presets.BASELINES]
    return Study("hccp", presets("full", *names), reference="exposed_only")


def hccp_margins() -> Study:
    """Both forms of the margin, in units of the temperature, from none to four."""
    hard = ("margin_zero", "hard_margin_half", "hard_margin_1", "hard_margin_2", "hard_margin_4")
    positive = (
        "positive_margin_added_1", "margin_zero", "positive_margin_half", "positive_margin_1", "positive_margin_2",
        "positive_margin_4",
    )  # fmt: skip
    names = dict.fromkeys((*hard, *positive, "full", "margins_reversed"))
    sweeps = (Sweep("margin_exposed", hard), Sweep("margin_positive", positive))
    return Study("hccp", presets(*names), reference="margin_zero", sweeps=sweeps)


def tiny() -> Study:
    """For tests: seconds."""
    wide = Variant("full_margin_2", "full", {"margin_exposed": 2.0})
    variants = (*presets("exposed_only", "full"), wide)
    sweeps = (Sweep("margin_exposed", ("full", "full_margin_2")),)
    return Study("hccp", variants, reference="exposed_only", sweeps=sweeps, seeds=2, size="tiny")


def presets(*names: str) -> tuple[Variant, ...]:
    """Presets as they are."""
    return tuple(Variant(name, name) for name in names)


STUDIES: dict[str, Callable[[], Study]] = {
    "increc_presets": increc_presets_compared,
    "increc_ablations": increc_ablations,
    "increc_alpha": increc_alpha,
    "hccp_ablations": hccp_ablations,
    "hccp_baselines": hccp_baselines,
    "hccp_margins": hccp_margins,
    "tiny": tiny,
}
