"""Programs as ONNX graphs of standard operators: rules, the host's side, and whole files."""
