"""Saved programs that are damaged, cut off or foreign."""

from __future__ import annotations

from runner import refused

from echoloom.cli.outcome import Exit


def test_programs_that_are_not_whole(shelf, tmp_path):
    data = (shelf / "program.elp").read_bytes()
    program = tmp_path / "program.elp"
    flipped = bytearray(data)
    flipped[-9] ^= 16
    cut = data[:-3]
    follow = len(data) - data.index(b"\n") - 1
    cases = [
        (
            bytes(flipped),
            "the saved program is damaged, its checksum does not match; save it again.",
        ),
        (
            cut,
            f"the saved program is cut off, {follow - 3} of {follow} bytes follow its first line; "
            "save it again.",
        ),
        (
            data[:100],
            "the saved program's first line is damaged or cut off; save it again.",
        ),
        (
            b"",
            "this is not a saved Echoloom program; write one with program.save or `echoloom "
            "compile`.",
        ),
    ]
    for content, sentence in cases:
        program.write_bytes(content)
        for arguments in (
            ("verify", program, shelf / "data.npz", "--report", tmp_path / "report.json"),
            ("build", program, "-o", tmp_path / "out"),
        ):
            assert refused(Exit.INPUT, *arguments) == f"{program}: {sentence}"
        assert [p.name for p in tmp_path.iterdir()] == ["program.elp"]
    program.write_bytes(cut)
    assert "cut off" in refused(Exit.INPUT, "report", program)
    program.write_bytes(b"")
    assert refused(Exit.INPUT, "report", program) == (
        f"{program}: this is neither a saved program nor a report of `echoloom verify` or "
        "`echoloom build`."
    )
