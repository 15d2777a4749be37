#include "../guests/ring.bpf.c"
