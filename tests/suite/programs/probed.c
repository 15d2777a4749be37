// SPDX-License-Identifier: MIT OR Apache-2.0
/* A program with functions to be probed and a statically defined probe (USDT), skep:answer, that passes 42.
 *
 * The probe is written as <sys/sdt.h> of SystemTap would: a nop, and a note that says where it is, what guards it and
 * where its argument lies. */
#include <stdint.h>

#define NOINLINE __attribute__((noinline, used))

NOINLINE long probed_one(long n)
{
	asm volatile("" : "+r"(n));
	return n + 1;
}

NOINLINE long probed_two(long n)
{
	asm volatile("" : "+r"(n));
	return n + 2;
}

int main(void)
{
	uint64_t answer = 42;

	asm volatile("990: nop\n"
		     ".pushsection .note.stapsdt,\"\",\"note\"\n"
		     ".balign 4\n"
		     ".4byte 992f-991f, 994f-993f, 3\n"
		     "991: .asciz \"stapsdt\"\n"
		     "992: .balign 4\n"
		     "993: .8byte 990b\n"
		     ".8byte _.stapsdt.base\n"
		     ".8byte 0\n"
		     ".asciz \"skep\"\n"
		     ".asciz \"answer\"\n"
#if defined(__x86_64__)
		     ".asciz \"8@%0\"\n"
#else
		     ".asciz \"8@%x0\"\n"
#endif
		     "994: .balign 4\n"
		     ".popsection\n"
		     ".ifndef _.stapsdt.base\n"
		     ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"
		     ".weak _.stapsdt.base\n"
		     ".hidden _.stapsdt.base\n"
		     "_.stapsdt.base: .space 1\n"
		     ".size _.stapsdt.base, 1\n"
		     ".popsection\n"
		     ".endif\n"
		     :
		     : "r"(answer));
	return probed_one(40) + probed_two(40) == 83 ? 0 : 1;
}
