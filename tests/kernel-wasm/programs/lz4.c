/* LZ4 block decompression of a block built here. */
#include "skep.h"

static u8 in[2048] DATA;
static u8 out[8192] DATA;

static u32 build(u32 seed)
{
	u32 at = ZERO;
	for (u32 s = ZERO; s < 60 && can_loop; s++) {
		u32 literals = 5 + ((seed + s) & 7), match = (seed * 3 + s * 5) & 31;
		in[at++ & 2047] = (u8)(literals << 4 | (match < 15 ? match : 15));
		for (u32 i = ZERO; i < literals && can_loop; i++)
			in[at++ & 2047] = (u8)(seed + s * 31 + i * 7);
		u32 offset = 1 + ((seed + s) & 3);
		in[at++ & 2047] = (u8)offset;
		in[at++ & 2047] = 0;
		if (match >= 15)
			in[at++ & 2047] = (u8)(match - 15);
	}
	in[at++ & 2047] = 0x50;
	for (u32 i = ZERO; i < 5 && can_loop; i++)
		in[at++ & 2047] = (u8)i;
	return at;
}

EXPORT u32 decompress(u32 size)
{
	u32 at = ZERO, to = ZERO;
	while (at < size && can_loop) {
		u32 token = in[at++ & 2047], length = token >> 4;
		if (length == 15) {
			u32 more = 255;
			while (more == 255 && at < size && can_loop) {
				more = in[at++ & 2047];
				length += more;
			}
		}
		if (at + length > size || to + length > 8192)
			return 0;
		for (u32 i = ZERO; i < length && can_loop; i++)
			out[(to + i) & 8191] = in[(at + i) & 2047];
		at += length;
		to += length;
		if (at >= size)
			break;
		u32 offset = in[at & 2047] | in[(at + 1) & 2047] << 8;
		at += 2;
		length = token & 15;
		if (length == 15) {
			u32 more = 255;
			while (more == 255 && at < size && can_loop) {
				more = in[at++ & 2047];
				length += more;
			}
		}
		length += 4;
		if (!offset || offset > to || to + length > 8192)
			return 0;
		for (u32 i = ZERO; i < length && can_loop; i++)
			out[(to + i) & 8191] = out[(to + i - offset) & 8191];
		to += length;
	}
	return to;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	for (u32 r = ZERO; r < rounds && can_loop; r++) {
		u32 size = build(r);
		u32 length = decompress(size);
		sum = sum * 31 + length;
		for (u32 i = ZERO; i < length && can_loop; i++)
			sum = (sum ^ out[i & 8191]) * 16777619u;
	}
	return sum;
}
