"""Static analyzers behind one small protocol: code in, findings or an error out, nothing run."""
