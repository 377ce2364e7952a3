"""TVM kernels of the integer program's operations; see `deploy.tvm_backend` for the entry points."""
