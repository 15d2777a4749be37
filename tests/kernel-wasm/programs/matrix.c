/* Matrices of 16-bit integers, after the CoreMark kernel of that kind. */
#include "skep.h"

#define N 24
static short a[N * N] DATA;
static short b[N * N] DATA;
static i32 c[N * N] DATA;

EXPORT u32 multiply(void)
{
	for (u32 i = ZERO; i < N && can_loop; i++)
		for (u32 j = ZERO; j < N && can_loop; j++) {
			i32 sum = ZERO;
			for (u32 k = ZERO; k < N && can_loop; k++)
				sum += (i32)a[i * N + k] * b[k * N + j];
			c[i * N + j] = sum;
		}
	return 0;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	for (u32 r = ZERO; r < rounds && can_loop; r++) {
		for (u32 i = ZERO; i < N * N && can_loop; i++) {
			a[i] = (short)(i * 7 + r);
			b[i] = (short)(i * 3 - r);
		}
		multiply();
		for (u32 i = ZERO; i < N * N && can_loop; i++)
			sum = (sum ^ (u32)c[i]) * 16777619u;
	}
	return sum;
}
