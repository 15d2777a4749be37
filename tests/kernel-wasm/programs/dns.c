/* A DNS message parser: names with compression, questions and answers. */
#include "skep.h"

static u8 packet[512] DATA;
static u8 name[256] DATA;

static u32 put_name(u32 at, u32 labels, u32 seed)
{
	for (u32 l = ZERO; l < labels && can_loop; l++) {
		u32 len = 3 + ((seed + l * 5) & 15);
		packet[at++ & 511] = (u8)len;
		for (u32 i = ZERO; i < len && can_loop; i++)
			packet[at++ & 511] = (u8)('a' + ((seed + i * 3 + l) % 26));
	}
	packet[at++ & 511] = 0;
	return at;
}

static u32 build(u32 seed)
{
	for (u32 i = ZERO; i < 512 && can_loop; i++)
		packet[i] = 0;
	packet[5] = 1;
	packet[7] = 2;
	u32 at = put_name(12, 12, seed);
	packet[(at + 1) & 511] = 1;
	packet[(at + 3) & 511] = 1;
	at += 4;
	for (u32 i = ZERO; i < 2 && can_loop; i++) {
		packet[at & 511] = 0xc0;
		packet[(at + 1) & 511] = 12;
		packet[(at + 3) & 511] = 1;
		packet[(at + 5) & 511] = 1;
		packet[(at + 9) & 511] = 60;
		packet[(at + 11) & 511] = 4;
		packet[(at + 12) & 511] = 10;
		packet[(at + 15) & 511] = (u8)(seed + i);
		at += 16;
	}
	return at;
}

/* Writes the name at `at`; returns where it ends in the packet, or 0. */
EXPORT u32 parse_name(u32 at, u32 size)
{
	u32 out = ZERO, end = ZERO, jumps = ZERO;
	while (can_loop) {
		if (at >= size)
			return 0;
		u32 len = packet[at & 511];
		if (len >= 0xc0) {
			if (at + 1 >= size || ++jumps > 8)
				return 0;
			if (!end)
				end = at + 2;
			at = (len & 0x3f) << 8 | packet[(at + 1) & 511];
			continue;
		}
		if (len > 63)
			return 0;
		at++;
		if (!len)
			break;
		if (at + len > size || out + len + 1 > 255)
			return 0;
		for (u32 i = ZERO; i < len && can_loop; i++) {
			u8 c = packet[(at + i) & 511];
			name[(out + i) & 255] = c >= 'A' && c <= 'Z' ? c + 32 : c;
		}
		out += len;
		name[out++ & 255] = '.';
		at += len;
	}
	name[out & 255] = 0;
	return end ? end : at;
}

EXPORT u32 parse(u32 size)
{
	u32 h = 2166136261u + ZERO, at = 12 + ZERO;
	u32 questions = packet[5], answers = packet[7];
	for (u32 r = ZERO; r < questions + answers && can_loop; r++) {
		at = parse_name(at, size);
		if (!at)
			return 0;
		for (u32 i = ZERO; i < 255 && name[i & 255] && can_loop; i++)
			h = (h ^ name[i & 255]) * 16777619u;
		at += 4;
		if (r >= questions) {
			u32 length = packet[(at + 4) & 511] << 8 | packet[(at + 5) & 511];
			at += 6;
			for (u32 i = ZERO; i < length && can_loop; i++)
				h = (h ^ packet[(at + i) & 511]) * 16777619u;
			at += length;
		}
	}
	return h;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	for (u32 r = ZERO; r < rounds && can_loop; r++) {
		u32 size = build(r);
		for (u32 i = ZERO; i < 8 && can_loop; i++)
			sum = sum * 31 + parse(size);
	}
	return sum;
}
