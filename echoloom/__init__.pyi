# The public names and where they live: read by type checkers, and at run time by `__init__.py`.

from .backends.bitstream.build import build as build
from .backends.board.board import Board as Board
from .backends.board.board import open_board as open_board
from .backends.compile.archive import CorruptProgram as CorruptProgram
from .backends.compile.coefficients import CoefficientRange as CoefficientRange
from .backends.compile.pipeline import compile as compile
from .backends.compile.program import (
    CompiledProgram as CompiledProgram,
)
from .backends.compile.program import (
    load as load,
)
from .backends.compile.search import Unmet as Unmet
from .backends.compile.stream import Stream as Stream
from .backends.export.export import export_verilog as export_verilog
from .backends.gradients.batch_gradient import fixed_value_and_grad as fixed_value_and_grad
from .backends.gradients.fixed_gradient import FixedGradient as FixedGradient
from .backends.link.errors import BoardError as BoardError
from .backends.link.errors import Upset as Upset
from .backends.onnx.export import export_onnx as export_onnx
from .backends.prove.prove import NotLegal as NotLegal
from .backends.prove.prove import NotRetraced as NotRetraced
from .backends.prove.prove import prove as prove
from .backends.run.excess import Excess as Excess
from .backends.run.excess import Overflowed as Overflowed
from .backends.run.integers import InputRange as InputRange
from .backends.run.stream_state import StreamState as StreamState
from .backends.run.stream_state import WrongState as WrongState
from .backends.run.stream_state import load_state as load_state
from .frontend.energy.hamiltonian import Hamiltonian as Hamiltonian
from .frontend.gradients.bptt import (
    bptt_gradient as bptt_gradient,
)
from .frontend.gradients.bptt import (
    bptt_value_and_grad as bptt_value_and_grad,
)
from .frontend.gradients.rhel import (
    rhel_gradient as rhel_gradient,
)
from .frontend.gradients.rhel import (
    rhel_value_and_grad as rhel_value_and_grad,
)
from .frontend.gradients.trajectory import (
    TrajectoryCheck as TrajectoryCheck,
)
from .frontend.gradients.trajectory import (
    trajectory_check as trajectory_check,
)
from .frontend.models.checkpoint import load_model as load_model
from .frontend.models.checkpoint import save_model as save_model
from .frontend.models.hssm import (
    HSSM as HSSM,
)
from .frontend.models.hssm import (
    trainable as trainable,
)
from .frontend.models.hssm import (
    with_statistics as with_statistics,
)
from .frontend.models.published.import_rhel import (
    import_rhel as import_rhel,
)
from .frontend.models.published.import_rhel import (
    published_gradients as published_gradients,
)
from .frontend.training.train import train as train
from .ir.host import RunResult as RunResult
from .ir.learning import ScaledUpdate as ScaledUpdate
from .ir.learning import SignUpdate as SignUpdate
from .ir.precision import Precision as Precision
from .sim.first_difference import Mismatch as Mismatch
from .sim.float_distance import WrongModel as WrongModel
from .sim.verify import verify as verify
from .sim.verify_reports import VerifyReport as VerifyReport
from .sim.verify_stream import StreamReport as StreamReport
from .sim.verify_stream import verify_stream as verify_stream
