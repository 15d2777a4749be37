/* Base64 there and back. */
#include "skep.h"

u8 alphabet[64] DATA = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static u8 plain[3072] DATA;
static u8 text[4096] DATA;
static u8 reverse[256] DATA;

EXPORT u32 encode(u32 n)
{
	u32 to = ZERO;
	for (u32 i = ZERO; i + 3 <= n && can_loop; i += 3) {
		u32 v = (u32)plain[i % 3072] << 16 | (u32)plain[(i + 1) % 3072] << 8 | plain[(i + 2) % 3072];
		text[to & 4095] = alphabet[v >> 18];
		text[(to + 1) & 4095] = alphabet[(v >> 12) & 63];
		text[(to + 2) & 4095] = alphabet[(v >> 6) & 63];
		text[(to + 3) & 4095] = alphabet[v & 63];
		to += 4;
	}
	return 0;
}

EXPORT u32 decode(u32 n)
{
	u32 h = 2166136261u + ZERO;
	for (u32 i = ZERO; i + 4 <= n && can_loop; i += 4) {
		u32 v = (u32)reverse[text[i & 4095]] << 18 | (u32)reverse[text[(i + 1) & 4095]] << 12 |
			(u32)reverse[text[(i + 2) & 4095]] << 6 | reverse[text[(i + 3) & 4095]];
		h = (h ^ v) * 16777619u;
	}
	return h;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	for (u32 i = ZERO; i < 64 && can_loop; i++)
		reverse[alphabet[i]] = (u8)i;
	for (u32 r = ZERO; r < rounds && can_loop; r++) {
		for (u32 i = ZERO; i < 3072 && can_loop; i++)
			plain[i] = (u8)(i * 13 + r);
		encode(3072);
		sum = sum * 31 + decode(4096);
	}
	return sum;
}
