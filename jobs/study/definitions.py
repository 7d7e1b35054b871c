"""The named studies: which variants of a model are compared, against which, with how many seeds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from models.hccp import presets as hccp_presets
from models.increc import presets as increc_presets

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
    drawn beside the reference's. grid: setting -> the values tried of it, in every combination and of every variant
    alike, before the study itself; none is tuned where it is empty.
    """

    model: str
    variants: tuple[Variant, ...]
    reference: str
    sweeps: tuple[Sweep, ...] = ()
    seeds: int = 5
    size: str = "default"
    pictured: tuple[str, ...] = ()
    grid: Mapping[str, tuple] = field(default_factory=dict)

    def __post_init__(self):
        names = [variant.name for variant in self.variants]
        asked = {self.reference, *self.pictured, *(name for sweep in self.sweeps for name in sweep.variants)}
        if len(set(names)) < len(names) or not asked <= set(names):
            raise ValueError(f"variants are {names}; each has to be there once, {sorted(asked)} among them")
        if swept := {sweep.setting for sweep in self.sweeps} & {*self.grid}:
            raise ValueError(f"{sorted(swept)} cannot be swept and tuned at once")

    def settings(self, variant: Variant):
        """The variant's settings, a dataclass."""
        presets = _MODELS[self.model]
        return replace(presets.sized(presets.PRESETS[variant.preset](), self.size), **variant.changes)

    def setting(self, sweep: Sweep) -> dict[str, float]:
        """Variant -> what it has of the sweep's setting."""
        known = {variant.name: variant for variant in self.variants}
        return {name: getattr(self.settings(known[name]), sweep.setting) for name in sweep.variants}


def tuned(study: Study, grid: Mapping[str, tuple]) -> Study:
    """The same with every variant's best settings of a grid: an untuned baseline proves nothing."""
    return replace(study, grid=grid)


def tried(study: Study) -> Study:
    """What is trained to tune a study: each of its variants with each combination of its grid, once."""
    variants = tuple(each for variant in study.variants for each in combinations(study, variant))
    first = next(variant for variant in study.variants if variant.name == study.reference)
    return Study(study.model, variants, combinations(study, first)[0].name, seeds=1, size=study.size)


def combinations(study: Study, variant: Variant) -> tuple[Variant, ...]:
    """A variant with each combination of the study's grid, which its name says."""
    changes = [dict(zip(study.grid, values, strict=True)) for values in product(*study.grid.values())]
    names = ["-".join([variant.name, *(f"{setting}-{value}" for setting, value in one.items())]) for one in changes]
    return tuple(
        Variant(name, variant.preset, {**variant.changes, **one}) for name, one in zip(names, changes, strict=True)
    )


def with_best(study: Study, values: Mapping[str, float]) -> Study:
    """The study with each variant's combination of the highest value; of equal ones the first of the grid.

    Args:
        values: by the names of `combinations`; what could not be trained has none.

    Raises:
        ValueError: no combination of a variant has a value.
    """
    best = []
    for variant in study.variants:
        there = [one for one in combinations(study, variant) if one.name in values]
        if not there:
            raise ValueError(f"{variant.name}: no combination of {dict(study.grid)} could be trained and measured")
        best.append(replace(max(there, key=lambda one: values[one.name]), name=variant.name))
    return replace(study, variants=tuple(best), grid={})


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


def increc_filtered() -> Study:
    """Which incremental objectives still win once the already retrieved is left out, all tuned as the best control is?

    The control is base with the alignment loss. The curves are over RTG's weight, which is 1 in the control; over the
    share of u_inc in the served vector of full, which is 1 in full itself; and over the residual's.
    """
    names = ("base_aligned", "base", "boost", "full", *increc_presets.FILTERED)
    sweeps = (
        Sweep("rtg_weight", (*increc_presets.RTG_WEIGHTS, "base_aligned")),
        Sweep("inc_share", (*increc_presets.BLENDS, "full")),
        Sweep("inc_share", tuple(increc_presets.RESIDUALS)),
    )
    return Study("increc", presets(*names), reference="base_aligned", sweeps=sweeps)


def increc_filtered_tuned() -> Study:
    """One variant of each idea in increc_filtered against the control, each tuned alike on an earlier date."""
    names = (
        "base_aligned", "base", "boost", "ori", "na", "full", "rtg_weight_half", "residual_1", "blend_half", "masked",
        "residual_masked", "base_aligned_with_item_cf", "full_with_item_cf",
    )  # fmt: skip
    grid = {"temperature": (0.4, 0.2), "learning_rate": (0.1, 0.3)}
    return tuned(Study("increc", presets(*names), reference="base_aligned"), grid)


def hccp_ablations() -> Study:
    """What each part of HCCP carries."""
    names = [preset.__name__ for preset in hccp_presets.ABLATIONS]
    return Study("hccp", presets("full", "exposed_only", *names), reference="full")


def hccp_baselines() -> Study:
    """HCCP and the other objectives on the same samples."""
    names = [preset.__name__ for preset in hccp_presets.BASELINES]
    return Study("hccp", presets("full", "debiased", *names), reference="exposed_only")


