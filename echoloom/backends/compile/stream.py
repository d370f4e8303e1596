"""A sequence that goes on: samples are pushed as they come, and the state stays between pushes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from echoloom.backends.run.beginnings import begun
from echoloom.backends.run.excess import Kept, Locate
from echoloom.backends.run.integers import Floats, Words
from echoloom.backends.run.levels import Artifact
from echoloom.backends.run.stream_state import StreamState, check_state
from echoloom.backends.run.watched import excesses_of, overflow_of
from echoloom.frontend.data.samples import host_chunk, window_label
from echoloom.frontend.models.hssm import HSSM
from echoloom.ir.carried import Carried
from echoloom.ir.host import Level, RunResult, Sweep, forward_states


class Streamed(Protocol):
    """What a stream needs of a compiled program."""

    @property
    def model(self) -> HSSM: ...
    @property
    def artifact(self) -> Artifact: ...
    def real_outputs(self, result: RunResult, locate: Locate = ...) -> Floats: ...
    def real_gradient(self, result: RunResult, length: int, locate: Locate = ...) -> HSSM: ...


class Stream:
    """One sequence without an end, at one level. `program.stream` and `board.stream` give it.

    What it goes on from is `state`, a value that may be kept, saved and put back; a push that
    raises leaves it as it was. `window`: how many of the last samples are kept, for gradients.
    """

    def __init__(
        self, program: Streamed, level: Level, window: int = 0, initial: Any = None
    ) -> None:
        if window < 0:
            raise ValueError(f"a stream keeps 0 samples or more, got window={window}")
        self._program, self._level, self._window = program, level, window
        self._state = begun(program.artifact, initial)

    @property
    def state(self) -> StreamState:
        """Everything that the stream goes on from; it never changes, the stream takes new ones."""
        return self._state

    @property
    def steps(self) -> int:
        """Samples pushed so far."""
        return self._state.steps

    def restore(self, state: StreamState) -> None:
        """Go on from a state of this program. Raises WrongState for any other."""
        check_state(self._program.artifact, state)
        self._state = state

    def push(self, x: Any) -> Floats:
        """More samples x [k, inputs], k = 0 or more: float64 outputs.

        Regression: the predictions [k', outputs] of these steps, one in every `output_step` of the
        whole sequence. Classification: the logits [outputs] of the mean over all steps so far.
        Raises ValueError for malformed input and for logits of no sample, InputRange outside the
        calibrated range, Overflowed when an overflow flag was raised.
        """
        result, state = self._advance(x)
        outputs = self._program.real_outputs(
            result,
            lambda: overflow_of(
                self._program.artifact,
                host_chunk(self._program.model, x),
                None,
                self._state.carried,
            ),
        )
        self._state = state
        return outputs

    def run(self, x: Any) -> RunResult:
        """As `push`, all integers: those of one sequence up to here. Flags are this push's own, and
        an overflow raises nothing."""
        result, self._state = self._advance(x)
        return result

    def gradient(self, label: Any, steps: int | None = None) -> HSSM:
        """float64 gradient over the last `steps` samples, all that are kept if None: a pytree like
        `program.gradient`'s.

        The echo goes from the present state back through these samples. The loss is that of the
        present output by `label` (classification), or of the window's outputs by targets
        [n, outputs] (regression); what was before the window, its state and its share of the mean,
        is held fixed. So it is backpropagation through time, truncated to the window.
        Raises what `echo` raises, and Overflowed.
        """
        result = self.echo(label, steps)
        window = self._kept(steps)
        samples = self._state.samples[-window:]

        def locate() -> Kept | None:
            echo = self._echo(label, window)
            found = excesses_of(self._program.artifact, lambda level: level(echo)).overflow
            return found and Kept(found, samples, label)

        # A mean is over all steps so far, a mean square over the window's outputs.
        length = self.steps if self._classifies else window
        return self._program.real_gradient(result, length, locate)

    def echo(self, label: Any, steps: int | None = None) -> RunResult:
        """As `gradient`, all integers; the stream's state stays what it is.

        Raises ValueError for more samples than are kept, and for a malformed label.
        """
        window = self._kept(steps)
        echo = self._echo(label, window)
        found = self._level(echo)
        return RunResult(
            self._window_outputs(window), self._own(self._state.carried), np.zeros((), np.int64),
            found.sums, found.states, found.flags, echo.exponent,
        )  # fmt: skip

    def _echo(self, label: Any, window: int) -> Sweep:
        state, host = self._state, self._program.artifact.host
        label = window_label(self._program.model, label, self._outputs(state.steps, window))
        begin = replace(state.carried, steps=state.steps - window)
        forward = host.resumed(state.samples[len(state.samples) - window :], begin)
        echo = host.echo(forward, self._window_outputs(window), label)
        return replace(echo, carried=state.carried)

    def _window_outputs(self, window: int) -> Words:
        """The words that the window's samples gave; a classification's last ones."""
        outputs, count = self._state.outputs, self._outputs(self._state.steps, window)
        return outputs[-1] if self._classifies else outputs[-count:]

    @property
    def _classifies(self) -> bool:
        return self._program.artifact.program.is_classification

    def _kept(self, steps: int | None) -> int:
        """The window's length."""
        there = len(self._state.samples)
        wanted = there if steps is None else steps
        if not 1 <= wanted <= there:
            raise ValueError(
                f"a gradient over {wanted} steps needs as many samples, but this stream keeps "
                f"{there} of {self.steps}; begin it with program.stream(window=...)"
            )
        return wanted

    def _outputs(self, steps: int, window: int) -> int:
        """How many outputs there are in the last steps."""
        return self._program.artifact.host.objective.rows(steps, steps - window)

    def _own(self, carried: Carried) -> dict[str, Words]:
        names = forward_states(self._program.artifact.program)
        return {name: carried.states[name] for name in names}

    def _advance(self, x: Any) -> tuple[RunResult, StreamState]:
        """What comes out of more samples, and the state after them."""
        x, state = host_chunk(self._program.model, x), self._state
        if not len(x):
            return self._nothing(), state
        host = self._program.artifact.host
        sweep: Sweep = host.resumed(x, state.carried)
        found = self._level(sweep)
        result = host.result(found)
        carried = Carried(state.steps + len(x), found.states, found.sums)
        samples = np.concatenate([state.samples, x])
        samples = samples[max(0, len(samples) - self._window) :]
        if self._classifies:
            outputs = result.outputs[None]
        else:
            outputs = np.concatenate([state.outputs, result.outputs])
            count = self._outputs(carried.steps, len(samples))
            outputs = outputs[len(outputs) - count :]
        return result, replace(state, carried=carried, samples=samples, outputs=outputs)

    def _nothing(self) -> RunResult:
        """What comes out of no samples."""
        state = self._state
        if not self._classifies:
            outputs = state.outputs[:0]
        elif state.steps:
            outputs = state.outputs[-1]
        else:
            raise ValueError("nothing was pushed yet: there is no mean over time to classify")
        return RunResult(outputs, self._own(state.carried), np.zeros((), np.int64))
