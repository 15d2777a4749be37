#include "../guests/lookup.bpf.c"