def hccp_bases() -> Study:
    """Does HCCP gain on COLD's network, too, and what does the network gain?"""
    names = ("exposed_only", "distillation", "full", "debiased")
    crossed = tuple(Variant(f"{name}_cold", name, {"base": "cold"}) for name in names)
    return Study("hccp", (*presets(*names), *crossed), reference="full")


def hccp_shadow() -> Study:
    """What shadow scores add to HCCP and to the ranker's order alone; on logs that have the stage `shadow_ranking`."""
    names = [preset.__name__ for preset in hccp_presets.SHADOWED]
    return Study("hccp", presets("full", "debiased", "distillation", *names), reference="full")


def hccp_ranker_order() -> Study:
    """The ranker's order alone against HCCP and distillation: how much exposed-against-easy it wants beside it."""
    curve = ("ranker_order_easy_0", "ranker_order_without_shadow", "ranker_order_easy_1", "ranker_order_easy_3")
    names = ("full", "distillation", *curve, "ranker_order_feedback")
    return Study("hccp", presets(*names), reference="full", sweeps=(Sweep("weight_auxiliary", curve),))


def hccp_weights() -> Study:
    """How much of each ListMLE term HCCP wants: the global one has filtered items in its denominators."""
    of_global = ("without_global", "global_tenth", "global_third", "full")
    of_local = ("without_global", "local_1_without_global", "local_2_without_global")
    sweeps = (Sweep("weight_global", of_global), Sweep("weight_local", of_local))
    return Study("hccp", presets(*dict.fromkeys((*of_global, *of_local))), reference="full", sweeps=sweeps)


def hccp_filtered() -> Study:
    """Does HCCP keep the tail where what pre-ranking dropped counts less, or the popular of it more?"""
    weights = ("filtered_weight_tenth", "filtered_weight_third", "full")
    popularity = ("full", "filtered_popularity_half", "filtered_popularity_1", "filtered_popularity_2")
    names = ("full", "debiased", "without_filtered", *hccp_presets.FILTERED, "distillation", "exposed_only")
    sweeps = (Sweep("filtered_weight", weights), Sweep("filtered_popularity", popularity))
    return Study("hccp", presets(*names), reference="full", sweeps=sweeps)


def hccp_easy() -> Study:
    """Where easy negatives come from: do popular ones keep HCCP from learning popularity, and so keep the tail?"""
    curve = ("full", "easy_drawn_half", "easy_drawn_1")
    names = dict.fromkeys((*curve, *hccp_presets.EASY, "without_easy", "exposed_only"))
    return Study("hccp", presets(*names), reference="full", sweeps=(Sweep("easy_popularity", curve),))


def hccp_baselines_tuned() -> Study:
    """hccp_baselines, HCCP and every baseline with the best of six learning rates on an earlier date."""
    grid = {"learning_rate": (2e-3, 1e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)}  # what every objective heeds
    return tuned(hccp_baselines(), grid)


def hccp_margins(temperature: float = 1.0, cosine_temperature: float = 0.0) -> Study:
    """Both forms of the margin, in units of the temperature, from none to four."""
    hard = ("margin_zero", "hard_margin_half", "hard_margin_1", "hard_margin_2", "hard_margin_4")
    positive = (
        "positive_margin_added_1", "margin_zero", "positive_margin_half", "positive_margin_1", "positive_margin_2",
        "positive_margin_4",
    )  # fmt: skip
    names = dict.fromkeys((*hard, *positive, "full", "margins_reversed"))
    sweeps = (Sweep("margin_exposed", hard), Sweep("margin_positive", positive))
    changes = {"temperature": temperature, "cosine_temperature": cosine_temperature}
    variants = tuple(Variant(name, name, changes) for name in names)
    return Study("hccp", variants, reference="margin_zero", sweeps=sweeps)


def hccp_margins_cool() -> Study:
    """hccp_margins at a third of the temperature, where the nearest negatives decide."""
    return hccp_margins(1 / 3)


def hccp_margins_warm() -> Study:
    """hccp_margins at three times the temperature, where all negatives count."""
    return hccp_margins(3.0)


def hccp_margins_cosine() -> Study:
    """hccp_margins where scores are cosines over a tenth, which nothing rescales."""
    return hccp_margins(cosine_temperature=0.1)


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
    "increc_filtered": increc_filtered,
    "increc_filtered_tuned": increc_filtered_tuned,
    "hccp_ablations": hccp_ablations,
    "hccp_bases": hccp_bases,
    "hccp_baselines": hccp_baselines,
    "hccp_baselines_tuned": hccp_baselines_tuned,
    "hccp_easy": hccp_easy,
    "hccp_filtered": hccp_filtered,
    "hccp_margins": hccp_margins,
    "hccp_margins_cool": hccp_margins_cool,
    "hccp_margins_cosine": hccp_margins_cosine,
    "hccp_margins_warm": hccp_margins_warm,
    "hccp_ranker_order": hccp_ranker_order,
    "hccp_shadow": hccp_shadow,
    "hccp_weights": hccp_weights,
    "tiny": tiny,
}
