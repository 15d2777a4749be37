/* One source, three targets: WebAssembly, native code, and eBPF with its data in an arena.
 *
 * `MEM` qualifies what lies in linear memory, `can_loop` is asked on every round of a loop. `EXPORT` keeps a function a
 * function in WebAssembly, so that calls are there to be compiled; the two that are compared with may inline it. */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;

#if defined(__bpf__)
#define MEM __attribute__((address_space(1)))
#define DATA __attribute__((address_space(1)))
#define can_loop                                                                                   \
	({                                                                                         \
		__label__ l_break, l_continue;                                                     \
		_Bool ret = 1;                                                                     \
		asm volatile goto("may_goto %l[l_break]" :::: l_break);                            \
		goto l_continue;                                                                   \
	l_break:                                                                                   \
		ret = 0;                                                                           \
	l_continue:;                                                                               \
		ret;                                                                               \
	})
#define ZERO (*(volatile int *)&zero_source)
static volatile int zero_source;
#define EXPORT

#else
#define MEM
#define DATA
#define can_loop 1
#define ZERO 0
#if defined(__wasm__)
#define EXPORT __attribute__((visibility("default"), noinline))
#else
#define EXPORT
#endif

#endif
