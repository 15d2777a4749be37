#include "../../examples/bootstrap/bootstrap.bpf.c"
