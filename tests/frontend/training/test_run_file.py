"""Run files: what is read, and one sentence for what cannot be."""

from __future__ import annotations

import tomllib

import equinox as eqx
import jax.numpy as jnp
import msgspec
import optax
import pytest

from echoloom.frontend.training.example import EXAMPLE
from echoloom.frontend.training.optimiser import (
    OptimiserSection,
    make_optimiser,
    optimisers,
    schedules,
)
from echoloom.frontend.training.run_file import FREE, Run, read_run, settings

DATA = '[data]\nsource = "BasicMotions"\n'
LEAST = f"{DATA}[training]\nepochs = 3\n"


def test_the_example_shows_the_defaults_and_every_field(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(EXAMPLE)
    run = read_run(path)
    path.write_text(LEAST)
    least = settings(read_run(path))
    chosen = {"data.validation", "training.patience"}
    assert {name for name, value in settings(run).items() if value != least[name]} == chosen
    # Commented lines are TOML too, and between them nothing is left out.
    shown = "\n".join(line.removeprefix("# ") for line in EXAMPLE.splitlines())
    fields = {
        (section, name) for section, values in msgspec.to_builtins(run).items() for name in values
    }
    for section, name in fields:
        part = shown.split(f"[{section}]", 1)[1].split("\n[", 1)[0]
        assert f"\n{name} = " in part, f"{section}.{name}"


def test_settings_leave_out_what_may_change():
    assert not settings(read(LEAST)).keys() & {f"training.{name}" for name in FREE}
    assert settings(read(LEAST)) != settings(read(LEAST.replace("3", "3\nbatch = 5")))
    assert settings(read(LEAST)) == settings(read(LEAST.replace("3", "9\nseeds = [4]")))


def read(text: str) -> Run:
    return msgspec.toml.decode(text, type=Run)


KNOWN = "hidden, state, blocks, unit, complex, task, output_step, step, substeps, integrator, "
CASES = [
    ("", "the file lacks the section [data]."),
    ("x", "this is not TOML: Expected '=' after a key in a key/value pair (at end of document)."),
    ("[data]\n", "the file lacks the section [training]."),
    (DATA + "[training]\n", "[training] needs `epochs` or `steps`, one of the two."),
    (LEAST + "steps = 3", "[training] needs `epochs` or `steps`, one of the two."),
    ("[data]\n[training]\nepochs = 1", "[data] needs `source` or `loader`, one of the two."),
    (LEAST + "[modell]", "the file has no section 'modell'; it knows data, training, model, "
     "optimiser, bptt, rhel, fixed."),
    (LEAST + "[model]\nhiden = 3", f"[model] has no field 'hiden'; it knows {KNOWN}activation."),
    (LEAST + "batch = 'x'", "[training] batch is of type str, but int is needed."),
    (LEAST + "[model]\nstate = [1, 2.5]", "[model] state[1] is of type float, but int is needed."),
    (LEAST + "gradient = 'x'",
     "[training] gradient is 'x', but it must be 'bptt' or 'rhel' or 'rhel-fixed'."),
    (DATA + "pad = 'one'\n[training]\nepochs = 1",
     "[data] pad is 'one', but it must be 'refuse' or 'zero'."),
    (DATA + "validation = 1.0\n[training]\nepochs = 1",
     "[data] validation is 1.0, but it is the part of the training split that is put aside: "
     "0 <= validation < 1."),
    (LEAST + "batch = 0", "[training] batch is 0, but it must be > 0."),
    (LEAST + "patience = -1", "[training] patience is -1, but it must be > 0."),
    (LEAST + "[rhel]\nepsilon = 0.0", "[rhel] epsilon is 0.0, but it must be > 0."),
    (LEAST + "[rhel]\nepsilon = 0.5",
     '[rhel] epsilon is 0.5, but echoes = "renormalised" finds its own: say echoes = "fixed", '
     'or leave epsilon out.'),
    (LEAST + "[rhel]\nechoes = 'x'",
     "[rhel] echoes is 'x', but it must be 'renormalised' or 'fixed' or 'difference'."),
    (LEAST + "[fixed]\nweight_margin = -1", "[fixed] weight_margin is -1, but it must be >= 0."),
    (LEAST + "seeds = []", "[training] seeds is [], but it must hold different whole numbers, one "
     "or more, from 0 to 2^32 - 1."),
    (LEAST + "devices = 3", "[training] batch is 10, which 3 devices cannot share evenly."),
    (LEAST + "devices = 2\ngradient = 'rhel-fixed'",
     '[training] devices is 2, but gradient = "rhel-fixed" runs on one.'),
    (LEAST + "metric = 'accuracy'\n[model]\ntask = 'regression'",
     '[training] metric is "accuracy", but a regression has none: use "loss".'),
    (LEAST + "[optimiser]\nlearning_rate = nan",
     "[optimiser] learning_rate is nan, but it must be > 0."),
    (LEAST + "[optimiser]\nclip = 0.0", "[optimiser] clip is 0.0, but it must be > 0."),
    (LEAST + "[optimiser.learning_rate]\ninit_value = 1.0",
     "[optimiser] learning_rate is a table, so it needs `schedule`, an optax schedule's name."),
    (LEAST + "[optimiser.learning_rate]\nschedule = 'cosine_decay_schedule'\ninit_value = 1.0",
     "[optimiser] learning_rate cosine_decay_schedule lacks decay_steps."),
    (LEAST + "[optimiser.arguments]\nb3 = 1",
     "[optimiser] adam has no argument 'b3'; it knows learning_rate, b1, b2, eps, eps_root, "
     "mu_dtype, nesterov."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), CASES)
def test_refusals(tmp_path, text, sentence):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_run(path)
    assert str(caught.value) == f"{path}: {sentence}"


def test_optimisers_by_name():
    assert {"adam", "adamw", "sgd", "lion", "nadam", "rmsprop"} <= optimisers().keys()
    with pytest.raises(ValueError, match="name is 'adamm', but optax knows adabelief, "):
        make_optimiser(OptimiserSection(name="adamm"))
    with pytest.raises(ValueError, match="lbfgs cannot make a step from a gradient alone"):
        make_optimiser(OptimiserSection(name="lbfgs"))
    own = make_optimiser(
        OptimiserSection(
            name="sgd", learning_rate=0.5, clip=1.0, arguments=tomllib.loads("momentum = 0.9")
        )
    )
    theirs = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.5, momentum=0.9))
    weights, gradient = {"w": jnp.ones(3)}, {"w": jnp.asarray([3.0, -4.0, 12.0])}
    states = own.init(weights), theirs.init(weights)
    for _ in range(2):
        steps = [o.update(gradient, s, weights) for o, s in zip((own, theirs), states, strict=True)]
        assert eqx.tree_equal(steps[0][0], steps[1][0])
        states = steps[0][1], steps[1][1]


def test_schedules_by_name():
    assert {"cosine_decay_schedule", "exponential_decay"} <= schedules().keys()
    rate = {
        "schedule": "piecewise_constant_schedule",
        "init_value": 1.0,
        "boundaries_and_scales": {"2": 0.5},
    }
    made = make_optimiser(OptimiserSection(name="sgd", learning_rate=rate))
    state, seen = made.init(jnp.zeros(1)), []
    for _ in range(4):
        change, state = made.update(jnp.ones(1), state)
        seen.append(-float(jnp.asarray(change)[0]))
    assert seen == [1.0, 1.0, 0.5, 0.5]
    with pytest.raises(ValueError, match="decay_steps"):
        make_optimiser(OptimiserSection(learning_rate={
            "schedule": "cosine_decay_schedule", "init_value": 1.0, "decay_steps": 0,
        }))  # fmt: skip
