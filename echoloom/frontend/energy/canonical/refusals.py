"""Primitives that people use and fabric or an echo cannot: what to say of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from echoloom.frontend.energy.canonical.builder import Builder, Operand
from echoloom.frontend.energy.canonical.rules import Rule
from echoloom.frontend.energy.jaxpr import Equation


def _raised(refusal: Callable[[Builder, str, str], Exception], problem: str, advice: str) -> Rule:
    def rule(b: Builder, e: Equation, x: list[Any]) -> list[Operand]:
        raise refusal(b, problem, advice)

    return rule


_no_form, _refused = partial(_raised, Builder.no_form), partial(_raised, Builder.refuse)


# What draws random numbers, or makes keys for them.
RANDOM = frozenset({
    "random_bits", "random_clone", "random_fold_in", "random_gamma", "random_seed", "random_split",
    "random_unwrap", "random_wrap", "prng_random_bits", "threefry2x32", "threefry4x32",
})  # fmt: skip

_LOOPS = {"while": "while_loop or fori_loop", "scan": "scan or fori_loop"}
_BRANCH = (
    "a branch (lax.cond or lax.switch) has no form in a static schedule, which takes the same "
    "cycles for all data",
    "compute both cases and choose by jnp.where",
)
_EXTREME = (
    "{0} searches a whole axis, and fabric compares only two numbers at a time",
    "use jnp.maximum or jnp.minimum of two slices, or the smooth jnp.logaddexp",
)
_PLACE = (
    "{0} yields places instead of numbers, and a place has no slope",
    "weigh all elements by jnp.where with comparisons",
)
_PLAINLY = "write the function in plain operations, which are differentiated as they are"


def refuse_own_slope(b: Builder) -> None:
    """Untraceable for a call of a custom_jvp function whose rule is not its derivative."""
    raise b.refuse(
        "the rule of this function's own (jax.custom_jvp) is not the derivative of its operations, "
        "so the force would not be the slope of the energy and the echo's gradient would be wrong",
        _PLAINLY,
    )


REFUSED: Mapping[str, Rule] = {
    **{
        name: _no_form(
            f"a loop ({shown}) has no form in a static schedule, whose length must not depend on "
            "data",
            "write a Python loop with a fixed count, which unrolls while tracing",
        )
        for name, shown in _LOOPS.items()
    },
    "cond": _no_form(*_BRANCH),
    **{
        name: _no_form(_EXTREME[0].format(name.removeprefix("reduce_")), _EXTREME[1])
        for name in ("reduce_max", "reduce_min", "sort", "cummax", "cummin", "top_k")
    },
    **{name: _no_form(_PLACE[0].format(name), _PLACE[1]) for name in ("argmax", "argmin")},
    **{
        name: _no_form(
            "a product over an axis has as many factors as elements, and fabric multiplies two at "
            "a time",
            "multiply slices, or write jnp.exp(jnp.sum(jnp.log(x))) for x with a declared range",
        )
        for name in ("reduce_prod", "cumprod")
    },
    "stop_gradient": _refused(
        "stop_gradient cuts a part out of the force, which must be the whole slope of the "
        "potential for an echo to find its way back",
        "leave it out, or stop a parameter alone, as in jax.lax.stop_gradient(self.k) * q",
    ),
    **{
        name: _refused(
            "a function with a backward rule of its own (jax.custom_vjp) cannot be differentiated "
            "forwards, as the echo's gradient has to be",
            f"{_PLAINLY}, or give it a rule by jax.custom_jvp",
        )
        for name in ("custom_vjp_call", "custom_vjp_call_jaxpr")
    },
}
