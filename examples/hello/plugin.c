// The smallest module for the kernel: no imports, one page of memory.
//
//   clang --target=wasm32 -O2 -nostdlib -ffreestanding -Wl,--no-entry -Wl,--strip-debug -o hello.wasm plugin.c
//   sudo skep exec-kernel hello.wasm --invoke add 40 2
//   sudo skep exec-kernel hello.wasm --invoke fibonacci 90
//   sudo skep exec-kernel hello.wasm --invoke hello 0
//   sudo skep compile hello.wasm --emit asm,report --check

#define EXPORT(name) __attribute__((export_name(#name)))

EXPORT(add) int add(int a, int b)
{
	return a + b;
}

EXPORT(fibonacci) unsigned long long fibonacci(unsigned n)
{
	unsigned long long a = 0, b = 1;
	for (; n > 0; n--) {
		unsigned long long sum = a + b;
		a = b;
		b = sum;
	}
	return a;
}

static const char greeting[] = "hello, kernel";

// The greeting's character of that number; 0 at its end, a trap beyond.
EXPORT(hello) unsigned hello(unsigned at)
{
	if (at >= sizeof(greeting))
		__builtin_trap();
	return greeting[at];
}
