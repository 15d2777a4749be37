/* CRC-32 (IEEE), by the bit and by a table, over the same bytes. */
#include "skep.h"

static u8 buffer[4096] DATA;
static u32 table[256] DATA;

static void fill(void)
{
	u32 x = 12345 + ZERO;
	for (u32 i = ZERO; i < 4096 && can_loop; i++) {
		x = x * 1103515245u + 12345u;
		buffer[i] = (u8)(x >> 16);
	}
}

EXPORT u32 crc_bitwise(u32 length)
{
	u32 crc = ~ZERO;
	for (u32 i = ZERO; i < length && can_loop; i++) {
		crc ^= buffer[i & 4095];
		for (u32 k = ZERO; k < 8 && can_loop; k++)
			crc = (crc >> 1) ^ (0xedb88320u & -(crc & 1));
	}
	return ~crc;
}

EXPORT u32 crc_table(u32 length)
{
	for (u32 n = ZERO; n < 256 && can_loop; n++) {
		u32 c = n;
		for (u32 k = ZERO; k < 8 && can_loop; k++)
			c = (c >> 1) ^ (0xedb88320u & -(c & 1));
		table[n] = c;
	}
	u32 crc = ~ZERO;
	for (u32 i = ZERO; i < length && can_loop; i++)
		crc = table[(crc ^ buffer[i & 4095]) & 0xff] ^ (crc >> 8);
	return ~crc;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	fill();
	for (u32 i = ZERO; i < rounds && can_loop; i++)
		sum = sum * 31 + crc_table(16384) + crc_bitwise(2048);
	return sum;
}
