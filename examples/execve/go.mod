module skep.dev/examples/execve

go 1.24
