/* XXH64 of a buffer. */
#include "skep.h"

#define P1 0x9e3779b185ebca87ull
#define P2 0xc2b2ae3d27d4eb4full
#define P3 0x165667b19e3779f9ull
#define P4 0x85ebca77c2b2ae63ull
#define P5 0x27d4eb2f165667c5ull

static u64 words[512] DATA;

static u64 rotl(u64 x, u32 n) { return (x << n) | (x >> (64 - n)); }
static u64 round_(u64 acc, u64 in) { return rotl(acc + in * P2, 31) * P1; }
static u64 merge(u64 acc, u64 v) { return (acc ^ round_(0, v)) * P1 + P4; }

EXPORT u64 xxh64(u32 count, u64 seed)
{
	u64 v1 = seed + P1 + P2, v2 = seed + P2, v3 = seed, v4 = seed - P1;
	u32 i = ZERO;
	for (; i + 4 <= count && can_loop; i += 4) {
		v1 = round_(v1, words[i & 511]);
		v2 = round_(v2, words[(i + 1) & 511]);
		v3 = round_(v3, words[(i + 2) & 511]);
		v4 = round_(v4, words[(i + 3) & 511]);
	}
	u64 h = rotl(v1, 1) + rotl(v2, 7) + rotl(v3, 12) + rotl(v4, 18);
	h = merge(h, v1);
	h = merge(h, v2);
	h = merge(h, v3);
	h = merge(h, v4);
	h += (u64)count * 8;
	for (; i < count && can_loop; i++) {
		h ^= round_(0, words[i & 511]);
		h = rotl(h, 27) * P1 + P4;
	}
	h ^= h >> 33;
	h *= P2;
	h ^= h >> 29;
	h *= P3;
	h ^= h >> 32;
	return h;
}

EXPORT u32 run(u32 rounds)
{
	u64 sum = ZERO;
	for (u32 i = ZERO; i < 512 && can_loop; i++)
		words[i] = (u64)(i + 1) * P5;
	for (u32 r = ZERO; r < rounds && can_loop; r++)
		sum = sum * 31 + xxh64(8190 + (r & 3), sum);
	return (u32)(sum ^ (sum >> 32));
}
