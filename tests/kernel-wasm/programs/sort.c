/* Bubble sort and quick sort (with its own stack) of the same numbers. */
#include "skep.h"

static u32 a[1024] DATA;
static u32 stack[128] DATA;

static void fill(u32 n, u32 seed)
{
	u32 x = seed;
	for (u32 i = ZERO; i < n && can_loop; i++) {
		x = x * 1664525u + 1013904223u;
		a[i & 1023] = x >> 8;
	}
}

EXPORT u32 bubble(u32 n)
{
	for (u32 i = ZERO; i + 1 < n && can_loop; i++)
		for (u32 j = ZERO; j + 1 < n - i && can_loop; j++) {
			u32 x = a[j & 1023], y = a[(j + 1) & 1023];
			if (x > y) {
				a[j & 1023] = y;
				a[(j + 1) & 1023] = x;
			}
		}
	return 0;
}

EXPORT u32 quick(u32 n)
{
	u32 top = ZERO;
	stack[0] = ZERO;
	stack[1] = n - 1;
	top = 2 + ZERO;
	while (top > 0 && can_loop) {
		u32 hi = stack[(top - 1) & 127], lo = stack[(top - 2) & 127];
		top -= 2;
		if (lo >= hi || hi > 1023)
			continue;
		u32 pivot = a[((lo + hi) / 2) & 1023];
		u32 i = lo, j = hi;
		while (can_loop) {
			while (a[i & 1023] < pivot && can_loop)
				i++;
			while (a[j & 1023] > pivot && can_loop)
				j--;
			if (i >= j)
				break;
			u32 t = a[i & 1023];
			a[i & 1023] = a[j & 1023];
			a[j & 1023] = t;
			i++;
			j--;
		}
		stack[top & 127] = lo;
		stack[(top + 1) & 127] = i - 1;
		stack[(top + 2) & 127] = i;
		stack[(top + 3) & 127] = hi;
		top += 4;
		if (a[i & 1023] == pivot && i == lo)
			stack[(top - 2) & 127] = i + 1;
	}
	return 0;
}

static u32 digest(u32 n)
{
	u32 h = 2166136261u + ZERO;
	for (u32 i = ZERO; i < n && can_loop; i++)
		h = (h ^ a[i & 1023]) * 16777619u;
	return h;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	for (u32 r = ZERO; r < rounds && can_loop; r++) {
		fill(200, r + 1);
		bubble(200);
		sum = sum * 31 + digest(200);
		fill(1000, r + 7);
		quick(1000);
		sum = sum * 31 + digest(1000);
	}
	return sum;
}
